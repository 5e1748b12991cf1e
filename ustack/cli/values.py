"""What stands behind an option: text that must be a number of a certain kind. Each raises ArgumentTypeError."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

LONGEST_S = 366 * 86_400.0


def whole(low: int, high: int, what: str) -> Callable[[str], int]:
    """A whole number from ``low`` to ``high``; ``what`` is the noun of the sentence."""

    def number(text: str) -> int:
        digits = text.removeprefix("-") if low < 0 else text
        if not digits.isascii() or not digits.isdecimal() or len(digits) > 18 or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{shown(text)} is no {what}; it is between {low} and {high}")
        return int(text)

    return number


def time(low: float, high: float = LONGEST_S, *, none: bool = False) -> Callable[[str], float]:
    """Seconds from ``low`` to ``high``; ``none``: 0, too."""

    def seconds(text: str) -> float:
        try:
            found = float(text)
        except ValueError:
            found = math.nan
        if "_" in text or not (low <= found <= high or (none and found == 0)):
            also = "0 or " if none and low else ""
            raise argparse.ArgumentTypeError(
                f"{shown(text)} is no time; it is {also}between {low:g} and {high:.0f} seconds"
            )
        return found

    return seconds


def size(low: int, high: int) -> Callable[[str], int]:
    """Bytes, ``128K``, ``1M`` or ``2G``, from ``low`` to ``high``."""

    def count(text: str) -> int:
        factor = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:].upper(), 1)
        try:
            value = float(text if factor == 1 else text[:-1]) * factor
        except ValueError:
            value = math.nan
        if "_" in text or not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"{shown(text)} is no size; it is between {low} and {high} bytes, like 128K or 1M"
            )
        return int(value)

    return count


port = whole(1, 65535, "port")
"""A TCP port to listen on or to connect to."""


def shown(text: str, most: int = 60) -> str:
    """What somebody typed, fit for a sentence: at most so many letters."""
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return text if len(text) <= most else text[: most - 3] + "..."
