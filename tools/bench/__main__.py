"""`python -m tools.bench`: the table of ../shared/bar.md, measured side by side on this machine."""

from __future__ import annotations

import argparse
import os
import sys
import time

from tools.bench import build, machine, netns, picture, report, roster, special
from tools.bench.cases import CASES, Result, compare
from tools.bench.run import Conditions

ALWAYS = ("ustack", "kernel", "ceiling")
"""Who takes part when PEERS names others."""


def parser() -> argparse.ArgumentParser:
    """Every option has the environment's name that `make bench` hands on."""
    words = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    environment = os.environ.get
    words.add_argument("--case", default=environment("CASE", ""), help="names or beginnings, comma-separated: P1,P3")
    words.add_argument("--rounds", type=int, default=int(environment("ROUNDS") or 5))
    words.add_argument(
        "--seconds", type=float, default=float(environment("SECONDS") or 0.8), help="of each measurement"
    )
    words.add_argument("--peers", default=environment("PEERS", ""), help="only these beside ustack: kernel,smoltcp")
    words.add_argument("--placement", default=environment("PLACEMENT") or "split", choices=["split", "same", "free"])
    words.add_argument("--list", action="store_true", help="names of cases and subjects, and what is missing here")
    words.add_argument("--build-peers", action="store_true", help="build the peers whose toolchain is there")
    words.add_argument("--no-write", action="store_true", help="leave RESULTS.md and the picture alone")
    return words


def chosen_cases(names: str) -> list[str]:
    """Cases by name or beginning; all when none is named. Raises ValueError for one nobody has."""
    every = sorted([*CASES, *special.CASES], key=_case_order)
    if not names:
        return every
    found: list[str] = []
    for name in names.split(","):
        exact = [case for case in every if case.lower() == name.strip().lower()]
        matching = exact or [case for case in every if case.lower().rstrip("inout") == name.strip().lower()]
        if not matching:
            raise ValueError(f"no case {name!r}; there are {', '.join(every)}")
        found.extend(matching)
    return found


def _case_order(name: str) -> tuple[int, str]:
    digits = "".join(letter for letter in name if letter.isdigit())
    return int(digits), name


def chosen_subjects(peers: str) -> list[str]:
    """Names of who takes part: ustack and the ceilings always, and whom PEERS names (nobody: all)."""
    if not peers:
        return list(roster.ALL)
    named = {subject.name for subject in roster.named(peers)}
    return [name for name, subject in roster.ALL.items() if name in named or subject.kind in ("ustack", "ceiling")]


def show_list() -> None:
    """Cases and subjects, with what is missing here."""
    for name in chosen_cases(""):
        case = CASES.get(name) or special.CASES[name]
        print(f"{name:8} {case.title}")
    print()
    for subject in roster.ALL.values():
        state = subject.missing("services") or "ready"
        print(f"{subject.name:20} {subject.title:55} {state}")


def measure(options: argparse.Namespace) -> list[Result]:
    """All the cases that were asked for, each printed as soon as it is done."""
    conditions = Conditions(options.seconds, placement=options.placement)
    only = chosen_subjects(options.peers)
    results: list[Result] = []
    for name in chosen_cases(options.case):
        began = time.monotonic()
        if name in CASES:
            result = compare(CASES[name], options.rounds, conditions, only, _say)
        else:
            result = special.CASES[name].run(options.rounds, conditions, _say)
        results.append(result)
        print(report.table(result))
        print(f"  ({time.monotonic() - began:.0f} s)\n", flush=True)
    return results


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Lists, builds peers, or measures and writes."""
    options = parser().parse_args()
    if options.list:
        show_list()
        return 0
    if options.build_peers:
        failed = build.build_peers(list(build.PEERS))
        for name, reason in failed.items():
            print(f"left out: {name}: {reason}")
        return 0
    netns.enter_user_namespace()
    build.client(), build.ceiling()
    for reason in build.forms():
        print(reason)
    facts = machine.describe()
    facts["conditions"] = (
        f"{options.rounds} rounds of {options.seconds:g} s, 1 MiB buffers, CUBIC set on every socket of both ends, "
        f"MTU 1500 unless said, txqueuelen {netns.QUEUE_LENGTH}, processors: {options.placement}"
    )
    for name, value in facts.items():
        print(f"{name}: {value}")
    print(flush=True)
    results = measure(options)
    facts["load at the end"] = " ".join(f"{load:.2f}" for load in os.getloadavg())
    if not options.no_write:
        whole = not options.case
        target = report.RESULTS if whole else build.OUTPUT / "RESULTS.md"
        target.write_text(report.markdown(results, facts, ["python", "-m", "tools.bench", *sys.argv[1:]]))
        target.with_suffix(".svg").write_text(picture.svg(results))
        print(f"written: {target} and {target.with_suffix('.svg').name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
