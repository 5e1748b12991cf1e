"""Instants and times are whole nanoseconds; these are the usual ones by name."""

from typing import Final

MILLISECOND: Final = 1_000_000
SECOND: Final = 1_000_000_000
