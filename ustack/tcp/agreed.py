"""What both SYNs agreed upon: the maximum segment size, window scaling, SACK, timestamps."""

from __future__ import annotations

from ustack.tcp.constants import DEFAULT_MSS_V4


class Agreed:
    """One connection's terms. Before the handshake nothing is agreed."""

    def __init__(self) -> None:
        self.peer_mss: int = DEFAULT_MSS_V4
        """What the peer's SYN announced, or the default of its family (RFC 9293 section 3.7.1)."""
        self.advertised_mss: int = DEFAULT_MSS_V4
        """What ours announced."""
        self.wscale_on: bool = False
        self.snd_wscale: int = 0
        self.rcv_wscale: int = 0
        self.sack_on: bool = False
        self.ts_on: bool = False
        self.ts_offset: int = 0
        """Added to the millisecond clock in TSval (RFC 7323 section 5.4)."""
