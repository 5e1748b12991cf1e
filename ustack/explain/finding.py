"""A finding: what is odd, the packets that show it, and how sure that is."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

CERTAIN, PROBABLE, POSSIBLE = "certain", "probable", "possible"
"""Certain: the packets themselves say so. Probable: nothing else explains them well. Possible: something else may."""
FAULT, NOTE = "fault", "note"
"""A note is worth knowing and no trouble: how the capture was made, keep-alives."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """``kind`` is a short name for programs; ``text`` whole sentences for people."""

    kind: str
    text: str
    packets: tuple[int, ...]
    confidence: str = CERTAIN
    weight: str = FAULT

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)


def listed(numbers: Sequence[int], most: int = 5) -> str:
    """``packet 5``, ``packets 5 and 9``, ``packets 5, 6, 8, 9, 12 and 40 others``."""
    shown = [str(number) for number in numbers[:most]]
    if len(numbers) > most:
        rest = len(numbers) - most
        return f"packets {', '.join(shown)} and {rest} other{'' if rest == 1 else 's'}"
    if len(shown) == 1:
        return f"packet {shown[0]}"
    return f"packets {', '.join(shown[:-1])} and {shown[-1]}"


def counted(numbers: Sequence[int]) -> str:
    """1 segment, 5 segments."""
    return f"{len(numbers)} segment{'' if len(numbers) == 1 else 's'}"


def times(count: int) -> str:
    """once, twice, 3 times."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
