"""Sequence numbers: 32 bits on the wire, plain unbounded ints inside (RFC 9293 section 3.4).

Unwrapped once where a segment enters, wrapped once where it leaves; between the two, ``<`` means before.
"""

from typing import Final

_MASK: Final = 0xFFFFFFFF
_HALF: Final = 1 << 31
_TURN: Final = 1 << 32


def wrap(n: int) -> int:
    """The 32 bits that ``n`` has on the wire."""
    return n & _MASK


def unwrap(wire: int, near: int) -> int:
    """The integer nearest to ``near`` that has the 32 bits ``wire``; of two equally near ones the higher.

    May be below zero when ``near`` is small.
    """
    ahead = (wire - near) & _MASK
    return near + (ahead if ahead <= _HALF else ahead - _TURN)
