"""Proportional Rate Reduction (RFC 6937, RFC 9937) with Linux's choices (tcp_cwnd_reduction).

During fast recovery cwnd glides from what it was to ssthresh, in proportion to what arrives; once
the flight is below ssthresh it may grow back by what was delivered (and one mss more while the
recovery goes well: no new loss, SND.UNA moves).
"""

from __future__ import annotations


class Prr:
    """One recovery at a time: ``enter``, ``on_ack`` for every ACK and ``on_sent`` for every send, ``leave``."""

    def __init__(self, mss: int) -> None:
        self.mss: int = mss
        self.active: bool = False
        self.prior_cwnd: int = 0
        self.ssthresh: int = 0
        self.delivered: int = 0
        self.out: int = 0
        self.allowance: int = -1
        """Bytes that may leave before the next ACK that moves cwnd; -1: cwnd alone counts."""

    def enter(self, in_flight: int, cwnd: int, ssthresh: int) -> None:
        """Recovery begins; bytes. ``cwnd`` is the window before, ``ssthresh`` the one that the algorithm asked for.

        RFC 9937 takes the flight for the denominator (RecoverFS), Linux takes cwnd: as Linux; the
        flight counts only where cwnd was smaller than it.
        """
        self.active = True
        self.prior_cwnd = max(cwnd, 1)
        self.ssthresh = ssthresh
        self.delivered = 0
        self.out = 0
        self.allowance = -1

    def on_sent(self, length: int) -> None:
        """New or resent bytes left during recovery (prr_out): whole segments, however short, as cwnd is spent."""
        if self.active:
            length = -(-length // self.mss) * self.mss
            self.out += length
            if self.allowance > 0:
                self.allowance = max(self.allowance - length, 0)

    def on_old_ack(self, delivered: int) -> None:
        """An ACK that was overtaken reports ``delivered`` bytes, and may have marked losses.

        cwnd stays as it is (Linux calls no congestion control for such ACKs), and yet nothing leaves for free: as much
        as was delivered. Else a peer could have the whole window resent by each of them."""
        if self.active:
            self.allowance = max(self.allowance, 0) + delivered

    def limit(self, room: int) -> int:
        """What of ``room`` may be used."""
        return room if self.allowance < 0 else min(room, self.allowance)

    def on_ack(self, delivered: int, in_flight: int, newly_lost: int, una_advanced: bool) -> int:
        """The new cwnd, bytes; ``in_flight`` is after this ACK. Returns 0 when nothing was delivered: leave cwnd alone.

        Before the first send of the recovery it always allows one mss, so that the fast retransmit leaves.
        """
        if delivered <= 0:
            return 0
        self.allowance = -1
        self.delivered += delivered
        room = self.ssthresh - in_flight
        if room < 0:
            # Whole segments, rounded up, as Linux's packets are.
            segs = -(-self.ssthresh * self.delivered // (self.prior_cwnd * self.mss))
            allowed = segs * self.mss - self.out
        else:
            allowed = max(self.delivered - self.out, delivered)
            if una_advanced and newly_lost == 0:
                allowed += self.mss
            allowed = min(room, allowed)
        allowed = max(allowed, 0 if self.out else self.mss)
        return in_flight + allowed

    def leave(self) -> None:
        """Recovery ended: cwnd is ssthresh (``CongestionControl.on_recovered``) or undone."""
        self.active = False
        self.allowance = -1
