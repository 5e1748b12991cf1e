"""``ustack lab``: ask TCP a question, and watch the answer."""

from __future__ import annotations

import argparse
import json
import os
import sys

from rich.console import Console
from rich.text import Text

from ustack.cli.complaint import Complaint
from ustack.cli.network import picture
from ustack.cli.values import whole
from ustack.device.pcap import PcapWriter
from ustack.lab import language
from ustack.lab.knobs import Knobs
from ustack.lab.ladder import MOST_ROWS, WIDTH, text
from ustack.lab.live import disagreements, kernel_answer, side_by_side
from ustack.lab.page import command as pages
from ustack.lab.question import GROUPS, Question, load, questions
from ustack.lab.report import Report
from ustack.lab.world import answer
from ustack.plot import scenario
from ustack.sweep import command as sweep
from ustack.tcp.state import State

EXAMPLES = """\
examples:
  ustack lab                                       the list of questions
  ustack lab B5                                    what happens when the third ACK is lost?
  ustack lab B5 --set server.tcp_synack_retries=0  the same with another setting
  ustack lab B5 --kernel                           and what Linux does (root)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.epilog = EXAMPLES
    parser.add_argument(
        "question", nargs="?", metavar="QUESTION", help="an id such as B5, or a file of your own; none: the list"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="changes",
        help="a setting (client. or server. before it sets one side), the link (delay, loss, rate ...), or an option "
        "of the question",
    )
    parser.add_argument(
        "--kernel", action="store_true", help="put it to Linux, too, live over a TUN device, and lay both side by side"
    )
    parser.add_argument("--trace", action="store_true", help="every decision of both stacks, with its reason")
    parser.add_argument(
        "--most",
        type=whole(1, 1 << 53, "number of rows"),
        default=MOST_ROWS,
        metavar="ROWS",
        help=f"fold longer ladders ({MOST_ROWS})",
    )
    parser.add_argument("--step", action="store_true", help="one event after the other: press Enter")
    parser.add_argument("--json", action="store_true", help="everything that was seen, as JSON")
    parser.add_argument("--pcap", metavar="FILE", help="write the packets for Wireshark")
    parser.add_argument(
        "--plot", metavar="FILE", type=picture,
        help="draw cwnd, in flight, RTT, rates and the queue of the link; FILE ends in .svg, .png or .html",
    )  # fmt: skip
    pages.add_arguments(parser)
    sweep.add_arguments(parser)
    parser.add_argument("--code", action="store_true", help="show the question's own source")
    parser.add_argument("--lang", metavar="LANGUAGE", help="en or zh; else what LANG says")


def run(options: argparse.Namespace) -> int:
    """Lists the questions, or answers one. 1: a figure is not what it must be."""
    language.choose(options.lang or os.environ.get("LC_ALL") or os.environ.get("LANG") or "en")
    console = Console(highlight=False, soft_wrap=True, width=WIDTH)
    if options.question == sweep.NAME:
        return sweep.run(options)
    sweep.check_unused(options)
    try:
        status = pages.run_without_report(options, console.print)
        if status is not None:
            return status
        if options.question is None:
            _list(console)
            return 0
        asked = load(options.question)
        if options.code:
            console.print(Text(asked.code()), end="")
            return 0
        if options.kernel:
            return _beside_kernel(console, asked, _changes(options.changes))
        report = answer(asked, _changes(options.changes))
    except (LookupError, ValueError) as error:
        raise Complaint(f"{str(error.args[0]).rstrip('.')}.", 2) from None
    has_written = _write_files(options, asked, report)
    if options.json:
        print(json.dumps(report.as_dict(), indent=1))
    elif not has_written:
        _show(console, report, options)
    return 1 if report.wrong() else 0


def _write_files(options: argparse.Namespace, asked: Question, report: Report) -> bool:
    """Writes what was asked for; whether a page or a picture was."""
    if options.pcap:
        _write_pcap(options.pcap, report)
    has_written = pages.write_files(options, report)
    if options.plot:
        link = Knobs(asked, _changes(options.changes)).link
        print(scenario.write(report, link, options.plot), file=sys.stderr if options.json else sys.stdout)
    return has_written or bool(options.plot)


def _beside_kernel(console: Console, asked: Question, changes: dict[str, str]) -> int:
    """Both runs side by side, once for each side that Linux can be. 1: they differ."""
    if not asked.kernel:
        raise ValueError(f"{asked.id} is no question for Linux: what it shows cannot be done to this machine's kernel")
    changes = {**asked.live, **changes}
    ours = answer(asked, changes)
    different = False
    for side in ("client", "server") if asked.kernel == "both" else (asked.kernel,):
        try:
            theirs = kernel_answer(asked, changes, side)
        except PermissionError as error:
            raise Complaint(f"--kernel makes a network namespace and a TUN device of its own, which needs root: "
                            f"{error.strerror}.", 1) from None  # fmt: skip
        for line in side_by_side(ours, theirs, side):
            console.print(Text(line, style="red" if line.startswith("≠") else ""))
        found = disagreements(ours, theirs)
        different = different or bool(found)
        for line in found or [language.translate("Linux does the same.")]:
            console.print(Text(line))
    return 1 if different else 0


def _changes(words: list[str]) -> dict[str, str]:
    changes = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"--set {word}: write NAME=VALUE")
        changes[name] = value
    return changes


def _list(console: Console) -> None:
    """The questions in their groups."""
    group = ""
    for one in questions().values():
        if one.group != group:
            group = one.group
            console.print(Text(f"\n{one.id[0]}. {language.translate(GROUPS[one.id[0]])}", style="bold"))
        console.print(Text(f"  {one.id:<4} {language.translate(one.title)}"))
    console.print(Text("\n" + language.translate("ustack lab B5 answers one. ustack lab --help says more.")))


def _show(console: Console, report: Report, options: argparse.Namespace) -> None:
    for line in text(report, most=options.most if not options.trace else sys.maxsize, everything=options.trace):
        console.print(_coloured(line), soft_wrap=True)
        if options.step and line.strip() and sys.stdin.isatty():
            input()


def _coloured(line: str) -> Text:
    styled = Text(line, no_wrap=True)
    for state in State:
        styled.highlight_words([f" {state.name} "], "bold cyan")
    for words, style in ((("lost", "dropped", "✗"), "red"), (("✓",), "green"), (("⏲",), "yellow")):
        styled.highlight_words(list(words), style)
    return styled


def _write_pcap(path: str, report: Report) -> None:
    """All that was put on the wire, lost packets too, at the instants of the simulated clock."""
    writer = PcapWriter(path)
    for flight in report.flights:
        writer.write([flight.packet], flight.at)
    writer.close()
