"""`make costs`: instructions of one packet of an attacker who has made the stack hold little, and much.

The work is subjects/hostile_work.py under callgrind, the price of a packet the difference of two runs, as for `make
counts`. Fails where a packet at the cap costs more than twice what it costs at rest.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tools.bench import build, counts
from tools.bench.subjects.hostile_work import ATTACKS

WORK = Path(__file__).resolve().parent / "subjects" / "hostile_work.py"
AT_REST, AT_THE_CAP = 8, 1000
FEW, MANY = 4, 20
MOST = 2.0


def price(attack: str, held: int) -> int:
    """Instructions for one packet of `attack`."""
    with tempfile.TemporaryDirectory() as folder:
        totals = [
            sum(counts.run(WORK, [attack, str(held), str(times)], f"{folder}/{times}").values())
            for times in (FEW, MANY)
        ]
    return (totals[1] - totals[0]) // (MANY - FEW)


def main() -> int:
    """1 when an attack pays."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.costs", description=__doc__)
    parser.add_argument("attack", nargs="*", default=sorted(ATTACKS), help="only these")
    options = parser.parse_args()
    for reason in build.forms():
        print(reason)
        return 1
    worst = 0.0
    for attack in options.attack:
        little, much = price(attack, AT_REST), price(attack, AT_THE_CAP)
        worst = max(worst, much / little)
        print(f"{attack:20s} {little:9d} {much:9d} instructions, {much / little:.2f} times as many", flush=True)
    return 1 if worst > MOST else 0


if __name__ == "__main__":
    sys.exit(main())
