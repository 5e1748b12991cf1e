"""What is in a graph: plain data, which tests look at without a picture. Instants are ns; values bytes, ns, bit/s."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable

MOST = 6000
"""Samples that a curve keeps: more than a picture has columns, and a bound for a transfer of any length."""
BYTES, TIME, RATE, PACKETS = "bytes", "time", "rate", "packets"
"""What the values of a panel are: a panel has one vertical axis."""

Point = tuple[int, float]


class Samples:
    """A curve that grows. When there are too many points, equal times keep their least, greatest and last value each;
    the times double as the curve grows, so that its begin is as fine as its end.
    """

    def __init__(self, most: int = MOST) -> None:
        self.points: list[Point] = []
        self._most = most
        self._width = 0
        """Of a time that keeps three points, ns; 0: every point is kept."""
        self._begin = 0
        """Where the points of the latest time begin."""

    def add(self, at: int, value: float) -> None:
        """One more; instants never go back. The same value again moves the end of a level stretch."""
        points = self.points
        if len(points) > self._begin + 1 and points[-1][1] == value == points[-2][1]:
            points[-1] = (at, value)
            return
        if self._width and points and points[-1][0] // self._width != at // self._width:
            self._begin = len(points)
        points.append((at, value))
        if self._width and len(points) - self._begin > 4:
            points[self._begin :] = _extremes(points[self._begin :])
        if len(points) > self._most:
            self._coarsen()

    def last(self) -> float | None:
        """The value of now."""
        return self.points[-1][1] if self.points else None

    def _coarsen(self) -> None:
        span = self.points[-1][0] - self.points[0][0]
        self._width = max(2 * self._width, span * 8 // self._most, 1)
        kept: list[Point] = []
        for _, group in itertools.groupby(self.points, key=lambda point: point[0] // self._width):
            self._begin = len(kept)
            kept += _extremes(list(group))
        self.points = kept


def _extremes(points: list[Point]) -> list[Point]:
    """The first with the least value, the first with the greatest, and the last, in order."""
    places = {
        min(range(len(points)), key=lambda place: points[place][1]),
        max(range(len(points)), key=lambda place: points[place][1]),
        len(points) - 1,
    }
    return [points[place] for place in sorted(places)]


def sequence_top(sent: list[Point], window: list[Point]) -> float:
    """Where a graph of sequence numbers ends: a window far beyond what is sent would flatten all else. 0: no limit."""
    most = max((value for _, value in sent), default=0)
    return most * 1.3 if max((value for _, value in window), default=0) > 2 * most else 0.0


class Marked:
    """Single instants, of which at most so many are kept, evenly."""

    def __init__(self, most: int = MOST) -> None:
        self.points: list[Point] = []
        self.count = 0
        self._most = most
        self._every = 1

    def add(self, at: int, value: float) -> None:
        """One more."""
        if self.count % self._every == 0:
            self.points.append((at, value))
        self.count += 1
        if len(self.points) > self._most:
            self.points = self.points[::2]
            self._every *= 2


@dataclasses.dataclass
class Curve:
    """A line. ``style`` names what it stands for, and so its colour and dash everywhere (``draw.STYLES``).

    ``is_step``: the value holds until the next point.
    """

    name: str
    style: str
    points: list[Point]
    is_step: bool = True
    ends: bool = False
    """It is over after its last point, and is not drawn on to the end of the picture."""


@dataclasses.dataclass
class Marks:
    """Single points; ``spans`` are vertical strokes instead, from the point's value up to the value behind it."""

    name: str
    style: str
    points: list[Point]
    spans: list[float] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Panel:
    """One graph of a picture."""

    title: str
    kind: str
    curves: list[Curve]
    marks: list[Marks] = dataclasses.field(default_factory=list)
    is_log: bool = False
    """The vertical axis is logarithmic: values of several sizes."""
    top: float = 0.0
    """Where the vertical axis ends; 0: above all that is in the panel."""

    def has_anything(self) -> bool:
        """It is worth drawing."""
        return any(curve.points for curve in self.curves) or any(one.points for one in self.marks)


@dataclasses.dataclass
class Picture:
    """Panels over one axis of time."""

    title: str
    panels: list[Panel]
    note: str = ""
    shown: tuple[int, int] | None = None
    """The first and the last instant that are drawn; None: all."""

    def span(self) -> tuple[int, int]:
        """The first and the last instant that are drawn, ns."""
        start = self.start()
        return self.shown or (start, start + self.length())

    def start(self) -> int:
        """The first instant."""
        return min(self._instants(), default=0)

    def length(self) -> int:
        """From the first instant to the last, ns."""
        return max(self._instants(), default=0) - self.start()

    def _instants(self) -> Iterable[int]:
        for panel in self.panels:
            drawn = [curve.points for curve in panel.curves] + [marks.points for marks in panel.marks]
            for points in drawn:
                if points:
                    yield points[0][0]
                    yield points[-1][0]


def rates(counts: Iterable[Point], start: int, end: int, parts: int = 100) -> list[Point]:
    """Bits a second in each of ``parts`` equal times; ``counts`` are instants and bytes."""
    width = max(1, -(-(end - start) // parts))
    sums = [0.0] * parts
    for at, count in counts:
        sums[min(parts - 1, max(0, (at - start) // width))] += count
    points = [(start + index * width, total * 8e9 / width) for index, total in enumerate(sums)]
    return [*points, (start + parts * width, points[-1][1])]
