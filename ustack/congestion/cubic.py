"""CUBIC (RFC 9438), with Linux's constants, order of decisions and whole-segment growth.

After a loss the window follows ``W(t) = C * (t - K)^3 + W_max`` (segments, seconds): fast back towards
the window that was lost at, slowly past it, fast again; never slower than Reno would (section 4.3).
Times are kept in 1/1024 s, as Linux's BICTCP_HZ; the cube root is the one float in the core.
"""

from __future__ import annotations

from typing import ClassVar, Final

from mypy_extensions import mypyc_attr

from ustack.congestion.base import AckSample, CongestionControl
from ustack.congestion.hystart import HyStart
from ustack.units import SECOND

TICKS: Final = 1024
"""Per second."""
BETA: Final = 717
"""Of 1024: what a loss leaves (RFC 9438 section 4.6 says 0.7)."""
C_SCALED: Final = 410
"""C = 0.4, times 1024 (bic_scale 41 * 10)."""
MAX_TICKS: Final = 1 << 17
"""Two minutes from the plateau: the cube of more would leave 62 bits, and no window grows that long undisturbed."""
FRIENDLY_NUMERATOR: Final = 8
FRIENDLY_DENOMINATOR: Final = 15
"""Reno's growth with CUBIC's beta: 3 * (1 - beta) / (1 + beta) = 0.529 segments a round (Linux: 8 / 15)."""
PRICE_TIME: Final = SECOND // 1000
"""While cwnd stands still, the cubic is asked this often. (Linux: 31 ms, which leaves paths of 1 ms a third slower
than Reno's share of section 4.3.)"""
FIRST_GROWTH: Final = 20
"""Before the first loss, growth is at least one segment per 20 acknowledged (5 % a round)."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Cubic(CongestionControl):
    """Linux's default. ``hystart`` may be switched off before the first ACK."""

    name: ClassVar[str] = "cubic"

    def __init__(self, mss: int, initial_cwnd: int) -> None:
        super().__init__(mss, initial_cwnd)
        self.hystart: bool = True
        self.slow_start_exit: HyStart = HyStart()
        self.last_max: int = 0
        """cwnd before the last loss (or less: fast convergence); bytes."""
        self._clear_epoch()
        self.delay_min: int = 0
        """Smallest RTT since the last RTO, ns; 0: none."""

    def _clear_epoch(self) -> None:
        self.epoch_start: int = -1
        """When congestion avoidance began after the last loss, ns; -1: not yet."""
        self.origin: int = 0
        """W_max of this epoch: the plateau, bytes."""
        self.k: int = 0
        """Ticks from the epoch's start to the plateau."""
        self.reno_cwnd: int = 0
        """What Reno would have by now, bytes."""
        self.reno_credit: int = 0
        self.price: int = 0
        """Bytes per mss of growth, as computed for ``priced_cwnd`` at ``priced_at``."""
        self.priced_cwnd: int = 0
        self.priced_at: int = 0

    def on_ack(self, sample: AckSample) -> None:
        """Slow start until HyStart or ssthresh ends it, then the cubic."""
        if sample.rtt >= 0:
            self._note_delay(sample)
        if not sample.cwnd_limited or sample.in_recovery:
            return
        acked = self.slow_start(sample.delivered)
        if acked > 0:
            self.avoid(acked, self._per_segment(sample.now, acked))

    def _note_delay(self, sample: AckSample) -> None:
        # Some time after a loss the RTT says more about the loss than about the path.
        if self.epoch_start >= 0 and sample.now - self.epoch_start < SECOND:
            return
        rtt = max(sample.rtt, 1)
        if self.delay_min == 0 or rtt < self.delay_min:
            self.delay_min = rtt
        if (
            self.hystart
            and self.in_slow_start()
            and self.slow_start_exit.on_ack(sample, self.delay_min, self.cwnd, self.mss)
        ):
            self.ssthresh = max(self.cwnd, 2 * self.mss)

    def _per_segment(self, now: int, acked: int) -> int:
        """How many bytes must be acknowledged for the next mss of growth (Linux's bictcp_update)."""
        cwnd = self.cwnd
        self.reno_credit += acked
        if self.epoch_start < 0:
            self._begin_epoch(now, acked)
        elif cwnd == self.priced_cwnd and now - self.priced_at <= PRICE_TIME:
            return self.price
        self.priced_cwnd = cwnd
        self.priced_at = now
        # Where the cubic will be one smallest RTT from now.
        ticks = (now - self.epoch_start + self.delay_min) * TICKS // SECOND
        target = self._cubic(ticks)
        # At or past the target: nearly flat.
        per_segment = cwnd * self.mss // (target - cwnd) if target > cwnd else 100 * cwnd
        if self.last_max == 0:
            per_segment = min(per_segment, FIRST_GROWTH * self.mss)
        per_segment = self._friendly(per_segment)
        # RFC 9438 section 4.2: at most half as much again in a round.
        self.price = max(per_segment, 2 * self.mss)
        return self.price

    def _begin_epoch(self, now: int, acked: int) -> None:
        self.epoch_start = now
        self.reno_cwnd = self.cwnd
        self.reno_credit = acked
        if self.last_max <= self.cwnd:
            self.k = 0
            self.origin = self.cwnd
        else:
            segs = (self.last_max - self.cwnd) / self.mss
            self.k = int(TICKS * (segs * 1024 / C_SCALED) ** (1 / 3))
            self.origin = self.last_max

    def _cubic(self, ticks: int) -> int:
        """W(ticks), bytes."""
        distance = ticks - self.k
        away = min(distance if distance >= 0 else -distance, MAX_TICKS)
        # C * away^3 / TICKS^3 = (C_SCALED * away^3) / 2^40, whole segments as in Linux
        delta = (C_SCALED * away * away * away >> 40) * self.mss
        return self.origin - delta if distance < 0 else self.origin + delta

    def _friendly(self, per_segment: int) -> int:
        """Never slower than Reno (RFC 9438 section 4.3)."""
        cwnd = self.cwnd
        price = cwnd * FRIENDLY_DENOMINATOR // FRIENDLY_NUMERATOR
        if self.reno_credit > price:
            segs = self.reno_credit // price
            self.reno_credit -= segs * price
            self.reno_cwnd += segs * self.mss
        if self.reno_cwnd > cwnd:
            return min(per_segment, cwnd * self.mss // (self.reno_cwnd - cwnd))
        return per_segment

    def ssthresh_after_loss(self, now: int, in_flight: int) -> int:
        """0.7 of cwnd; and the plateau of the way back, lower when this window was below the last (section 4.7)."""
        cwnd = self.cwnd
        segs = cwnd // self.mss
        self.epoch_start = -1
        if cwnd < self.last_max:
            self.last_max = segs * (1024 + BETA) // 2048 * self.mss
        else:
            self.last_max = cwnd
        return segs * BETA // 1024 * self.mss

    def on_timeout(self, now: int, in_flight: int) -> None:
        """All that was learnt of the path is forgotten (Linux's bictcp_reset in TCP_CA_Loss)."""
        super().on_timeout(now, in_flight)
        self.last_max = 0
        self._clear_epoch()
        self.delay_min = 0
        self.slow_start_exit.restart()

    def on_idle(self, now: int, idle_ns: int, rto: int) -> None:
        """The cubic's clock stands still while the application is silent (RFC 9438 section 5.8)."""
        if self.epoch_start >= 0 and idle_ns > 0:
            self.epoch_start = min(self.epoch_start + idle_ns, now)
        super().on_idle(now, idle_ns, rto)

    def on_mss(self, mss: int) -> None:
        """Plateau and Reno's window keep their count of segments too."""
        old = self.mss
        super().on_mss(mss)
        self.last_max = self.last_max * mss // old
        self.origin = self.origin * mss // old
        self.reno_cwnd = self.reno_cwnd * mss // old
