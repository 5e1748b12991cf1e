"""Numbers of 16 and 32 bits as ``librt`` writes them, which knows them with a sign only.

Compiled code writes them so without making an object of any (a tenth of the cost of ``struct``).
"""

from __future__ import annotations

from mypy_extensions import i16, i32, i64


def word(value: int) -> i16:
    """The lowest 16 bits."""
    low: i64 = value & 0xFFFF
    return i16(low - 0x10000 if low >= 0x8000 else low)


def double_word(value: int) -> i32:
    """The lowest 32 bits."""
    low: i64 = value & 0xFFFFFFFF
    return i32(low - 0x100000000 if low >= 0x80000000 else low)
