"""``ustack explain``: what a stranger's capture shows, and what is odd about it."""

from __future__ import annotations

import argparse
import json

from rich.console import Console
from rich.text import Text

from ustack.cli.capture import read_packets
from ustack.cli.complaint import Complaint
from ustack.cli.values import whole
from ustack.explain import report
from ustack.explain.reading import read

EXAMPLES = """\
examples:
  tcpdump -w x.pcap tcp      capture, then:
  ustack explain x.pcap
  ustack explain x.pcap --quiet --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.epilog = EXAMPLES
    parser.add_argument("file", metavar="FILE", help="a pcap or pcapng file: of tcpdump -w, Wireshark, ustack --pcap")
    parser.add_argument(
        "-n", "--number", type=whole(1, 1 << 53, "number"), metavar="N", help="only the Nth connection, counted from 1"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="leave out connections with nothing odd")
    parser.add_argument("--json", action="store_true", help="the findings as JSON")


def run(options: argparse.Namespace) -> int:
    """Prints the connections and the findings."""
    reading = read(read_packets(options.file))
    count = len(reading.flows)
    if not count:
        raise Complaint(f"{options.file} holds no TCP segment.", 1)
    if options.number is not None and options.number > count:
        raise Complaint(f"{options.file} holds {count} connections: --number is 1 to {count}.", 2)
    if options.json:
        print(json.dumps(report.as_dict(reading, options.number or 0), indent=1))
        return 0
    console = Console(highlight=False)
    for style, line in report.lines(reading, options.number or 0, options.quiet):
        _print(console, style, line)
    return 0


def _print(console: Console, style: str, line: str) -> None:
    """Wraps with the sentence's own indent, where the terminal is narrow."""
    if not line.startswith(" "):
        console.print(Text(line, style=style))
        return
    for index, part in enumerate(Text(line[3:]).wrap(console, max(20, console.width - 3))):
        console.print(Text((line[:3] if not index else "   ") + part.plain.rstrip(), style=style))
