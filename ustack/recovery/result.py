"""What one ACK told the scoreboard."""

from __future__ import annotations


class AckResult:
    """What one call of :meth:`Scoreboard.acked` found. One object per scoreboard, filled anew each time."""

    def __init__(self) -> None:
        self.acked: int = 0
        """Bytes newly acknowledged cumulatively (sacked before or not)."""
        self.acked_segs: int = 0
        """Wire segments of them; an ACK inside a segment leaves it out, and measures nothing (Linux's pkts_acked)."""
        self.sacked: int = 0
        """Bytes newly sacked, above ``una``."""
        self.delivered: int = 0
        """Bytes that this ACK says have arrived, and no ACK before; a D-SACK's bytes count too, as in Linux."""
        self.rtt: int = -1
        """Of the first record acknowledged (or else sacked) that was never resent; -1: none (Karn)."""
        self.newest_rtt: int = -1
        """Of the newest such record: for congestion control and min_rtt."""
        self.newest_sent_at: int = -1
        """When the newest record that this ACK delivers was last sent; -1: none."""
        self.dsack: bool = False
        """The ACK reports a duplicate (RFC 2883): [dsack_start, dsack_end)."""
        self.dsack_start: int = 0
        self.dsack_end: int = 0
        self.reordered: bool = False
        """A hole was filled that had never been resent."""
        self.spurious: bool = False
        """A resend was answered sooner than it can have been: the original had arrived."""
        self.resent_acked: bool = False
        """Resent data was acknowledged: nothing is to be measured (Karn)."""
        self.original_start: int = -1
        """Lowest start of data delivered by this ACK that was never resent, -1: none (F-RTO compares it)."""
        self.delivery_rate: int = 0
        self.interval: int = 0
        self.prior_delivered: int = 0
        self.app_limited: bool = False
        self.prior_in_flight: int = 0
        self.prior_segs_in_flight: int = 0
        self.any_new: bool = False
        """The ACK moved SND.UNA or sacked something new."""
        self.sack_rtt: int = -1
        """Of the first record sacked by this ACK that was never resent; -1: none."""

    def clear(self) -> None:
        """As new."""
        self.acked = 0
        self.acked_segs = 0
        self.sacked = 0
        self.delivered = 0
        self.rtt = -1
        self.newest_rtt = -1
        self.newest_sent_at = -1
        self.dsack = False
        self.reordered = False
        self.spurious = False
        self.resent_acked = False
        self.original_start = -1
        self.delivery_rate = 0
        self.interval = 0
        self.prior_delivered = 0
        self.app_limited = False
        self.any_new = False
        self.sack_rtt = -1
