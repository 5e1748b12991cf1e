"""Results for people and for machines: text, JUnit, pcap."""

from __future__ import annotations

import struct
import textwrap
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from ustack.packetdrill.printer import format_seconds
from ustack.packetdrill.record import Entry, Mark
from ustack.packetdrill.runner import Result, Verdict
from ustack.packetdrill.tree import Script

_ARROWS: Final = {
    Mark.INBOUND: "──>",
    Mark.OUTBOUND: "<──",
    Mark.FOREIGN: "<··",
    Mark.CALL: " ● ",
    Mark.NOTE: " · ",
    Mark.STATE: " = ",
}
_WIDTH: Final = 58
_MOST: Final = 30
_AHEAD: Final = 3
_XML_FORBIDDEN: Final[dict[int, None]] = {code: None for code in range(32) if code not in (9, 10, 13)}


def one_line(result: Result) -> str:
    """Path, verdict, and in a few words why."""
    text = f"{result.path}: {result.verdict.value}"
    if result.verdict is Verdict.EXPECTED_FAILURE:
        text += f": {result.summary}"
    if result.verdict is Verdict.UNSUPPORTED:
        text += f": {result.summary}"
        text += f" (line {result.line}{''.join('; ' + hint for hint in result.hints)})" if result.line else ""
    return text + (f" (not compared: {', '.join(result.relaxed)})" if result.relaxed else "")


def explain(result: Result) -> str:
    """Why a script failed: the line, field by field, the dialogue so far, the state of the connection."""
    where = f"{result.path}:{result.line}" if result.line else result.path
    if result.script is None:
        return f"FAIL {result.summary}"
    parts = [f"FAIL {where}: {result.summary}"]
    if result.source:
        parts.append(f"  the script, line {result.line}:  {result.source}")
    if result.differences:
        parts.append(_table(result.differences))
    if result.hints:
        parts.append("\n".join(f"    {hint}" for hint in result.hints))
    parts.append(_ladder(result.entries, result.script, result))
    if result.state:
        parts.append("  the stack at that moment:\n" + textwrap.indent("\n".join(result.state), "    "))
    return "\n\n".join(parts)


def _table(differences: list[tuple[str, str, str]]) -> str:
    rows = [("", "expected", "got"), *differences]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(f"    {name:<{widths[0]}}   {want:<{widths[1]}}   {got}" for name, want, got in rows)


def _ladder(entries: list[Entry], script: Script, result: Result) -> str:
    """Both dialogues side by side: the script's on the left, what happened on the right."""
    sources = {event.line: event.source for event in script.events}
    entries = [entry for entry in entries if entry.mark is not Mark.STATE]
    shown = entries[-_MOST:]
    lines = [f"  {'time':>12}  {'the script says':<{_WIDTH}}       what happened"]
    if len(shown) < len(entries):
        lines.append(f"  {'':>12}  ... {len(entries) - len(shown)} earlier entries")
    for entry in shown:
        mark = "»" if entry.line == result.line and result.line else " "
        left = f"{entry.line:>4} {sources.get(entry.line, '')}" if entry.line else "     -"
        lines.append(
            f"{mark} {format_seconds(entry.at):>12}  {_cut(left):<{_WIDTH}}  {_ARROWS[entry.mark]}  {entry.text}"
        )
    done = {entry.line for entry in entries}
    ahead = [event for event in script.events if event.line not in done and event.line >= result.line][:_AHEAD]
    for event in ahead:
        mark = "»" if event.line == result.line else " "
        lines.append(f"{mark} {'':>12}  {_cut(f'{event.line:>4} {event.source}')}")
    lines.append("    ──> to the stack   <── from the stack   ● system call   <·· from another socket")
    return "\n".join(lines)


def _cut(text: str) -> str:
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"


def trace(result: Result) -> str:
    """Everything that happened, one line each."""
    lines = [f"{result.path}"]
    lines += [f"  {format_seconds(entry.at):>12}  {_ARROWS[entry.mark]}  {entry.text}" for entry in result.entries]
    return "\n".join(lines)


def summary(results: list[Result]) -> str:
    """The closing line."""
    counts = {verdict: sum(result.verdict is verdict for result in results) for verdict in Verdict}
    text = ", ".join(
        f"{counts[verdict]} {verdict.value}" for verdict in (Verdict.PASS, Verdict.FAIL, Verdict.UNSUPPORTED)
    )
    expected = counts[Verdict.EXPECTED_FAILURE]
    return text + (f", {expected} expected failure{'s' if expected > 1 else ''}" if expected else "")


def junit(results: list[Result]) -> str:
    """The results as JUnit XML: unsupported scripts and expected failures are skipped tests."""
    failed = sum(result.verdict is Verdict.FAIL for result in results)
    skipped = sum(result.verdict in (Verdict.UNSUPPORTED, Verdict.EXPECTED_FAILURE) for result in results)
    total = sum(result.seconds for result in results)
    lines = ['<?xml version="1.0" encoding="utf-8"?>']
    head = f'tests="{len(results)}" failures="{failed}" errors="0" skipped="{skipped}" time="{total:.3f}"'
    lines.append(f'<testsuites><testsuite name="packetdrill" {head}>')
    for result in results:
        case = (
            f"<testcase classname={quoteattr(str(Path(result.path).parent))} name={quoteattr(Path(result.path).name)}"
        )
        case += f' time="{result.seconds:.3f}"'
        if result.verdict is Verdict.PASS:
            lines.append(case + "/>")
        elif result.verdict is not Verdict.FAIL:
            reason = _attribute(f"{result.verdict.value}: {result.summary}")
            lines.append(f"{case}><skipped message={reason}/></testcase>")
        else:
            text = escape(explain(result).translate(_XML_FORBIDDEN))
            lines.append(f"{case}><failure message={_attribute(result.summary)}>{text}</failure></testcase>")
    lines.append("</testsuite></testsuites>")
    return "\n".join(lines) + "\n"


def _attribute(text: str) -> str:
    return quoteattr(text.split("\n", maxsplit=1)[0].translate(_XML_FORBIDDEN))


def write_pcap(result: Result, folder: Path) -> Path:
    """All packets of a run, both ways, for Wireshark (LINKTYPE_RAW, ns). Time 0 of the script is 1970."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (Path(result.path).name + ".pcap")
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 0x40000, 101))
        for at, packet in result.packets:
            seconds, rest = divmod(max(at, 0), 10**9)
            file.write(struct.pack("<IIII", seconds, rest, len(packet), len(packet)) + packet)
    return path
