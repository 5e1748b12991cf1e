"""Congestion control as a small class that sees bytes and times, and nothing else.

A subclass of :class:`CongestionControl` says how large ``cwnd`` may be, how it grows on an ACK and
what a loss does to ``ssthresh``. It knows no segment, no state machine and no peer, so a user's own
class of thirty lines works, compiled or interpreted, and can be set for one socket at run time::

    from ustack.congestion import AckSample, CongestionControl


    class ShortQueue(CongestionControl):
        \"\"\"Reno that steps back when its queue delays it by 10 ms; others fill the queue until it drops.\"\"\"

        name = "shortqueue"

        def __init__(self, mss: int, initial_cwnd: int) -> None:
            super().__init__(mss, initial_cwnd)
            self.round_ends = 0  # once this sequence number is acknowledged, a round trip is over

        def on_ack(self, sample: AckSample) -> None:
            if sample.srtt - sample.min_rtt < 10_000_000:  # ns
                self.grow_by_bytes(sample)
            elif sample.una >= self.round_ends and not sample.in_recovery:
                self.round_ends = sample.nxt
                self.cwnd = max(self.cwnd - self.cwnd // 8, 2 * self.mss)
                self.ssthresh = self.cwnd  # slow start is over

``ustack iperf3 --control FILE:ShortQueue`` gives it to all connections of a command, an entry in
``ustack.congestion.ALGORITHMS`` makes it known to TCP_CONGESTION and tcp_congestion_control.

Whoever owns the connection calls, in this order: ``on_ack`` for each ACK that told something;
``on_loss`` once when fast recovery begins, then PRR (``recovery.prr``) moves ``cwnd`` until
``on_recovered``; ``on_timeout`` once per episode of retransmission timeouts (for a repeated RTO of
the same data the caller only sets ``cwnd`` to one ``mss``, as Linux's ``tcp_enter_loss``);
``on_ecn`` at most once per window; ``undo`` when the last reduction proved spurious.
"""

from __future__ import annotations

from typing import ClassVar, Final

from mypy_extensions import mypyc_attr

INFINITE_SSTHRESH: Final = 2**31 - 1
"""No loss seen yet (Linux's TCP_INFINITE_SSTHRESH); bytes here."""

MAX_CWND: Final = 2**31 - 1
"""Bytes: twice the largest window that RFC 7323 can offer, so never a limit by itself."""


class AckSample:
    """What one ACK told: the ACK may answer a whole run. One object per connection, filled anew each time.

    Bytes and nanoseconds throughout, where ``delivered`` and what is in flight count a short segment as a full one, as
    Linux's do: cwnd is spent so; ``rtt`` is -1 when this ACK measured nothing.
    """

    def __init__(self) -> None:
        self.now: int = 0
        self.acked: int = 0
        """Newly acknowledged cumulatively."""
        self.delivered: int = 0
        """Newly acknowledged or newly sacked."""
        self.lost: int = 0
        """Newly marked lost by this ACK."""
        self.in_flight: int = 0
        """After this ACK."""
        self.prior_in_flight: int = 0
        """Before this ACK."""
        self.rtt: int = -1
        """Of the newest data that this ACK delivers (AckResult.newest_rtt, else by timestamps)."""
        self.min_rtt: int = 0
        self.srtt: int = 0
        self.ece: bool = False
        self.app_limited: bool = False
        """The delivery rate was taken while the application, not the network, was the limit."""
        self.cwnd_limited: bool = True
        """The sender used its whole window, and this ACK moved SND.UNA: only then may cwnd grow (RFC 7661, Linux's
        tcp_is_cwnd_limited and tcp_may_raise_cwnd)."""
        self.in_recovery: bool = False
        """Fast recovery: seen only by algorithms with ``owns_recovery``. False after an RTO, where slow start runs."""
        self.una: int = 0
        """The cumulative acknowledgment, and..."""
        self.nxt: int = 0
        """... what has been sent: algorithms that count round trips by sequence need both."""
        self.delivery_rate: int = 0
        """Bytes a second over ``interval``; 0 when unknown."""
        self.interval: int = 0
        """ns that the rate was taken over; 0 when unknown."""
        self.prior_delivered: int = 0
        """``Scoreboard.delivered`` when the newest segment acknowledged here was sent: marks a round trip."""
        self.delivered_total: int = 0
        """``Scoreboard.delivered`` now."""


