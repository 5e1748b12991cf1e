"""The picture of ``ustack lab cc``: over time where there is one set of conditions, else over the conditions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ustack.plot import draw
from ustack.plot.decisions import ORDER, comparison
from ustack.plot.panel import PACKETS, Curve, Panel
from ustack.sweep.race import Case, Result

_FORMS = ("o", "s", "^", "D", "v", "P")
LARGEST = len(ORDER)
"""Algorithms that one picture tells apart."""


def write(results: Sequence[Result], path: str) -> None:
    """Draws. Raises Complaint."""
    draw.check_target(path)
    over_time = all(result.case.keeps for result in results)
    figure = _over_time(results) if over_time else _over_conditions(results)
    draw.write_figure(figure, "congestion control", path)


def _short(name: str) -> str:
    """The class of FILE.py:CLASS."""
    return name.rpartition(":")[2]


def _over_time(results: Sequence[Result]) -> Any:
    alone = [result for result in results if result.case.is_alone()][:LARGEST]
    case = alone[0].case
    stories = [(_short(result.flows[0].control), result.flows[0].story) for result in alone]
    named = [(name, story) for name, story in stories if story is not None]
    curves = [Curve(_short(one.flows[0].control), style, one.queue) for one, style in zip(alone, ORDER, strict=False)]
    queue = Panel("Queue of the bottleneck", PACKETS, curves)
    picture = comparison(named, f"Each alone: {conditions(case)}", [queue])
    shared = [result for result in results if not result.case.is_alone()]
    if not shared:
        return draw.draw(picture)
    whole = draw.new_figure(10.0, 9.8 + 1.1 + 0.34 * len(shared))
    upper, lower = whole.subfigures(2, 1, height_ratios=[9.8, 1.1 + 0.34 * len(shared)])
    draw.draw(picture, upper)
    _shares(lower, shared)
    return whole


def conditions(case: Case) -> str:
    """10 Mbit/s, 20 ms each way, 50 packets of buffer, loss 1%."""
    loss = f", loss {case.loss * 100:g}%" if case.loss else ""
    return f"{case.rate / 1e6:g} Mbit/s, {case.delay / 1e6:g} ms each way, {case.buffer} packets of buffer{loss}"


def _shares(figure: Any, shared: Sequence[Result]) -> None:
    """A bar for each run: what each flow has of the bottleneck."""
    axis = figure.subplots()
    axis.set_title("Against each other", loc="left", fontweight="bold")
    for place, result in enumerate(reversed(shared)):
        at = 0.0
        for index, flow in enumerate(result.flows):
            share = flow.goodput / result.case.rate
            colour, _, _ = draw.STYLES[("flight", "window")[index % 2]]
            axis.barh(place, share * 100, left=at * 100, color=colour, edgecolor="white")
            if share > 0.08:
                label = f"{_short(flow.control)} {share * 100:.0f}%"
                axis.text((at + share / 2) * 100, place, label, ha="center", va="center", fontsize=8)
            at += share
        axis.text(101, place, f"fairness {result.jain:.2f}", va="center", fontsize=8.5)
    names = [" + ".join(_short(flow.control) for flow in result.flows) for result in reversed(shared)]
    axis.set_yticks(range(len(shared)), names)
    axis.set_xlim(0, 118)
    axis.set_xticks(range(0, 101, 20))
    axis.set_xlabel("goodput as a share of the bottleneck's rate (%); fairness is Jain's index")


def _over_conditions(results: Sequence[Result]) -> Any:
    """One panel each for what is compared; a place on the axis for each set of conditions."""
    alone = [result for result in results if result.case.is_alone()]
    controls = list(dict.fromkeys(result.case.controls[0] for result in alone))[:LARGEST]
    places = list(dict.fromkeys(_place(result.case) for result in alone))
    shared = [result for result in results if not result.case.is_alone()]
    pairs = list(dict.fromkeys(result.case.controls for result in shared))
    figure = draw.new_figure(max(9.0, 4.0 + 0.55 * len(places)), 10.5 if pairs else 8.2)
    figure.suptitle("Each alone, under each set of conditions", fontsize=12, fontweight="bold")
    axes = figure.subplots(4 if pairs else 3, 1, sharex=True)
    measures = (
        ("Goodput", "share of the rate (%)", lambda result: result.used * 100),
        ("Mean round trip", "ms", lambda result: result.flows[0].rtt_mean / 1e6),
        ("Resent", "segments", lambda result: result.flows[0].resent),
    )
    for axis, (title, unit, measure) in zip(axes, measures, strict=False):
        lines = [(_short(name), [result for result in alone if result.case.controls[0] == name]) for name in controls]
        _lines(axis, (title, unit), lines, places, measure)
    axes[0].set_ylim(0, 105)
    if pairs:
        lines = [
            (_pair(pair), [result for result in shared if result.case.controls == pair]) for pair in pairs[:LARGEST]
        ]
        _lines(
            axes[3],
            (_some("Fairness of those that share", pairs), "Jain's index"),
            lines,
            places,
            lambda result: result.jain,
        )
        axes[3].set_ylim(0, 1.05)
    axes[-1].set_xticks(range(len(places)), ["\n".join(place) for place in places], fontsize=8)
    return figure


def _pair(controls: tuple[str, ...]) -> str:
    """reno + cubic, of four flows."""
    return " + ".join(map(_short, controls[:2])) + (f" ({len(controls)} flows)" if len(controls) > 2 else "")


def _some(title: str, all_of_them: Sequence[object]) -> str:
    """The title, and that not all are drawn."""
    return title + (f" (the first {LARGEST} of {len(all_of_them)})" if len(all_of_them) > LARGEST else "")


def _place(case: Case) -> tuple[str, ...]:
    loss = (f"{case.loss * 100:g}% lost",) if case.loss else ("no loss",)
    return (f"{case.rate / 1e6:g} Mbit/s", f"{case.delay / 1e6:g} ms", f"{case.buffer} pkts", *loss)


def _lines(
    axis: Any, words: tuple[str, str], lines: Sequence[tuple[str, list[Result]]], places: list[Any], measure: Any
) -> None:
    axis.set_title(words[0], loc="left", fontweight="bold")
    axis.set_ylabel(words[1])
    axis.grid(True, color="#dddddd", linewidth=0.6)
    is_line = sum(len({place[at] for place in places}) > 1 for at in range(4)) == 1  # else neighbours are no series
    for (name, found), style, form in zip(lines, ORDER, _FORMS, strict=False):
        sums: dict[int, list[float]] = {}
        for result in found:
            sums.setdefault(places.index(_place(result.case)), []).append(measure(result))
        x = sorted(sums)
        colour, dash, _ = draw.STYLES[style]
        y = [sum(sums[place]) / len(sums[place]) for place in x]
        beside = 0.0 if is_line else (ORDER.index(style) - (len(lines) - 1) / 2) * 0.07  # none hides another
        shifted = [place + beside for place in x]
        axis.plot(shifted, y, color=colour, linestyle=dash if is_line else "", marker=form, markersize=6, label=name)
    axis.margins(y=0.08)
    axis.set_ylim(bottom=0)
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02), frameon=False, fontsize=8.5)
