"""Pacing: a rate into instants at which bytes may leave.

As Linux's internal pacing: after a send of ``n`` bytes the next one waits n/rate, less the lateness
of this one (at most half of the gap, so that a pause of the application does not become a burst).

But a process is woken later than a kernel's timer is: where only the pacer held back, what a late wake-up lost is
made up for. Else each millisecond of lateness lowers the rate for good: an algorithm that measures what is delivered
(BBR) takes its own pause for the path's.
"""

from __future__ import annotations

from typing import Final

from ustack.units import MILLISECOND, SECOND

MAX_QUANTUM: Final = 512 * 1024
"""Bytes: the longest run."""
CATCH_UP: Final = 40 * MILLISECOND
"""Lateness of a wake-up that is made up for: ten slices of a busy machine's scheduler. The bottleneck stood idle
meanwhile, so the burst finds room, and cwnd bounds it in any case."""
UNPACED_SEGS: Final = 10
"""The first ten segments of a connection leave unpaced (Linux: data_segs_out >= 10)."""


def pacing_rate(window: int, srtt: int, ratio: int) -> int:
    """Linux's rate for algorithms without their own, bytes a second: ``ratio`` percent of a window per srtt (ns).

    The ratio is tcp_pacing_ss_ratio while cwnd < ssthresh / 2, else tcp_pacing_ca_ratio. 0: no srtt yet.
    """
    return window * ratio * 10_000_000 // srtt if srtt > 0 else 0


class Pacer:
    """``rate`` in bytes a second (0: unpaced). Ask ``allowance``, send at most that, tell ``on_sent``."""

    def __init__(self, mss: int) -> None:
        self.mss: int = mss
        self.rate: int = 0
        self.next_at: int = 0
        """The instant from which more may leave."""
        self.is_needed: bool = False
        """The algorithm or SO_MAX_PACING_RATE asked for pacing, if only once (Linux's SK_PACING_NEEDED)."""
        self.least_segs: int = 2
        """Segments that leave at once even at a low rate (tcp_min_tso_segs)."""
        self.unpaced_segs: int = UNPACED_SEGS
        """Segments that still leave without pacing."""
        self.is_holding: bool = False
        """Bytes wait for ``next_at``, and for nothing else."""
        self.late_at: int = 0
        """The instant at which lateness is being made up for."""

    def quantum(self) -> int:
        """Bytes that leave at once: a millisecond of the rate, at least ``least_segs``, at most a run."""
        if self.rate == 0:
            return MAX_QUANTUM
        return min(max(self.rate // 1000, self.least_segs * self.mss), MAX_QUANTUM)

    def allowance(self, now: int) -> int:
        """Bytes that may leave now; 0: come back at ``next_at``."""
        if self.rate == 0:
            return MAX_QUANTUM
        if self.unpaced_segs > 0:
            return max(self.unpaced_segs * self.mss, self.quantum())
        if now < self.next_at:
            self.is_holding = True
            return 0
        return self.quantum()

    def release(self) -> None:
        """Something else holds bytes back now: cwnd, or the application."""
        self.is_holding = False

    def on_sent(self, length: int, now: int) -> None:
        """``length`` bytes left."""
        if self.unpaced_segs > 0:
            self.unpaced_segs -= max(-(-length // self.mss), 1)
            if self.unpaced_segs > 0:
                return
            length = min(length, self.quantum())  # the last of the free ones begins the pace
        if self.rate == 0:
            return
        gap = length * SECOND // self.rate
        if self.is_holding:
            self.is_holding = False
            self.late_at = now
        if self.late_at == now:
            self.next_at = max(self.next_at, now - CATCH_UP) + gap
            return
        late = now - self.next_at
        if late > 0:
            gap -= min(late, gap >> 1)
        self.next_at = max(now, self.next_at) + gap

    def deadline(self, now: int) -> int:
        """When bytes may leave again; 0 when they may now."""
        if self.rate == 0 or self.unpaced_segs > 0 or self.next_at <= now:
            return 0
        return self.next_at