@mypyc_attr(allow_interpreted_subclasses=True)
class CongestionControl:
    """The base: slow start, the memory that undo needs, and idle restart. Subclasses override what they change.

    ``cwnd`` and ``ssthresh`` are bytes; ``pacing_rate`` is bytes a second, 0 when the algorithm leaves
    pacing to the connection. Invariants: ``cwnd >= mss`` and ``ssthresh >= 2 * mss``.
    """

    name: ClassVar[str] = "none"
    owns_recovery: ClassVar[bool] = False
    """True: the algorithm sets cwnd in recovery itself (BBR), and PRR stays out."""

    buffer_factor: ClassVar[int] = 2
    """Windows that the send buffer holds (Linux's sndbuf_expand)."""

    def __init__(self, mss: int, initial_cwnd: int) -> None:
        self.mss: int = mss
        self.initial_cwnd: int = max(initial_cwnd, mss)
        self.cwnd: int = self.initial_cwnd
        self.ssthresh: int = INFINITE_SSTHRESH
        self.pacing_rate: int = 0
        self.prior_cwnd: int = 0
        """cwnd before the last reduction; 0 when there is nothing to undo."""
        self.prior_ssthresh: int = 0
        self.credit: int = 0
        """Bytes acknowledged that have not yet grown cwnd (Linux's snd_cwnd_cnt)."""

    # What the connection calls

    def on_open(self, srtt: int) -> None:
        """Our SYN was acknowledged; ``srtt`` is the handshake's round trip, ns. A SYN moves no window."""

    def on_ack(self, sample: AckSample) -> None:
        """One ACK with news. The base only knows slow start; growth beyond it is the subclass's."""
        if sample.cwnd_limited and not sample.in_recovery:
            self.slow_start(sample.delivered)

    def on_loss(self, now: int, in_flight: int) -> None:
        """First loss of a window: sets ssthresh, and ssthresh only, and remembers what undo needs."""
        self.remember()
        self.ssthresh = max(self.ssthresh_after_loss(now, in_flight) // self.mss * self.mss, 2 * self.mss)
        self.credit = 0

    def on_recovered(self, now: int) -> None:
        """Recovery is over without undo: the window is what the reduction asked for."""
        if self.ssthresh < INFINITE_SSTHRESH:
            self.cwnd = max(self.ssthresh, self.mss)
        self.credit = 0

    def on_timeout(self, now: int, in_flight: int) -> None:
        """The retransmission timer fired: one segment, then slow start (RFC 5681 section 3.1)."""
        self.remember()
        self.ssthresh = max(self.ssthresh_after_loss(now, in_flight) // self.mss * self.mss, 2 * self.mss)
        self.cwnd = self.mss
        self.credit = 0

    def on_ecn(self, now: int, in_flight: int) -> None:
        """ECN-Echo, once per window: as a loss, but never undone (RFC 3168 section 6.1.2)."""
        self.on_loss(now, in_flight)
        self.forbid_undo()

    def on_idle(self, now: int, idle_ns: int, rto: int) -> None:
        """Sending begins with nothing in flight, ``idle_ns`` after the last segment.

        Past one RTO cwnd halves once per RTO of silence, down to the initial window
        (RFC 2861 as Linux's tcp_cwnd_restart).
        """
        if idle_ns <= rto:
            return
        self.ssthresh = self.current_ssthresh()
        cwnd = self.cwnd
        restart = min(self.initial_cwnd, cwnd)
        idle_ns -= rto
        while idle_ns > 0 and cwnd > restart:
            cwnd >>= 1
            idle_ns -= rto
        self.cwnd = max(cwnd, restart)
        self.credit = 0

    def forbid_undo(self) -> None:
        """ECN-Echo: there is congestion for certain, whatever becomes of the doubt about losses."""
        self.prior_cwnd = 0
        self.prior_ssthresh = 0

    def undo(self, now: int) -> None:
        """The last reduction was spurious: back to what was, never below what is. Without one: nothing."""
        if self.prior_cwnd == 0:
            return
        self.cwnd = max(self.cwnd, self.prior_cwnd)
        self.ssthresh = max(self.ssthresh, self.prior_ssthresh)
        self.prior_cwnd = 0
        self.prior_ssthresh = 0

    def on_mss(self, mss: int) -> None:
        """The path's segment size changed: cwnd keeps its count of segments, as Linux's does."""
        old = self.mss
        self.mss = mss
        self.initial_cwnd = max(self.initial_cwnd * mss // old, mss)
        self.cwnd = max(self.cwnd * mss // old, mss)
        if self.ssthresh < INFINITE_SSTHRESH:
            self.ssthresh = max(self.ssthresh * mss // old, 2 * mss)

    def min_tso_segs(self) -> int:
        """Segments of the shortest run at a low rate; 0: tcp_min_tso_segs says it (Linux's min_tso_segs)."""
        return 0

    # What a subclass changes or uses

    def ssthresh_after_loss(self, now: int, in_flight: int) -> int:
        """The window that a loss leaves, bytes: half of cwnd, as Linux's tcp_reno_ssthresh."""
        return self.cwnd >> 1

    def in_slow_start(self) -> bool:
        """RFC 5681: below ssthresh."""
        return self.cwnd < self.ssthresh

    def slow_start(self, acked: int) -> int:
        """Grow by what was acknowledged, up to ssthresh; returns the bytes that are left for avoidance.

        Without the limit L of RFC 3465, as Linux: one ACK of a run counts for the whole run.
        """
        if self.cwnd >= self.ssthresh:
            return acked
        cwnd = min(self.cwnd + acked, self.ssthresh)
        acked -= cwnd - self.cwnd
        self.cwnd = min(cwnd, MAX_CWND)
        return acked

    def avoid(self, acked: int, per_segment: int) -> None:
        """Grow by one mss for each ``per_segment`` bytes acknowledged (Linux's tcp_cong_avoid_ai)."""
        per_segment = max(per_segment, self.mss)
        if self.credit >= per_segment:  # earned at a larger price: pay it gently
            self.credit = 0
            self.cwnd += self.mss
        self.credit += acked
        if self.credit >= per_segment:
            segs = self.credit // per_segment
            self.credit -= segs * per_segment
            self.cwnd += segs * self.mss
        self.cwnd = min(self.cwnd, MAX_CWND)

    def grow_by_bytes(self, sample: AckSample) -> None:
        """Reno's whole growth: slow start, then one mss per window (RFC 5681 section 3.1).

        What counts is what was delivered, not what was acknowledged: the rest was counted when it was sacked.
        """
        if not sample.cwnd_limited or sample.in_recovery:
            return
        acked = self.slow_start(sample.delivered)
        if acked > 0:
            self.avoid(acked, self.cwnd)

    def current_ssthresh(self) -> int:
        """What is known of the path: three quarters of cwnd or ssthresh (Linux's tcp_current_ssthresh)."""
        segs = self.cwnd // self.mss
        return max(self.ssthresh, ((segs >> 1) + (segs >> 2)) * self.mss)

    def remember(self) -> None:
        """Keep what undo restores."""
        self.prior_cwnd = self.cwnd
        self.prior_ssthresh = self.current_ssthresh()
