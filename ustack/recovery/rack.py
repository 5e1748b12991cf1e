"""RACK-TLP (RFC 8985), as Linux does it: loss by time, not by counting duplicate ACKs.

A record is lost when one sent later was delivered and the record has been out for longer than an RTT
plus a reordering window. The window is min_rtt / 4, times ``steps`` that D-SACKs raise, at most srtt;
while no reordering was ever seen it is zero once three segments are sacked or recovery is on (so that
RACK behaves as three duplicate ACKs did).
"""

from __future__ import annotations

from typing import Final

from ustack.recovery.sent import Sent
from ustack.units import MILLISECOND

TIMEOUT_MIN: Final = 2 * MILLISECOND
"""Linux's TCP_TIMEOUT_MIN: slack that a probe or reordering timer gets."""
REO_STEPS_MAX: Final = 255
REO_PERSIST: Final = 16
"""RFC 8985 section 6.2 step 4: recoveries without a D-SACK until the window is small again."""


class Rack:
    """What the newest delivered transmission was, and how much reordering to bear. Sequence offsets and ns."""

    def __init__(self) -> None:
        self.sent_at: int = 0
        self.end: int = 0
        """Of the delivered record that was sent last."""
        self.rtt: int = 0
        """Of the newest delivery."""
        self.advanced: bool = False
        """Something was delivered since the last look for losses."""
        self.is_static: bool = False
        """D-SACKs do not widen the window (tcp_recovery, bit 1)."""
        self.ignores_dupthresh: bool = False
        """Three segments sacked are no reason to wait no longer (tcp_recovery, bit 2)."""
        self.reo_steps: int = 1
        self.reo_persist: int = 0
        self.dsack_seen: bool = False
        self.last_delivered: int = 0

    def deliver(self, record: Sent, end: int, now: int, min_rtt: int, echo_at: int) -> bool:
        """``record`` up to ``end`` was delivered. False: a resend, answered sooner than can be (RFC 8985 step 2).

        ``echo_at``: the last instant that the ACK's TSecr can stand for, -1 unknown.
        """
        rtt = now - record.sent_at
        if record.ever_resent and (rtt < min_rtt or 0 <= echo_at < record.sent_at):
            return False
        self.advanced = True
        self.rtt = rtt
        if record.sent_at > self.sent_at or (record.sent_at == self.sent_at and end > self.end):
            self.sent_at = record.sent_at
            self.end = end
        return True

    def sent_before_newest(self, record: Sent) -> bool:
        """The record left before the newest delivered one."""
        return record.sent_at < self.sent_at or (record.sent_at == self.sent_at and record.end < self.end)

    def adapt(self, prior_delivered: int, delivered: int) -> None:
        """Once per ACK that gave a rate sample: D-SACKs widen the window, at most once per round trip.

        ``prior_delivered``: what had been delivered when the newest record of this ACK left; ``delivered``: now.
        """
        if self.is_static:
            return
        if prior_delivered < self.last_delivered:
            self.dsack_seen = False
        if self.dsack_seen:
            self.reo_steps = min(self.reo_steps + 1, REO_STEPS_MAX)
            self.dsack_seen = False
            self.last_delivered = delivered
            self.reo_persist = REO_PERSIST
        elif self.reo_persist == 0:
            self.reo_steps = 1

    def reo_wnd(self, srtt: int, min_rtt: int) -> int:
        """How much later than its RTT a record may be, once reordering is to be borne."""
        return min((min_rtt >> 2) * self.reo_steps, srtt)


def tlp_timeout(srtt: int, in_flight_segs: int, rto: int, rto_min: int = 200 * MILLISECOND) -> int:
    """How long after the last send the tail is probed, ns (RFC 8985 section 7.2, Linux's tcp_schedule_loss_probe).

    Two srtt, plus ``rto_min`` when a single segment is out (the peer may delay its ACK), else 2 ms; never
    later than the RTO (``rto``: what is left of it). Without an srtt: one second.
    """
    slack = rto_min if in_flight_segs <= 1 else TIMEOUT_MIN
    timeout = 2 * srtt + slack if srtt > 0 else 1000 * MILLISECOND
    return min(timeout, rto) if rto > 0 else timeout


class TailLossProbe:
    """One probe at a time: did it repair a loss? The congestion control must hear of it (RFC 8985 section 7.4)."""

    def __init__(self) -> None:
        self.high_seq: int = -1
        """SND.NXT when the probe left; -1: none is out."""
        self.resend: bool = False

    def sent(self, nxt: int, resend: bool) -> None:
        """A probe left; ``nxt`` is SND.NXT after it. ``resend``: it was old data."""
        self.high_seq = nxt
        self.resend = resend

    def on_ack(self, ack: int, dsack: bool, is_pure_duplicate: bool) -> bool:
        """True: the probe repaired a loss, reduce cwnd once (as ECN does).

        ``dsack``: the ACK carries a D-SACK that ends at ``high_seq``. ``is_pure_duplicate``: it moved
        nothing, sacked nothing, carried nothing and left the window alone.
        """
        if self.high_seq < 0 or ack < self.high_seq:
            return False
        if not self.resend or dsack:
            self.high_seq = -1
        elif ack > self.high_seq:
            self.high_seq = -1
            return True
        elif is_pure_duplicate:
            self.high_seq = -1
        return False

    def cancel(self) -> None:
        """Recovery or an RTO took over."""
        self.high_seq = -1
