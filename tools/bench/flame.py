"""A flame graph as one SVG without a script: stacks folded into boxes, widths are shares, titles show on hover."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from html import escape

WIDTH, ROW, MARGIN = 1200, 17, 10
SMALLEST = 0.4
"""Pixels below which a box is left out."""


@dataclass
class Box:
    """One function in one place: what it costs with everything it calls."""

    name: str
    weight: float = 0.0
    inner: dict[str, Box] = field(default_factory=dict)

    def add(self, stack: list[str], weight: float) -> None:
        """Counts a stack, outermost first."""
        self.weight += weight
        box = self
        for name in stack:
            box = box.inner.setdefault(name, Box(name))
            box.weight += weight

    def depth(self) -> int:
        """Rows above this one."""
        return 1 + max((box.depth() for box in self.inner.values()), default=0)


def render(stacks: dict[tuple[str, ...], float], title: str, colours: dict[str, str]) -> str:
    """The picture. `colours` maps a layer (the part of a name before `|`) to a colour; others get one by their name."""
    root = Box("all")
    for stack, weight in stacks.items():
        root.add(list(stack), weight)
    rows = min(root.depth(), 60)
    height = (rows + 3) * ROW + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        ' font-family="ui-monospace, monospace" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{MARGIN}" y="{MARGIN + 12}" font-size="14">{escape(title)}</text>',
    ]
    if root.weight:
        _draw(
            parts, root, (MARGIN, height - MARGIN - ROW), (WIDTH - 2 * MARGIN) / root.weight, root.weight, colours, rows
        )
    return "\n".join([*parts, "</svg>", ""])


def _draw(parts: list[str], box: Box, at: tuple[float, float], scale: float, whole: float,
          colours: dict[str, str], rows: int) -> None:  # fmt: skip
    x, y = at
    width = box.weight * scale
    if width < SMALLEST or rows < 0:
        return
    layer, _, name = box.name.rpartition("|")
    share = f"{name}: {100 * box.weight / whole:.1f} %" + (f" ({layer})" if layer else "")
    text = name if len(name) * 6.7 < width else name[: max(0, int(width / 6.7) - 1)] + "…" if width > 24 else ""
    parts.append(
        f'<g><title>{escape(share)}</title><rect x="{x:.1f}" y="{y:.1f}" width="{max(width - 0.3, 0.2):.1f}"'
        f' height="{ROW - 1}" fill="{colours.get(layer) or _colour(name)}"/>'
        f'<text x="{x + 2:.1f}" y="{y + 12:.1f}">{escape(text)}</text></g>'
    )
    for inner in sorted(box.inner.values(), key=lambda inner: inner.name):
        _draw(parts, inner, (x, y - ROW), scale, whole, colours, rows - 1)
        x += inner.weight * scale


def _colour(name: str) -> str:
    """Always the same for the same name, so that two pictures compare."""
    number = zlib.crc32(name.encode())
    return f"#{200 + number % 50:02x}{140 + number // 50 % 80:02x}{100 + number // 4000 % 60:02x}"
