"""One heap of deadlines for all that waits in a Stack.

Entries are not removed when a deadline moves: a later one finds its place when the earlier entry comes up. So arming a
timer again for later (which every ACK does) costs a comparison, and the heap holds about one entry for each holder.
"""

from __future__ import annotations

from heapq import heappop, heappush

from ustack.tcp.timers import Waiter


class Deadlines:
    """The heap. Instants are ns; 0 means none."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Waiter]] = []
        self._count = 0

    def watch(self, waiter: Waiter, deadline: int) -> None:
        """``waiter`` wants to be called at ``deadline`` (0: not at all). Tell it after whatever may have moved it."""
        if deadline == 0 or 0 < waiter.queued_at <= deadline:
            return
        waiter.queued_at = deadline
        self._count += 1
        heappush(self._heap, (deadline, self._count, waiter))

    def earliest(self) -> int:
        """When somebody may be due, 0 when nobody waits. It may be early, never late."""
        return self._heap[0][0] if self._heap else 0

    def take_due(self, now: int) -> Waiter | None:
        """One whose entry is due; None when there is none. It is out of the heap then: watch it again."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            at, _, waiter = heappop(heap)
            if waiter.queued_at == at:
                waiter.queued_at = 0
                return waiter
        return None

    def __len__(self) -> int:
        return len(self._heap)
