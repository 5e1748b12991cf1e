"""Notes beside the ladder: each as near to its instant as it can be, and none over another.

This is isotonic regression by pooling adjacent violators: notes that would overlap become one block, which stands where
the sum of the squares of the distances is least; blocks that then overlap are pooled in their turn.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Sequence


@dataclasses.dataclass
class _Block:
    """Notes that touch, and the mean of what each would like the beginning of them all to be."""

    wish: float
    count: int

    def join(self, other: _Block) -> None:
        self.wish = (self.wish * self.count + other.wish * other.count) / (self.count + other.count)
        self.count += other.count


def spread(wishes: Sequence[float], heights: Sequence[float], top: float = 0.0) -> list[float]:
    """Where boxes of these heights begin, in their order, when box i would like to begin at ``wishes[i]``.

    No two overlap, none begins above ``top``, and no other such placing has a smaller sum of squared distances.
    """
    blocks: list[_Block] = []
    above = 0.0
    for wish, height in zip(wishes, heights, strict=True):
        blocks.append(_Block(wish - above, 1))
        above += height
        while len(blocks) > 1 and blocks[-2].wish > blocks[-1].wish:
            last = blocks.pop()
            blocks[-1].join(last)
    tops: list[float] = []
    above = 0.0
    for block in blocks:
        for height in heights[len(tops) : len(tops) + block.count]:
            tops.append(max(block.wish, top) + above)
            above += height
    return tops


def width_of(text: str) -> float:
    """The text's width in units of one Latin letter: Chinese characters take nearly two."""
    return sum(1.9 if unicodedata.east_asian_width(letter) in "WF" else 1.0 for letter in text)


def wrapped(text: str, width: float) -> list[str]:
    """Lines of at most ``width`` letters: broken at spaces, between Chinese characters, inside a word if it must be."""
    lines, line = [], ""
    for word in _pieces(text, width):
        if line and width_of(line + word.rstrip()) > width:
            lines.append(line.rstrip())
            line = ""
        line += word.lstrip() if not line else word
    if line.strip() or not lines:
        lines.append(line.rstrip())
    return lines


def _closes(letter: str) -> bool:
    """No line begins with it."""
    return letter == " " or unicodedata.category(letter) in ("Po", "Pe", "Pf")


def _pieces(text: str, width: float) -> list[str]:
    """What may stand on a line of its own, each with the space that follows it."""
    pieces, piece = [], ""
    for letter in text:
        wide = unicodedata.east_asian_width(letter) in "WF"
        if piece and (wide or piece[-1] == " " or width_of(piece) + 2 > width) and not _closes(letter):
            pieces.append(piece)
            piece = ""
        piece += letter
    return [*pieces, piece] if piece else pieces
