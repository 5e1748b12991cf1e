"""The decision trace: each thing that a Stack does as a typed event, with its reason and the reason's source."""

from __future__ import annotations

from ustack.trace.events import (
    Arrived,
    Called,
    Counted,
    Event,
    Marked,
    Moved,
    Offered,
    Queued,
    Sent,
    Stepped,
    TimerEvent,
)
from ustack.trace.snapshot import Snapshot
from ustack.trace.tracing import Trace, trace
from ustack.trace.watch import Watch

__all__ = [
    "Arrived",
    "Called",
    "Counted",
    "Event",
    "Marked",
    "Moved",
    "Offered",
    "Queued",
    "Sent",
    "Snapshot",
    "Stepped",
    "TimerEvent",
    "Trace",
    "Watch",
    "trace",
]
