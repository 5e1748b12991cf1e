"""Time that passes only when nothing is left to do now."""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Clock:
    """One total order of events. ``now`` is ns since the simulation began (or since ``start``)."""

    def __init__(self, start: int = 0) -> None:
        self.now = start
        self._events: list[tuple[int, int, Callable[[], object]]] = []
        self._order = 0

    def at(self, instant: int, action: Callable[[], object]) -> None:
        """Calls ``action`` at ``instant``, or as the next event when that is past."""
        heapq.heappush(self._events, (max(instant, self.now), self._order, action))
        self._order += 1

    def after(self, delay: int, action: Callable[[], object]) -> None:
        """Calls ``action`` when ``delay`` ns have passed."""
        self.at(self.now + delay, action)

    def next_at(self) -> int | None:
        """The instant of the next event."""
        return self._events[0][0] if self._events else None

    def step(self) -> bool:
        """Jumps to the next event and runs it; False when there is none."""
        if not self._events:
            return False
        self.now, _, action = heapq.heappop(self._events)
        action()
        return True
