"""Text that a send ring does not copy: the objects that it is in, kept alive until all of it was acknowledged.

What C knows of them is in ``native/loan.c``.
"""

from __future__ import annotations


class Loans:
    """Those of one ring, in order, each with the offset at which it ends."""

    def __init__(self) -> None:
        self._ends: list[int] = []
        self._lent: list[object] = []

    def add(self, end: int, text: object) -> None:
        """``text``, or the begin of it, is sent from where it lies, up to offset ``end``."""
        self._ends.append(end)
        self._lent.append(text)

    def let_go(self, upto: int) -> bool:
        """What lies wholly below ``upto`` is its owner's alone again. Whether nothing is left."""
        while self._ends and self._ends[0] <= upto:
            del self._ends[0]
            del self._lent[0]
        return not self._ends
