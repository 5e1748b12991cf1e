"""From instants to heights: true to scale where something happens, folded where nothing does.

Time runs downwards. A flight that takes the usual time gets the same slant everywhere. What happens at one instant at
one side is drawn one beneath the other, and silence longer than ``FOLD_OVER`` becomes a mark that says how long it was.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

FLIGHT_HEIGHT = 54.0
"""The height of a flight that takes the usual time; it makes the scale."""
FOLD_OVER = 150.0
"""More height than this for silence is folded ..."""
FOLD_HEIGHT = 58.0
"""... to this."""
PRESSURE = 40.0
"""Notes in a margin may stand this much further than their instants are apart; then time is stretched for them."""
MILLISECOND = 1_000_000


@dataclasses.dataclass
class Point:
    """Something that happens at an instant and takes room. ``y`` is found by :func:`place`."""

    at: int
    order: tuple[int, float]
    columns: tuple[str, ...]
    """Where nothing else may stand."""
    above: float = 0.0
    below: float = 0.0
    margin: str = ""
    """The margin in which its note stands, ``height`` high, at about its instant."""
    height: float = 0.0
    until: int = 0
    """Where it stands for all that happens until then."""
    is_event: bool = True
    """Something happens here, so that silence ends."""
    y: float = 0.0


@dataclasses.dataclass
class Fold:
    """A stretch of silence: from ``begin`` to ``end`` (ns), drawn at ``y``."""

    begin: int
    end: int
    y: float


def usual_flight(times: Iterable[int]) -> int:
    """The median of what flights took (ns), at least 10 us."""
    ordered = sorted(time for time in times if time > 0)
    return max(ordered[len(ordered) // 2] if ordered else MILLISECOND, 10_000)


class _Room:
    """What is taken: the lowest edge in each column, and how many notes wait in each margin."""

    def __init__(self) -> None:
        self._bottoms: dict[str, float] = {}
        self._waiting: dict[str, float] = {}

    def first_free(self, point: Point) -> float:
        return max((self._bottoms.get(column, -1e9) + point.above for column in point.columns), default=-1e9)

    def lowest(self) -> float:
        """Below it nothing stands in any column."""
        return max(self._bottoms.values(), default=-1e9)

    def stretch(self, point: Point, moved: float) -> float:
        """How much more time must be stretched so that the notes of a margin stay near their instants."""
        for margin in self._waiting:
            self._waiting[margin] = max(self._waiting[margin] - moved, 0.0)
        if not point.margin:
            return 0.0
        waiting = self._waiting.get(point.margin, 0.0)
        extra = max(waiting - PRESSURE, 0.0)
        for margin in self._waiting:
            self._waiting[margin] = max(self._waiting[margin] - extra, 0.0)
        self._waiting[point.margin] = waiting - extra + point.height
        return extra

    def take(self, point: Point) -> None:
        for column in point.columns:
            self._bottoms[column] = point.y + point.below


def place(points: list[Point], flight: int, top: float) -> list[Fold]:
    """Gives each point its height, below ``top``; ``flight``: what a usual flight takes (ns). Returns the folds."""
    points.sort(key=lambda point: (point.at, point.order))
    room, folds = _Room(), []
    y, last = top, points[0].at if points else 0
    heard = last
    for point in points:
        natural = max(point.at - last, 0) * FLIGHT_HEIGHT / flight
        if natural > FOLD_OVER:
            y = max(y, room.lowest())
            folds.append(Fold(heard, point.at, y + FOLD_HEIGHT / 2))
            natural = FOLD_HEIGHT
        wanted = max(y + natural, room.first_free(point))
        wanted += room.stretch(point, wanted - y)
        if folds and folds[-1].end == point.at and folds[-1].begin == heard:
            folds[-1].y = (y + wanted) / 2
        point.y = y = wanted
        if point.until:
            y += point.below  # nothing stands beside it
        last = max(point.at, point.until, last)
        heard = last if point.is_event else heard
        room.take(point)
    return folds
