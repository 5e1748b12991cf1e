"""The congestion window over time: a small chart for each connection whose window tells a story."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from itertools import pairwise
from xml.etree.ElementTree import Element

from ustack.lab.language import translate
from ustack.lab.page.markup import SVG, make
from ustack.lab.report import Report, View
from ustack.units import SECOND

WIDTH, HEIGHT = 860, 190
LEFT, RIGHT, TOP, BOTTOM = 56, 96, 22, 26
LEAST_STEPS = 40
"""A window that has changed less often is told by the ladder alone."""
MOST_CHARTS = 6
MOST_POINTS = 1200
_NAMES = ("cwnd", "ssthresh", "in flight")


@dataclasses.dataclass
class _Frame:
    """Where instants and bytes lie in the picture."""

    begin: int
    end: int
    most: int

    def x(self, at: int) -> float:
        """Of an instant, ns."""
        return LEFT + (WIDTH - LEFT - RIGHT) * (at - self.begin) / max(self.end - self.begin, 1)

    def y(self, size: float) -> float:
        """Of a number of bytes."""
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(size, self.most) / max(self.most, 1)


def charts(report: Report, level: str) -> Element | None:
    """A section with the charts, if a connection of the run has a window worth one."""
    found = [(who, views) for who, views in _by_connection(report).items() if _steps(views) >= LEAST_STEPS]
    if not found:
        return None
    figures = [
        make("figure", make("figcaption", _caption(who, views)), make("div", _draw(views), class_="scroll"))
        for who, views in found[:MOST_CHARTS]
    ]
    return make("section", make(level, translate("The window over time")), figures, class_="charts")


def _by_connection(report: Report) -> dict[tuple[str, str], list[View]]:
    found: dict[tuple[str, str], list[View]] = {}
    for view in report.views:
        found.setdefault((view.side, view.who), []).append(view)
    return found


def _steps(views: list[View]) -> int:
    return sum(one.snapshot.cwnd != other.snapshot.cwnd for one, other in pairwise(views))


def _caption(who: tuple[str, str], views: list[View]) -> str:
    side, ends = who
    control = views[-1].snapshot.control
    return f"{translate(side)}, {ends}" + (f", {control}" if control else "")


def _draw(views: list[View]) -> Element:
    thin = max(len(views) // MOST_POINTS, 1)
    views = [*views[::thin], views[-1]]
    windows = [view.snapshot.cwnd for view in views]
    thresholds = [view.snapshot.ssthresh for view in views if view.snapshot.ssthresh > 0]
    most = max(windows)
    if thresholds:
        most = max(most, min(max(thresholds), 2 * most))
    frame = _Frame(views[0].at, views[-1].at, max(most, 1))
    mss = max(views[-1].snapshot.mss, 1)
    said = translate("cwnd from {least:,} to {most:,} bytes").format(least=min(windows), most=max(windows))
    return make(
        "svg",
        make("title", said),
        _axes(frame, mss),
        make("path", class_="flight", d=_area(views, frame)),
        make("path", class_="ssthresh", d=_line(views, frame, lambda view: view.snapshot.ssthresh)),
        make("path", class_="cwnd", d=_line(views, frame, lambda view: view.snapshot.cwnd)),
        _legend(),
        xmlns=SVG,
        class_="chart",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=said,
    )


def _axes(frame: _Frame, mss: int) -> list[Element]:
    base = HEIGHT - BOTTOM
    found = [make("path", class_="axis", d=f"M{LEFT} {TOP}V{base}H{WIDTH - RIGHT}")]
    for size in _round_steps(frame.most / mss):
        y = frame.y(size * mss)
        found.append(make("path", class_="grid", d=f"M{LEFT} {y:.1f}H{WIDTH - RIGHT}"))
        found.append(make("text", f"{size:g}", x=LEFT - 6, y=y + 4, text_anchor="end"))
    found.append(make("text", translate("segments"), x=LEFT - 6, y=TOP - 8, text_anchor="middle"))
    for second in _round_steps((frame.end - frame.begin) / SECOND):
        x = frame.x(frame.begin + round(second * SECOND))
        found.append(make("text", f"{second + frame.begin / SECOND:.3g} s", x=x, y=base + 18, text_anchor="middle"))
    return found


def _round_steps(most: float) -> list[float]:
    """Three to six numbers of 1, 2, 5 times a power of ten, from 0 to ``most``."""
    step = 1e-9
    for factor in (2, 2.5, 2) * 40:
        if most / step <= 6:
            break
        step *= factor
    return [round(number * step, 9) for number in range(int(most / step) + 1)]


def _line(views: Iterable[View], frame: _Frame, of: Callable[[View], int]) -> str:
    """A step at each change: the number holds until the next. Numbers below 0 are none."""
    words: list[str] = []
    last = -1
    for view in views:
        size = of(view)
        if size < 0:
            last = -1
            continue
        x = frame.x(view.at)
        words.append(f"M{x:.1f} {frame.y(size):.1f}" if last < 0 else f"H{x:.1f}V{frame.y(size):.1f}")
        last = size
    return "".join(words) or "M0 0"


def _area(views: list[View], frame: _Frame) -> str:
    line = _line(views, frame, lambda view: view.snapshot.in_flight)
    return f"{line}H{frame.x(frame.end):.1f}V{frame.y(0):.1f}H{frame.x(frame.begin):.1f}Z"


def _legend() -> list[Element]:
    found = []
    for row, name in enumerate(_NAMES):
        y = TOP + 14 + 20 * row
        kind = name.replace("in ", "")
        shape = f"M{WIDTH - RIGHT + 12} {y}h20" + ("v6h-20z" if kind == "flight" else "")
        found.append(make("path", class_=kind, d=shape))
        found.append(make("text", translate(name), x=WIDTH - RIGHT + 38, y=y + 4))
    return found
