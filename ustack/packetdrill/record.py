"""What happened in a run: the entries of the dialogue, and when an event was to happen."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Mark(enum.Enum):
    """What an entry of the dialogue is."""

    INBOUND = "<"
    OUTBOUND = ">"
    FOREIGN = "-"
    CALL = "()"
    NOTE = "#"
    STATE = "="


@dataclass
class Entry:
    """One thing that happened: ns since the start, what, in the notation, and the script's line (0: none)."""

    at: int
    mark: Mark
    text: str
    line: int = 0


@dataclass
class Window:
    """When an event is to happen."""

    start: int
    end: int
    tolerance: int
    any_time: bool = False
