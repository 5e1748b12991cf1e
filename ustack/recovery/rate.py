"""Delivery rate samples (draft-ietf-ccwg-bbr section "delivery rate", Linux's tcp_rate.c).

Each record remembers, when it leaves, how much had been delivered by then and since when. The newest
record that an ACK delivers gives the sample: bytes delivered since, over the longer of the time they
took to leave and the time they took to be acknowledged. Bytes and ns; a short segment counts as a full one, as in
Linux, where cwnd and rate count packets.
"""

from __future__ import annotations

from ustack.recovery.sent import Sent
from ustack.units import SECOND


class DeliveryRate:
    """One connection's meter. ``mark_sent`` on each send, ``mark_delivered`` on each delivery, then ``finish``."""

    def __init__(self) -> None:
        self.delivered: int = 0
        """Delivered (acknowledged or sacked) in the life of the connection, D-SACK's duplicates included."""
        self.delivered_at: int = 0
        self.first_sent_at: int = 0
        self.app_limited_until: int = 0
        """Until this much is delivered, samples are the application's; 0: they are the network's."""
        # The sample of the ACK at hand.
        self.prior_delivered: int = 0
        self.prior_at: int = -1
        self.app_limited: bool = False
        self.send_interval: int = 0
        self.last_end: int = 0
        # The sample that ``finish`` made.
        self.rate: int = 0
        """Bytes a second; 0 when unknown."""
        self.interval: int = 0

    def start_ack(self) -> None:
        """A new ACK: no sample yet."""
        self.prior_at = -1
        self.prior_delivered = 0
        self.rate = 0
        self.interval = 0
        self.app_limited = False

    def mark_sent(self, record: Sent, now: int, idle: bool) -> None:
        """``record`` leaves at ``now``; ``idle``: nothing was in flight."""
        if idle:
            self.first_sent_at = now
            self.delivered_at = now
        record.first_sent_at = self.first_sent_at
        record.delivered_at = self.delivered_at
        record.delivered = self.delivered
        record.app_limited = self.app_limited_until > 0

    def mark_delivered(self, record: Sent, end: int) -> None:
        """``record`` (or its part that ends at ``end``) is delivered by this ACK."""
        sent_at = record.sent_at
        if self.prior_at >= 0 and not (
            sent_at > self.first_sent_at or (sent_at == self.first_sent_at and end > self.last_end)
        ):
            return
        self.prior_delivered = record.delivered
        self.prior_at = record.delivered_at
        self.app_limited = record.app_limited
        self.last_end = end
        self.send_interval = sent_at - record.first_sent_at
        self.first_sent_at = sent_at

    def finish(self, newly: int, now: int, min_rtt: int) -> None:
        """All deliveries of this ACK are marked; ``newly`` bytes of them. Below ``min_rtt`` no sample is believed."""
        if self.app_limited_until and self.delivered > self.app_limited_until:
            self.app_limited_until = 0
        if newly:
            self.delivered_at = now
        if self.prior_at < 0:
            return
        interval = max(self.send_interval, now - self.prior_at)
        if interval <= 0 or interval < min_rtt:
            return
        self.interval = interval
        self.rate = (self.delivered - self.prior_delivered) * SECOND // interval
