"""Draws a Picture with matplotlib, which is an extra: ``pip install 'ustack[plot]'``.

Colours are Okabe and Ito's, which people with any colour vision tell apart; lines differ in dash, marks in form, too.
"""

from __future__ import annotations

import dataclasses
import html
import importlib
import io
from pathlib import Path
from typing import Any

from ustack.cli.complaint import Complaint, about_file
from ustack.cli.values import shown
from ustack.plot.panel import BYTES, PACKETS, RATE, TIME, Curve, Marks, Panel, Picture
from ustack.units import SECOND

FORMS = (".svg", ".png", ".html")
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PINK = (
    "#000000", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7",
)  # fmt: skip
STYLES: dict[str, tuple[str, str, str]] = {
    "sent": (BLUE, "-", ""),
    "acked": (GREEN, "-", ""),
    "window": (ORANGE, "--", ""),
    "flight": (SKY, "-", ""),
    "resent": (RED, "", "x"),
    "lost": (RED, "", "o"),
    "sack": (PINK, "", "|"),
    "rtt": (BLUE, "", "."),
    "cwnd": (BLACK, "-", ""),
    "ssthresh": (PINK, ":", ""),
    "srtt": (BLUE, "-", ""),
    "rto": (RED, "--", ""),
    "pacing": (PINK, "--", ""),
    "delivery": (GREEN, "-", ""),
    "queue": (BLUE, "-", ""),
    "dropped": (RED, "", "x"),
    "unread": (SKY, "-", ""),
    "one": (BLUE, "-", ""),
    "two": (RED, "--", ""),
    "three": (GREEN, "-.", ""),
    "four": (PINK, ":", ""),
    "five": (BLACK, "-", ""),
    "six": (ORANGE, "--", ""),
}
"""What a curve or mark stands for: colour, dash, mark."""
_WIDTH = 10.0
_PANEL_HEIGHT = 2.3
_SCALES = {
    BYTES: ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "bytes")),
    TIME: ((SECOND, "s"), (1_000_000, "ms"), (1_000, "us")),
    RATE: ((10**9, "Gbit/s"), (10**6, "Mbit/s"), (10**3, "kbit/s"), (1, "bit/s")),
    PACKETS: ((1, "packets"),),
}


def check_target(path: str) -> None:
    """Raises Complaint where ``path`` is no name that a picture can have, or matplotlib is missing."""
    if Path(path).suffix.lower() not in FORMS:
        raise Complaint(f"{shown(path)}: a picture is a file that ends in {', '.join(FORMS[:-1])} or {FORMS[-1]}.", 2)
    try:
        importlib.import_module("matplotlib")
    except ImportError:
        raise Complaint("pictures need matplotlib: pip install 'ustack[plot]' brings it.", 2) from None


def write(picture: Picture, path: str) -> None:
    """Draws ``picture`` into a file; its ending says which form. Raises Complaint."""
    check_target(path)
    figure = draw(picture)
    write_figure(figure, picture.title, path)


def write_figure(figure: Any, title: str, path: str) -> None:
    """A figure as SVG, PNG, or a page with the SVG in it that opens offline."""
    suffix = Path(path).suffix.lower()
    try:
        if suffix == ".png":
            figure.savefig(path, format="png", dpi=110)
            return
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Title": title})
        drawing = text.getvalue()
        if suffix == ".html":
            drawing = _page(title, drawing[drawing.index("<svg") :])
        Path(path).write_text(drawing, encoding="utf-8")
    except OSError as error:
        raise about_file(path, error) from None


def _page(title: str, drawing: str) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n"
        "<style>body{margin:1rem auto;max-width:75rem;background:#fff}svg{width:100%;height:auto}</style>\n"
        f'</head>\n<body>\n<main role="img" aria-label="{html.escape(title, quote=True)}">\n'
        f"{drawing}</main>\n</body>\n</html>\n"
    )


def new_figure(width: float, height: float) -> Any:
    """An empty figure without a window; text stays text in an SVG, and the same data make the same file."""
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.rcParams.update({
        "svg.fonttype": "none", "svg.hashsalt": "ustack", "font.size": 9, "axes.titlesize": 10,
        "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
    })  # fmt: skip
    module: Any = importlib.import_module("matplotlib.figure")
    return module.Figure(figsize=(width, height), layout="constrained")


