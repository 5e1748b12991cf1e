"""Round-trip time and retransmission timeout, with Linux's arithmetic (tcp_rtt_estimator).

RFC 6298's shape, but: the deviation that the timeout uses (``rttvar``) is the largest of a round
trip, rises at once and falls by a quarter per round trip; its floor ``rto_min`` is added *above*
srtt, so that ``rto = srtt + rttvar`` with ``rttvar >= rto_min``; a sample below srtt by a lot raises
the deviation by an eighth only. ``srtt`` is kept times 8 and ``mdev`` times 4, in ns.
"""

from __future__ import annotations

from typing import Final

from ustack.units import MILLISECOND, SECOND
from ustack.windowed import WindowedMin

INITIAL_RTO: Final = 1 * SECOND
"""RFC 6298 section 2.1 (Linux's TCP_TIMEOUT_INIT)."""
FALLBACK_RTO: Final = 3 * SECOND
"""RFC 6298 section 5.7: after a lost SYN, without a sample (Linux's TCP_TIMEOUT_FALLBACK)."""
MIN_RTT_WINDOW: Final = 300 * SECOND
"""tcp_min_rtt_wlen: how long a smallest RTT is believed."""


class RttEstimator:
    """srtt, rttvar, rto, min_rtt and the back-off. All ns. ``rto`` includes the back-off."""

    def __init__(
        self,
        rto_min: int = 200 * MILLISECOND,
        rto_max: int = 120 * SECOND,
        initial_rto: int = INITIAL_RTO,
        min_rtt_window: int = MIN_RTT_WINDOW,
    ) -> None:
        self.rto_min: int = rto_min
        self.rto_max: int = rto_max
        self.rto: int = initial_rto
        """The timeout to arm now, back-off included."""
        self.backoff: int = 0
        """How often it was doubled since the last sample or reset."""
        self.srtt8: int = 0
        self.mdev4: int = 0
        self.mdev_max: int = 0
        self.rttvar: int = 0
        self.rtt_seq: int = 0
        self.latest: int = 0
        """The newest sample; 0 before the first."""
        self.minimum: WindowedMin = WindowedMin(min_rtt_window)

    @property
    def srtt(self) -> int:
        """Smoothed RTT; 0 before the first sample."""
        return self.srtt8 >> 3

    @property
    def mdev(self) -> int:
        """Smoothed mean deviation (tcpi_rttvar is this)."""
        return self.mdev4 >> 2

    @property
    def min_rtt(self) -> int:
        """The smallest sample of the last 300 s; 0 before the first."""
        return self.minimum.best

    def bound(self, least: int, most: int) -> None:
        """Other bounds of the RTO, ns: they count from the next sample on."""
        self.rto_min = least
        self.rto_max = most

    def sample(self, rtt: int, now: int, una: int, nxt: int, newest_rtt: int = -1) -> None:
        """One measurement that Karn's rule allows; ends the back-off.

        ``una`` and ``nxt`` (SND.UNA after the ACK, SND.NXT) tell where a round trip ends, for rttvar's decay.
        ``newest_rtt``: of the newest data that the ACK delivers, for min_rtt; -1: as ``rtt``.
        """
        rtt = max(rtt, 1)
        self.latest = rtt
        self.minimum.sample(max(newest_rtt, 1) if newest_rtt >= 0 else rtt, now)
        if self.srtt8 == 0:
            self._first(rtt, nxt)
        else:
            self._next(rtt, una, nxt)
        self.backoff = 0
        self.rto = min((self.srtt8 >> 3) + self.rttvar, self.rto_max)

    def _first(self, rtt: int, nxt: int) -> None:
        self.srtt8 = rtt << 3
        self.mdev4 = rtt << 1  # rtt / 2, kept times 4
        self.rttvar = max(self.mdev4, self.rto_min)
        self.mdev_max = self.rttvar
        self.rtt_seq = nxt

    def _next(self, rtt: int, una: int, nxt: int) -> None:
        error = rtt - (self.srtt8 >> 3)
        self.srtt8 = max(self.srtt8 + error, 1)
        if error < 0:
            error = -error - (self.mdev4 >> 2)
            if error > 0:
                error >>= 3  # a sudden fall is no reason for a larger timeout
        else:
            error -= self.mdev4 >> 2
        self.mdev4 += error
        if self.mdev4 > self.mdev_max:
            self.mdev_max = self.mdev4
            self.rttvar = max(self.rttvar, self.mdev_max)
        if una > self.rtt_seq:
            if self.mdev_max < self.rttvar:
                self.rttvar -= (self.rttvar - self.mdev_max) >> 2
            self.rtt_seq = nxt
            self.mdev_max = self.rto_min

    def back_off(self) -> None:
        """The timer fired: double, at most ``rto_max`` (RFC 6298 section 5.5)."""
        self.backoff += 1
        self.rto = min(self.rto << 1, self.rto_max)

    def reset_backoff(self) -> None:
        """The path answers again, though nothing could be measured: the timeout without doublings."""
        if self.backoff == 0:
            return
        self.backoff = 0
        if self.srtt8:
            self.rto = min((self.srtt8 >> 3) + self.rttvar, self.rto_max)
        else:
            self.rto = INITIAL_RTO

    def fall_back(self) -> None:
        """The handshake needed a resend and measured nothing: 3 s (RFC 6298 section 5.7)."""
        if self.srtt8 == 0:
            self.backoff = 0
            self.rto = min(FALLBACK_RTO, self.rto_max)
