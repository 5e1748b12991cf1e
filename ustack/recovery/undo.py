"""When to take a reduction back: D-SACK, Eifel (RFC 3522, RFC 4015) and F-RTO (RFC 5682), as Linux combines them."""

from __future__ import annotations

from enum import IntEnum


class LossStep(IntEnum):
    """What an ACK during RTO recovery asks for (Linux's tcp_process_loss)."""

    RESEND = 0
    """Go on resending what is lost."""
    SEND_NEW = 1
    """F-RTO step 2b: send new data instead of resending, if there is some and the window is open; else RESEND
    (and call ``frto_off``)."""
    SPURIOUS = 2
    """The timeout was spurious: undo cwnd, forget all loss marks, back to open."""
    RECOVERED = 3
    """Everything of the episode is acknowledged: back to open (``may_undo`` tells whether with undo)."""


class Undo:
    """The doubt about one recovery or loss episode. Sequence offsets, bytes and timestamp-clock ticks only.

    ``start`` when the reduction is made, ``on_resent`` for each resend, ``on_ack`` for each ACK with
    its D-SACK, then ask ``may_undo`` (fast recovery) or ``loss_step`` (after an RTO).
    """

    def __init__(self) -> None:
        self.marker: int = -1
        """SND.UNA when the episode began; -1: nothing can be undone."""
        self.high_seq: int = 0
        """SND.NXT then: the episode is over when it is acknowledged (recovery point)."""
        self.resends: int = -1
        """Bytes resent and not yet reported as duplicates; -1 before the first resend."""
        self.retrans_stamp: int = -1
        """Our timestamp clock at the first resend of the episode; -1 before it."""
        self.frto: bool = False

    def start(self, una: int, nxt: int, resent_in_flight: int = 0) -> None:
        """A reduction is made. ``resent_in_flight``: Scoreboard.retransmitted_bytes (a probe may be out)."""
        self.marker = una
        self.high_seq = nxt
        self.resends = resent_in_flight if resent_in_flight > 0 else -1
        if resent_in_flight <= 0:
            self.retrans_stamp = -1  # a probe's of long ago
        self.frto = False

    def start_loss(self, una: int, nxt: int, resent_in_flight: int, frto_allowed: bool) -> None:
        """An RTO episode begins. F-RTO runs when allowed (tcp_frto): Linux asks that data beyond SND.UNA exists, or
        that this is not a repeated RTO of the same data."""
        self.start(una, nxt, resent_in_flight)
        self.frto = frto_allowed

    def clear(self) -> None:
        """The episode is over, or can never be undone (ECN, reneging, a resend lost for certain)."""
        self.marker = -1
        self.resends = -1
        self.retrans_stamp = -1
        self.frto = False

    def on_resent(self, length: int, ts_now: int) -> None:
        """``length`` bytes are resent; ``ts_now``: the TSval that the resend carries, -1 without timestamps."""
        if self.retrans_stamp < 0:
            self.retrans_stamp = ts_now
        self.resends = max(self.resends, 0)
        self.resends += length

    def on_dsack(self, start: int, end: int) -> None:
        """The peer got [start, end) twice."""
        if self.marker >= 0 and self.resends > 0 and self.marker < end:
            self.resends = max(self.resends - (end - start), 0)

    def may_undo(self, ts_ecr: int) -> bool:
        """True: all resends were duplicates, or ``ts_ecr`` (-1 none) echoes a segment older than the first resend."""
        if self.marker < 0:
            return False
        return self.resends == 0 or self.was_delayed(ts_ecr)

    def was_delayed(self, ts_ecr: int) -> bool:
        """Eifel: the echoed timestamp is older than the first resend, so the original arrived."""
        if self.retrans_stamp < 0:
            return self.resends < 0 and self.marker >= 0
        return ts_ecr >= 0 and 0 < ((self.retrans_stamp - ts_ecr) & 0xFFFFFFFF) < 1 << 31

    def loss_step(
        self, una: int, nxt: int, una_advanced: bool, duplicate: bool, original_start: int, ts_ecr: int
    ) -> LossStep:
        """One ACK in RTO recovery; ``una`` and ``nxt`` after it.

        ``duplicate``: it sacked something new, or is a duplicate ACK of a peer without SACK.
        ``original_start``: AckResult.original_start (-1 also when resent data was acknowledged without SACK).
        """
        recovered = una >= self.high_seq
        if una_advanced and self.may_undo(ts_ecr):
            return LossStep.SPURIOUS
        if self.frto:
            if self.marker >= 0 and 0 <= original_start < self.high_seq:
                return LossStep.SPURIOUS  # step 3b: data that was never resent has arrived
            if nxt > self.high_seq:
                if duplicate:
                    self.frto = False  # step 3a: the loss is real
            elif una_advanced and not recovered:
                self.high_seq = nxt
                return LossStep.SEND_NEW
        return LossStep.RECOVERED if recovered else LossStep.RESEND

    def frto_off(self) -> None:
        """SEND_NEW was not possible: conventional recovery."""
        self.frto = False