def draw(picture: Picture, into: Any = None) -> Any:
    """The figure; ``into``: one that is there already."""
    count = max(1, len(picture.panels))
    figure = into if into is not None else new_figure(_WIDTH, 1.6 + _PANEL_HEIGHT * count)
    figure.suptitle(picture.title, fontsize=12, fontweight="bold")
    start = picture.start()
    first, last = picture.span()
    length = last - first
    unit, name = (SECOND, "s") if length >= 2 * SECOND else (1_000_000, "ms") if length >= 2_000_000 else (1000, "us")
    heights = [1.6 if index == 0 else 1.0 for index in range(count)]
    axes = figure.subplots(count, 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axis, panel in zip(axes, picture.panels, strict=False):
        _panel(axis, _until(panel, last), start, unit)
    axes[-1].set_xlabel(f"time ({name})" + (f"\n{picture.note}" if picture.note else ""))
    axes[-1].set_xlim((first - start - length * 0.01) / unit, (last - start + length * 0.01) / unit or 1)
    return figure


def _until(panel: Panel, last: int) -> Panel:
    """The panel up to ``last``: what holds its value holds it until then, and what comes later sets no scale."""
    curves = []
    for curve in panel.curves:
        points = [point for point in curve.points if point[0] <= last]
        if curve.is_step and not curve.ends and points and points[-1][0] < last:
            points.append((last, points[-1][1]))
        curves.append(dataclasses.replace(curve, points=points))
    marks = []
    for one in panel.marks:
        points = [point for point in one.points if point[0] <= last]
        marks.append(dataclasses.replace(one, points=points, spans=one.spans[: len(points)]))
    return Panel(panel.title, panel.kind, curves, [one for one in marks if one.points], panel.is_log, panel.top)


def _panel(axis: Any, panel: Panel, start: int, unit: int) -> None:
    size, name = _scale(panel)
    axis.set_title(panel.title, loc="left", fontweight="bold")
    axis.set_ylabel(name)
    axis.grid(True, color="#dddddd", linewidth=0.6)
    for curve in panel.curves:
        _curve(axis, curve, start, unit, size)
    for marks in panel.marks:
        _marks(axis, marks, start, unit, size)
    axis.margins(y=0.08)
    if panel.is_log:
        axis.set_yscale("log")
        plain: Any = importlib.import_module("matplotlib.ticker")
        axis.yaxis.set_major_formatter(plain.FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        axis.set_ylim(bottom=0, top=panel.top / size if panel.top else None)
    if panel.kind == PACKETS:
        axis.yaxis.get_major_locator().set_params(integer=True)
    handles, labels = axis.get_legend_handles_labels()
    if handles:
        axis.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.0, 1.02), frameon=False, fontsize=8.5)


def _scale(panel: Panel) -> tuple[int, str]:
    """The largest unit in which the greatest value is 2 or more."""
    values = [value for curve in panel.curves for _, value in curve.points]
    values += [value for marks in panel.marks for _, value in marks.points]
    most = panel.top or max(values, default=0)
    return next(((size, name) for size, name in _SCALES[panel.kind] if most >= 2 * size), _SCALES[panel.kind][-1])


def _curve(axis: Any, curve: Curve, start: int, unit: int, size: int) -> None:
    if not curve.points:
        return
    colour, dash, _ = STYLES[curve.style]
    x = [(at - start) / unit for at, _ in curve.points]
    y = [value / size for _, value in curve.points]
    drawn = "steps-post" if curve.is_step else "default"
    width = 2.8 if curve.style == "flight" else 1.4  # cwnd often lies on it
    axis.plot(x, y, color=colour, linestyle=dash, linewidth=width, drawstyle=drawn, label=curve.name)


def _marks(axis: Any, marks: Marks, start: int, unit: int, size: int) -> None:
    colour, _, form = STYLES[marks.style]
    x = [(at - start) / unit for at, _ in marks.points]
    y = [value / size for _, value in marks.points]
    if marks.spans:
        axis.vlines(x, y, [value / size for value in marks.spans], color=colour, linewidth=1.2, label=marks.name)
    else:
        hollow = {"markerfacecolor": "none"} if form == "o" else {}
        axis.plot(x, y, color=colour, linestyle="", marker=form, markersize=5, label=marks.name, **hollow)
