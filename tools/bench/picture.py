"""Bars of ratios as one SVG: no library, readable without colour, the baseline a line at 1."""

from __future__ import annotations

import math
from html import escape

from tools.bench import stats
from tools.bench.cases import Line, Result

WIDTH, LABEL, BAR, GAP, HEAD = 960, 330, 16, 5, 34
COLOURS = {"ustack": "#1f6feb", "peer": "#9aa4b2", "ceiling": "#d29922", "kernel": "#57606a"}
LEFT, RIGHT = 370, 70
"""Room beside the drawing for the longest names and figures."""
LARGEST = 3.0
"""Bars longer than this ratio are cut, with their figure beside them."""


def svg(results: list[Result]) -> str:
    """Every measured line of every case; what was not measured stands as words."""
    parts: list[str] = []
    y = 10
    for result in results:
        drawn, y = _case(result, y)
        parts += drawn
    whole = LEFT + WIDTH + RIGHT
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{-LEFT} 0 {whole} {y + 10}"'
            f' width="{whole}" height="{y + 10}"'
            ' font-family="system-ui, sans-serif" font-size="12">',
            "<title>ustack and other stacks, as ratios to the kernel</title>",
            f'<rect x="{-LEFT}" width="{whole}" height="{y + 10}" fill="#ffffff"/>',
            *parts,
            "</svg>",
            "",
        ]
    )


def _scale(result: Result) -> float:
    ratios = [line.estimate.high for line in result.lines if line.estimate and not math.isnan(line.estimate.high)]
    return (WIDTH - LABEL - 170) / max(1.0, min(LARGEST, max(ratios, default=1.0)))


def _case(result: Result, y: int) -> tuple[list[str], int]:
    scale = _scale(result)
    better = "shorter is better" if result.lower_is_better else "longer is better"
    parts = [f'<text x="{10 - LEFT}" y="{y + 18}" font-size="14" font-weight="bold">'
             f"{escape(f'{result.name}  {result.title}')}</text>"
             f'<text x="{WIDTH - 10}" y="{y + 18}" text-anchor="end" fill="#57606a">{better}</text>']  # fmt: skip
    top = y + HEAD - 6
    y += HEAD
    for line in result.lines:
        if line.kind == "baseline":
            continue
        parts += _bar(line, y, scale, result.unit)
        y += BAR + GAP
    at = LABEL + scale
    parts.append(f'<line x1="{at:.1f}" y1="{top}" x2="{at:.1f}" y2="{y}" stroke="#24292f" stroke-dasharray="3 3"/>')
    return parts, y + 12


def _bar(line: Line, y: int, scale: float, unit: str) -> list[str]:
    middle = y + BAR - 4
    parts = [f'<text x="{LABEL - 8}" y="{middle}" text-anchor="end">{escape(line.title)}</text>']
    if line.estimate is None:
        return [
            *parts,
            f'<text x="{LABEL + 4}" y="{middle}" fill="#8c959f">{escape(line.reason or "not yet")[:80]}</text>',
        ]
    length = min(line.estimate.ratio, LARGEST) * scale
    low, high = (LABEL + min(bound, LARGEST) * scale for bound in (line.estimate.low, line.estimate.high))
    colour = COLOURS.get(line.kind, "#8c959f")
    text = f"{line.estimate.text()}  {stats.figure(line.estimate.value)} {unit}"
    return [
        *parts,
        f'<rect x="{LABEL}" y="{y}" width="{max(length, 0.5):.1f}" height="{BAR}" fill="{colour}"/>',
        f'<line x1="{low:.1f}" y1="{y + BAR / 2}" x2="{high:.1f}" y2="{y + BAR / 2}" stroke="#000"/>',
        f'<text x="{max(high, LABEL + length) + 6:.1f}" y="{middle}">{escape(text)}</text>',
    ]
