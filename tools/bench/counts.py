"""`make counts`: instructions of the hot functions, kept as text, because counts are stable where times are not.

valgrind's callgrind runs the same work twice, the second time with more of it: subjects/counts_work.py (two stacks,
packets in memory, virtual time) and subjects/counts_echo.py (one side, as in production, over a descriptor). The
difference over the extra work is the price of one unit, the start of the interpreter falls out. `--check` compares with
COUNTS.txt and fails where a function or a layer got dearer than the tolerance; `--write` keeps what was counted.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tools.bench import build, layers, machine

KEPT = Path(__file__).resolve().parent / "COUNTS.txt"
SUBJECTS = Path(__file__).resolve().parent / "subjects"
WORK = SUBJECTS / "counts_work.py"
TOLERANCE = 0.04
"""Dearer by more than this is a regression; cheaper by more asks for a new COUNTS.txt."""

SMALLEST = 0.004
"""Share of a unit below which a function has no line of its own."""

UNJUDGED = ("= everything", "* copies", "* others", "* wake-ups and locks")
"""Lines that depend on the machine as well: the C library copies differently where caches are larger."""

SCENARIOS = {"bulk": (4, 20, "MiB from write() to read_into()"), "ping": (100, 500, "1-byte round trip"),
             "connect": (20, 100, "connection, opened and closed by both"),
             "echo-blocking": (100, 900, "1-byte echo, one side, blocking sockets on a descriptor"),
             "echo-asyncio": (100, 900, "1-byte echo, one side, ustack.aio on a descriptor")}  # fmt: skip


def run_once(scenario: str, times: int, folder: str) -> Counter[tuple[str, str]]:
    """Instructions by (file, function), each alone. Raises CalledProcessError."""
    program = SUBJECTS / "counts_echo.py" if scenario.startswith("echo-") else WORK
    return run(program, [scenario, str(times)], f"{folder}/{scenario}-{times}")


def run(program: Path, arguments: list[str], out: str) -> Counter[tuple[str, str]]:
    """The same for any program; `out` is where callgrind's file goes."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(build.OUTPUT / "compiled"), "PYTHONHASHSEED": "0",
                   "PYTHONDONTWRITEBYTECODE": "1"}  # fmt: skip
    words = ["valgrind", "--tool=callgrind", "--dump-line=no", "--compress-pos=no", f"--callgrind-out-file={out}",
             sys.executable, str(program), *arguments]  # fmt: skip
    subprocess.run(words, env=environment, check=True, capture_output=True)
    return parse(Path(out).read_text())


def parse(text: str) -> Counter[tuple[str, str]]:
    """The costs of a callgrind file, those of called functions left out."""
    names: dict[str, dict[str, str]] = {"ob": {}, "fn": {}}
    costs: Counter[tuple[str, str]] = Counter()
    at = {"ob": "", "fn": ""}
    skip = False
    for line in text.splitlines():
        match = re.match(r"(c?)(ob|fn)=(?:\((\d+)\))?\s*(.*)$", line)
        if match:
            called, kind, number, name = match.groups()
            if number and name:
                names[kind][number] = name
            if not called:
                at[kind] = names[kind].get(number or "", name)
        elif line.startswith("calls="):
            skip = True
        elif re.match(r"[0-9+*-]\S* \d+$", line):
            if not skip:
                costs[at["ob"], at["fn"]] += int(line.split()[1])
            skip = False
    return costs


def price(scenario: str) -> Counter[tuple[str, str]]:
    """Instructions for one unit of a scenario, by (layer, function)."""
    few, many, _ = SCENARIOS[scenario]
    with tempfile.TemporaryDirectory() as folder:
        first, second = run_once(scenario, few, folder), run_once(scenario, many, folder)
    units: Counter[tuple[str, str]] = Counter()
    for (file, name), count in second.items():
        frame = layers.Frame(name.partition("'")[0], file)
        units[frame.layer(), frame.label()] += (count - first.get((file, name), 0)) // (many - few)
    return units


def lines(scenario: str, units: Counter[tuple[str, str]]) -> list[str]:
    """Text that a diff can be read of: the whole, the layers, the functions of ustack's own."""
    whole = sum(units.values())
    sums: Counter[str] = Counter()
    for (layer, _), count in units.items():
        sums[layer] += count
    said = [f"[{scenario}] instructions for one {SCENARIOS[scenario][2]}", f"{whole:12d}  = everything"]
    said += [f"{count:12d}  * {layer}" for layer, count in sorted(sums.items(), key=lambda item: -item[1]) if count > 0]
    own = [(count, layer, name) for (layer, name), count in units.items()
           if layer in (layers.CORE, layers.FLOORS, layers.BINDING) and count >= whole * SMALLEST]  # fmt: skip
    said += [
        f"{count:12d}  {name}  ({layer})" for count, layer, name in sorted(own, key=lambda item: (-item[0], item[2]))
    ]
    return said


def versions() -> str:
    """What the counts depend on beside the source."""
    return f"# CPython {platform.python_version()}; {machine.first_line(['cc', '--version'])}; {platform.machine()}"


def compare(kept: str, seen: str) -> list[str]:
    """What differs beyond the tolerance, as sentences; dearer ones first."""
    before, after = _table(kept), _table(seen)
    said = []
    for key, old in before.items():
        new = after.get(key, 0)
        change = (new - old) / old if old else 0.0
        if abs(change) > TOLERANCE and abs(new - old) > 20:
            said.append((-change, f"{key}: {old} -> {new} ({change:+.1%})"))
    said += [(-1.0, f"{key}: new, {count}") for key, count in after.items() if key not in before]
    return [sentence for _, sentence in sorted(said)]


def _table(text: str) -> dict[str, int]:
    table: dict[str, int] = {}
    section = ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.partition("]")[0][1:]
        elif match := re.match(r"\s*(\d+)\s+(.*)$", line):
            table[f"{section}: {match[2]}"] = int(match[1])
    return table


def is_worse(sentence: str) -> bool:
    """Of a sentence of compare()."""
    return "(+" in sentence and not any(f": {line}:" in sentence for line in UNJUDGED)


def main() -> int:
    """0 when nothing got dearer (or the versions differ, which is said)."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.counts", description=__doc__)
    parser.add_argument("--write", action="store_true", help="keep the counts as COUNTS.txt")
    parser.add_argument("--check", action="store_true", help="fail when something got dearer")
    parser.add_argument("--only", choices=list(SCENARIOS), help="count this scenario alone, and judge nothing")
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        print("no counts: valgrind is not installed")
        return 1
    for reason in build.forms():
        print(reason)
        return 1
    text = versions() + "\n"
    for scenario in [options.only] if options.only else SCENARIOS:
        print(f"counting {scenario} ...", file=sys.stderr, flush=True)
        text += "\n".join(["", *lines(scenario, price(scenario)), ""])
    print(text)
    if options.only:
        return 0
    if options.write:
        KEPT.write_text(text)
    if not options.check:
        return 0
    kept = KEPT.read_text()
    differences = compare(kept, text)
    for sentence in differences:
        print(("DEARER  " if is_worse(sentence) else "changed ") + sentence)
    if kept.splitlines()[0] != text.splitlines()[0]:
        print(f"counted with other versions than what is kept ({kept.splitlines()[0][2:]}): nothing is judged")
        return 0
    return 1 if any(is_worse(sentence) for sentence in differences) else 0


if __name__ == "__main__":
    sys.exit(main())
