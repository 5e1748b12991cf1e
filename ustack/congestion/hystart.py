"""HyStart: leave slow start before the losses, when delay or the spacing of ACKs says the pipe is full.

Linux's variant (Ha and Rhee 2011), its thresholds and its two detectors: the train of closely spaced
ACKs grows as long as half the smallest RTT; or the smallest RTT of a round's first eight samples is
clearly above the smallest ever. ns and bytes.
"""

from __future__ import annotations

from typing import Final

from ustack.congestion.base import AckSample
from ustack.units import MILLISECOND

LOW_WINDOW_SEGS: Final = 16
"""Below this cwnd (segments) HyStart does not act (hystart_low_window)."""
RUN: Final = 512 * 1024
"""Bytes that leave, and are acknowledged, at once (for Linux: sk_gso_max_size)."""
ACK_DELTA: Final = 2 * MILLISECOND
"""ACKs closer than this belong to one train (hystart_ack_delta_us)."""
DELAY_SAMPLES: Final = 8
"""RTT samples that a round's minimum is taken from (HYSTART_MIN_SAMPLES)."""
DELAY_MIN: Final = 4 * MILLISECOND
DELAY_MAX: Final = 16 * MILLISECOND
"""The rise in RTT that counts: an eighth of the smallest RTT, between these two."""


class HyStart:
    """One round (a window's worth of sequence) at a time. ``found`` stays True until ``restart``."""

    def __init__(self) -> None:
        self.found: bool = False
        self.round_end: int = -1
        """The round ends when this sequence offset is acknowledged."""
        self.round_start: int = 0
        self.last_ack: int = 0
        self.round_rtt: int = 0
        """Smallest RTT of the round; 0 before its first sample."""
        self.samples: int = 0

    def restart(self) -> None:
        """Slow start begins anew (after an RTO)."""
        self.found = False
        self.round_end = -1

    def _new_round(self, sample: AckSample) -> None:
        self.round_start = sample.now
        self.last_ack = sample.now
        self.round_end = sample.nxt
        self.round_rtt = 0
        self.samples = 0

    def on_ack(self, sample: AckSample, delay_min: int, cwnd: int, mss: int) -> bool:
        """One ACK in slow start; ``delay_min``: the smallest RTT known. True: leave slow start now."""
        if sample.una > self.round_end:
            self._new_round(sample)
        if self.found or cwnd < LOW_WINDOW_SEGS * mss:
            return False
        if sample.now - self.last_ack <= ACK_DELTA:
            self.last_ack = sample.now
            # The threshold is halved where no pacing can have stretched the train.
            if sample.now - self.round_start > (delay_min + _slack(cwnd, sample.srtt)) >> 1:
                self.found = True
        if not self.found and sample.rtt >= 0:
            self._take_rtt(max(sample.rtt, 1), delay_min)
        return self.found

    def _take_rtt(self, rtt: int, delay_min: int) -> None:
        if self.round_rtt == 0 or rtt < self.round_rtt:
            self.round_rtt = rtt
        if self.samples < DELAY_SAMPLES:
            self.samples += 1
        elif self.round_rtt > delay_min + min(max(delay_min >> 3, DELAY_MIN), DELAY_MAX):
            self.found = True


def _slack(cwnd: int, srtt: int) -> int:
    """Runs bunch ACKs: what four of them take at two windows per srtt, at most 1 ms (hystart_ack_delay)."""
    return min(MILLISECOND, 4 * RUN * srtt // (2 * cwnd))
