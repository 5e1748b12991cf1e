"""Writes README.md beside this file: the requirements of RFC 9293 and the scripts and tests that show them.

``python tests/rfc/table.py`` writes it, ``--check`` only says whether it is as it should be. A script names its
requirements in its head (``// requirements: MUST-8, SHLD-1``), a test in its mark (``@pytest.mark.rfc9293("MUST-8")``).
Scenarios likewise: ``(scenarios B1, C2)`` in a script's head, ``@pytest.mark.scenario("B1")``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent
README = HERE / "README.md"

_DIRECTIVE = re.compile(r"^//[ \t]*([a-z][a-z ]*):[ \t]+(.*?)[ \t]*$", re.MULTILINE)
_MARK = re.compile(r"rfc9293\(([^)]*)\)[^\n]*\n(?:@[^\n]*\n)*(?:\s*)(?:async )?(?:def|class) (\w+)")
_ID = re.compile(r"[A-Z]+-\d+")
_SCENARIO_MARK = re.compile(
    r"((?:^@.*\n)*)^@pytest\.mark\.scenario\(([^)]*)\)\n((?:^@.*\n)*)^def (\w+)\(([^)]*)\)", re.MULTILINE
)
_SCENARIOS = re.compile(r"scenarios? ([A-F]\d+(?:, [A-F]\d+)*)")
_LIVE_FIXTURES = ("either: ", "small_range: ", "kernel: ")
"""Of tests that run on the kernel as well."""

HEAD = """\
# What RFC 9293 asks for, and what shows it

Made by `python tests/rfc/table.py` from the heads of the scripts below and the marks of the tests; do not edit. Every
`.pkt` file here is a dialogue in packetdrill's notation: `ustack packetdrill tests/rfc` runs them against ustack in
virtual time, `ustack packetdrill --live tests/rfc` against this machine's Linux.

State: **pass**; **expected failure** with the reason (the script says what the RFC asks for, and ustack does
otherwise); **policy** where there is nothing to test; **not shown** where neither script nor test names the row yet.
"""

SCENARIO_HEAD = """\
"What happens if ...?", answered in virtual time. A row says `yes` where a script or test of it runs on this machine's
kernel as well (`make test-kernel`)."""


def directives(path: Path) -> dict[str, str]:
    return dict(_DIRECTIVE.findall(path.read_text(encoding="utf-8")))


def shown() -> dict[str, list[tuple[str, str]]]:
    """Requirement -> [(link, reason of an expected failure or "")]."""
    found: dict[str, list[tuple[str, str]]] = {}
    for path in sorted(HERE.rglob("*.pkt")):
        said = directives(path)
        name = path.relative_to(HERE).as_posix()
        for requirement in _ID.findall(said.get("requirements", "")):
            found.setdefault(requirement, []).append((f"[{name}]({name})", said.get("expected failure", "")))
    for path in sorted(TESTS.rglob("test_*.py")):
        for arguments, name in _MARK.findall(path.read_text(encoding="utf-8")):
            link = path.relative_to(TESTS).as_posix()
            for requirement in _ID.findall(arguments):
                found.setdefault(requirement, []).append((f"[{name}](../{link})", ""))
    return found


def state(how: str, links: list[tuple[str, str]]) -> str:
    reasons = sorted({reason for _, reason in links if reason})
    good = [link for link, reason in links if not reason]
    if reasons and good:
        return "pass; in part expected failure: " + "; ".join(reasons)
    if reasons:
        return "expected failure: " + "; ".join(reasons)
    if good:
        return "pass"
    return "policy" if how == "N" else "not shown"


def table() -> str:
    """The whole page."""
    lines = [HEAD]
    found = shown()
    counts: dict[str, int] = {}
    body: list[str] = []
    for row in (HERE / "rfc9293.tsv").read_text(encoding="utf-8").splitlines():
        if row.startswith("## "):
            body += [
                "",
                row,
                "",
                "| ID | Level | Section | Requirement | State | Shown by |",
                "|---|---|---|---|---|---|",
            ]
            continue
        requirement, level, section, text, how = row.split("\t")
        links = found.get(requirement, [])
        said = state(how, links)
        key = said.split(":")[0].split(";")[0]
        counts[key] = counts.get(key, 0) + 1
        listed = ", ".join(link for link, _ in links[:6]) + (f" and {len(links) - 6} more" if len(links) > 6 else "")
        body.append(f"| {requirement} | {level} | {section} | {text} | {said} | {listed} |")
    lines.append(
        ", ".join(f"{count} rows {key}" for key, count in sorted(counts.items(), key=lambda item: -item[1])) + "."
    )
    return "\n".join(lines + body) + "\n\n" + scenarios() + "\n" + other_scripts()


def scenarios() -> str:
    """The rows of opening and closing, and what shows each."""
    found: dict[str, list[str]] = {}
    live: set[str] = set()
    for path in sorted(HERE.rglob("*.pkt")):
        text = path.read_text(encoding="utf-8")
        head = " ".join(line for line in text.splitlines() if line.startswith("//"))
        name = path.relative_to(HERE).as_posix()
        for row in _named(_SCENARIOS.findall(head)):
            found.setdefault(row, []).append(f"[{name}]({name})")
            if "kernel" not in directives(path):
                live.add(row)
    for path in sorted(TESTS.rglob("test_*.py")):
        link = path.relative_to(TESTS).as_posix()
        for before, ids, after, name, arguments in _SCENARIO_MARK.findall(path.read_text(encoding="utf-8")):
            is_live = "mark.kernel" in before + after or any(one in arguments for one in _LIVE_FIXTURES)
            for row in _named([ids]):
                found.setdefault(row, []).append(f"[{name}](../{link})")
                if is_live:
                    live.add(row)
    lines = [
        "## The scenarios of opening and closing",
        "",
        SCENARIO_HEAD,
        "",
        "| id | question | on Linux too | shown by |",
    ]
    lines.append("|---|---|---|---|")
    for entry in (HERE / "scenarios.tsv").read_text(encoding="utf-8").splitlines():
        row, wants_live, question = entry.split("\t")
        on_linux = "yes" if row in live else "no: it must" if wants_live else ""
        lines.append(f"| {row} | {question} | {on_linux} | {', '.join(found.get(row, [])) or 'not shown'} |")
    return "\n".join(lines) + "\n"


def _named(texts: list[str]) -> list[str]:
    return [row for text in texts for row in re.findall(r"[A-F]\d+", text)]


def other_scripts() -> str:
    """Expected failures and differences of Linux, whatever they belong to."""
    lines = ["## What fails, and is expected to", ""]
    for path in sorted(HERE.rglob("*.pkt")):
        said = directives(path)
        name = path.relative_to(HERE).as_posix()
        if "expected failure" in said:
            lines.append(f"- [{name}]({name}): {said['expected failure']}")
    lines += ["", "## Where Linux does otherwise than the script", ""]
    for path in sorted(HERE.rglob("*.pkt")):
        said = directives(path)
        name = path.relative_to(HERE).as_posix()
        if said.get("kernel", "").startswith("differs"):
            lines.append(f"- [{name}]({name}): {said['kernel'].removeprefix('differs, ')}")
    return "\n".join(lines) + "\n"


def main() -> int:
    text = table()
    if "--check" in sys.argv:
        return 0 if README.read_text(encoding="utf-8") == text else 1
    README.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
