"""The SYN queue's records, and when each is due (Linux's request_sock with its timer)."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Final

from ustack.tcp.agreed import Agreed
from ustack.tcp.ecn import OFF
from ustack.tcp.flow import Flow
from ustack.units import SECOND

_MOST_STALE: Final = 64
"""This many entries of requests that have gone do no harm."""


class Request:
    """One SYN that was answered: what the third ACK needs (Linux's request_sock)."""

    def __init__(self, flow: Flow, irs: int, iss: int, agreed: Agreed, now: int) -> None:
        self.flow = flow
        self.key = flow.key
        self.irs = irs
        self.iss = iss
        self.agreed = agreed
        self.ts_recent = 0
        self.ecn = OFF
        """What was agreed upon: OFF, CLASSIC or ACCURATE of ``ecn.py``."""
        self.syn_ect = 0
        """The ECN field that the SYN came with."""
        self.window = 0
        """The first one that we offer, bytes."""
        self.resends = 0
        """How often the timer was due."""
        self.synack_resends = 0
        """SYN-ACKs but the first: the timer's, and answers to repeated SYNs."""
        self.deadline = now + SECOND
        self.answered_at = now
        """When the (last) SYN-ACK left, ns; -1: a cookie does not tell."""
        self.created_at = now
        self.limited_at = -1
        """When the last answer left that tcp_invalid_ratelimit limits, ns; -1: none yet."""
        self.saved_syn = b""
        self.acked = False
        """The third ACK came while the accept queue was full, or TCP_DEFER_ACCEPT waits for data."""


class RequestTimes:
    """A heap of deadlines: who is due is found without a walk through all requests, however many an attacker makes.

    Each request that waits has one entry. Its deadline only moves later, so the entry may be early, never late."""

    def __init__(self, waiting: dict[bytes, Request]) -> None:
        self._waiting = waiting  # the listener's table, by key
        self._heap: list[tuple[int, int, Request]] = []
        self._count = 0

    def watch(self, request: Request) -> None:
        """``request`` has no entry yet, or ``take_due`` took it out."""
        self._count += 1
        heappush(self._heap, (request.deadline, self._count, request))
        if len(self._heap) > 2 * len(self._waiting) + _MOST_STALE:
            self._heap = [entry for entry in self._heap if self._is_waiting(entry[2])]
            heapify(self._heap)

    def _is_waiting(self, request: Request) -> bool:
        return self._waiting.get(request.key) is request

    def earliest(self) -> int:
        """When somebody may be due, ns; 0 when nobody waits."""
        heap = self._heap
        while heap:
            if self._is_waiting(heap[0][2]):
                return heap[0][0]
            heappop(heap)
        return 0

    def take_due(self, now: int) -> Request | None:
        """One that is due; None when there is none."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            request = heappop(heap)[2]
            if not self._is_waiting(request):
                continue
            if request.deadline <= now:
                return request
            self.watch(request)
        return None
