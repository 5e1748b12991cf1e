"""The table, as text for the terminal and as tools/bench/RESULTS.md; the picture is picture.py's."""

from __future__ import annotations

import shlex
from pathlib import Path

from tools.bench import stats
from tools.bench.cases import Line, Result

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "RESULTS.md"
NOTES_SHOWN = ("p99 us", "Jain", "retransmits", "failed", "errors", "connects that worked %", "kernel Mbit/s")


def verdict(result: Result, line: Line) -> str:
    """How a line of ours stands to its bar: by its bounds, so that a noisy run neither passes nor fails by luck."""
    if line.estimate is None or line.kind != "ustack" or result.target == 0:
        return ""
    low, high = line.estimate.low, line.estimate.high
    if result.lower_is_better:
        low, high = -high, -low
        target = -result.target
    else:
        target = result.target
    if low >= target:
        return "met"
    return "not met" if high < target else "within the spread"


def cells(result: Result, line: Line) -> list[str]:
    """Subject, figure, ratio with its bounds, notes, verdict."""
    if line.estimate is None:
        return [line.title, "-", "-", line.reason or "not yet", ""]
    notes = [f"{name} {stats.figure(line.notes[name])}" for name in NOTES_SHOWN if line.notes.get(name)]
    notes += list(line.estimate.reasons)
    ratio = (
        line.estimate.text()
        if line.kind != "baseline"
        else f"1 ({stats.figure(line.estimate.low)}-{stats.figure(line.estimate.high)})"
    )
    return [
        line.title,
        f"{stats.figure(line.estimate.value)} {result.unit}",
        ratio,
        ", ".join(notes),
        verdict(result, line),
    ]


HEADINGS = ["who", "figure", "ratio (spread)", "beside it", "bar"]


def table(result: Result) -> str:
    """A case for the terminal, columns aligned."""
    rows = [HEADINGS, *(cells(result, line) for line in result.lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = [f"{result.name}  {result.title}  [bar: {result.bar or '-'}; moonshot: {result.moonshot or '-'}]"]
    lines += [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    return "\n".join(lines)


def markdown(results: list[Result], facts: dict[str, str], command: list[str]) -> str:
    """The page RESULTS.md: machine, conditions, a table for each case."""
    noisy = any(line.estimate is not None and line.estimate.noisy for result in results for line in result.lines)
    page = ["# What `make bench` saw", "", "Written by `python -m tools.bench`; do not edit.", ""]
    if noisy:
        page += ["**The machine was noisy during this run.** Figures with `~` are disturbed: their spread is widened "
                 "by what other processes took, and they decide nothing by themselves.", ""]  # fmt: skip
    page += ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts.items())]
    page += [f"| command | `{shlex.join(command)}` |", ""]
    page += ["Ratio: the median over the rounds of subject / baseline, the baseline measured before and after; in "
             "brackets the smallest and largest round, widened for few rounds and for noise. The spread holds the "
             "median with 94 % at 5 rounds.", ""]  # fmt: skip
    for result in results:
        page += [
            f"## {result.name}: {result.title}",
            "",
            f"Bar: {result.bar or '-'}. Moonshot: {result.moonshot or '-'}.",
            "",
        ]
        page += ["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS)]
        page += [
            "| " + " | ".join(cell.replace("|", "/") for cell in cells(result, line)) + " |" for line in result.lines
        ]
        commands = sorted({line.command for line in result.lines if line.command})
        if commands:
            page += ["", f"Client: `{commands[0]}`"]
        page += [""]
    return "\n".join(page)
