"""``python -m tools.fuzz``: fuzz for a while; what breaks is made short and printed as a test."""

from __future__ import annotations

import argparse
import sys
import time
import traceback

from tools.fuzz import choice, honest, tape, wires


def parser() -> argparse.ArgumentParser:
    """The options."""
    words = argparse.ArgumentParser(prog="python -m tools.fuzz", description=__doc__)
    words.add_argument("--seconds", type=float, default=60.0, help="stop after so long")
    words.add_argument("--seed", type=int, default=1, help="of the first case; the next ones count on")
    words.add_argument("--cases", type=int, default=0, help="stop after so many; 0: no limit")
    words.add_argument("--steps", type=int, default=150, help="operations of one hostile case")
    words.add_argument("--only", choices=["hostile", "honest", "wires"], help="one sort instead of all by turns")
    return words


def report_hostile(seed: int, steps: int) -> str:
    """A hostile case: "" or what it found, as text."""
    setup, played, error = choice.run_case(seed, steps)
    if error is None:
        return ""
    fault = tape.name_of(error)
    setup, short = tape.shorten(setup, played, fault)
    lines = [f"hostile seed {seed} steps {steps}: {error}", f"SETUP = {setup!r}", "TAPE = ["]
    lines += [f"    {operation!r}," for operation in short]
    return "\n".join([*lines, "]"])


def report_honest(seed: int) -> str:
    """An honest case: "" or what it found, as text."""
    error = honest.run_case(seed)
    if error is None:
        return ""
    story = "".join(traceback.format_exception(error, limit=-4))
    return f"honest seed {seed}: {error}\n{honest.random_case(seed)!r}\n{story}"


def main() -> int:
    """Exit status 1 when something was found."""
    own = parser().parse_args()
    began = time.monotonic()
    sorts = [own.only] if own.only else ["hostile", "honest", "wires"]
    counts = dict.fromkeys(sorts, 0)
    finds = 0
    seed = own.seed
    while time.monotonic() - began < own.seconds and not 0 < own.cases <= seed - own.seed:
        for sort in sorts:
            if sort == "hostile":
                found = report_hostile(seed, own.steps)
            elif sort == "honest":
                found = report_honest(seed)
            else:
                found = wires.report(seed)
            counts[sort] += 1
            if found:
                finds += 1
                print(found, flush=True)
        seed += 1
    print(f"{counts}: {finds} found; next --seed {seed}")
    return 1 if finds else 0


if __name__ == "__main__":
    sys.exit(main())
