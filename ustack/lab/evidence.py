"""What a sentence of an answer rests on."""

from __future__ import annotations

from collections.abc import Sequence

from ustack.lab.report import Figure, Flight, View
from ustack.trace import Event

Evidence = Event | Flight | View | Figure | Sequence[Event] | Sequence[Flight] | float | bool | None


def is_there(evidence: Evidence) -> bool:
    """It was seen; an instant of 0 s was, too."""
    return bool(evidence) or isinstance(evidence, float)


def instant_of(evidence: Evidence) -> int | None:
    """ns since the run began, of what has an instant."""
    if isinstance(evidence, list):
        return instant_of(evidence[0]) if evidence else None
    if isinstance(evidence, Event):
        return evidence.at
    return evidence.at if isinstance(evidence, Flight | View) else None
