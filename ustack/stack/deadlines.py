"""One heap of deadlines for all that waits in a Stack.

Entries are not removed when a deadline moves: a later one finds its place when the earlier entry comes up. So arming a
timer again for later (which every ACK does) costs a comparison. Entries that count no more (their holder moved to an
earlier one, or has gone) are swept out when they are the greater part: an hour of keepalive keeps no dead connection.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Final

from ustack.tcp.timers import Waiter

MOST_STALE: Final = 64
"""This many entries that count no more do no harm."""


class Deadlines:
    """The heap. Instants are ns; 0 means none."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Waiter]] = []
        self._count = 0
        self._stale = 0

    def watch(self, waiter: Waiter, deadline: int) -> None:
        """``waiter`` wants to be called at ``deadline`` (0: not at all). Tell it after whatever may have moved it."""
        if deadline == 0 or 0 < waiter.queued_at <= deadline:
            return
        self._count += 1
        heappush(self._heap, (deadline, self._count, waiter))  # first what may find no memory
        was_queued = waiter.queued_at
        waiter.queued_at = deadline
        if was_queued:
            self._outdate()

    def forget(self, waiter: Waiter) -> None:
        """``waiter`` has gone."""
        if waiter.queued_at:
            waiter.queued_at = 0
            self._outdate()

    def _outdate(self) -> None:
        """One more entry counts no more."""
        self._stale += 1
        if self._stale > MOST_STALE and self._stale * 2 > len(self._heap):
            self._sweep()

    def _sweep(self) -> None:
        kept: dict[int, tuple[int, int, Waiter]] = {}  # one for each holder: an old entry may name the right instant
        for entry in self._heap:
            if entry[2].queued_at == entry[0]:
                kept[id(entry[2])] = entry
        self._heap = list(kept.values())
        heapify(self._heap)
        self._stale = 0

    def earliest(self) -> int:
        """When somebody may be due, 0 when nobody waits. It may be early, never late."""
        heap = self._heap
        while heap:
            at, _, waiter = heap[0]
            if waiter.queued_at == at:
                return at
            heappop(heap)
            self._stale -= 1
        return 0

    def take_due(self, now: int) -> Waiter | None:
        """One whose entry is due; None when there is none. It is out of the heap then: watch it again."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            at, _, waiter = heappop(heap)
            if waiter.queued_at == at:
                waiter.queued_at = 0
                return waiter
            self._stale -= 1
        return None

    def __len__(self) -> int:
        return len(self._heap)
