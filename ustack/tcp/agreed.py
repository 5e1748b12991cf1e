"""What both SYNs agreed upon: the maximum segment size, window scaling, SACK, timestamps.

One function, :func:`agree`, settles the terms of every open: active, passive, simultaneous, and by SYN cookie.
"""

from __future__ import annotations

from ustack.settings import Settings
from ustack.tcp.constants import DEFAULT_MSS_V4, DEFAULT_MSS_V6, MAX_WSCALE
from ustack.wire.tcp import TcpOptions


class Agreed:
    """The terms of one connection; before the handshake nothing is agreed. Also what one side offers."""

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

    def announce(self, advertised_mss: int, rcv_wscale: int, ts_offset: int) -> None:
        """What our SYN is about to say; nothing is agreed yet."""
        self.advertised_mss = advertised_mss
        self.rcv_wscale = rcv_wscale
        self.ts_offset = ts_offset

    def become(self, terms: Agreed) -> None:
        """These are the terms from now on; who holds this record sees them."""
        self.peer_mss = terms.peer_mss
        self.advertised_mss = terms.advertised_mss
        self.wscale_on = terms.wscale_on
        self.snd_wscale = terms.snd_wscale
        self.rcv_wscale = terms.rcv_wscale
        self.sack_on = terms.sack_on
        self.ts_on = terms.ts_on
        self.ts_offset = terms.ts_offset

    def bound_mss(self, most: int) -> None:
        """The peer's segments are no longer than this, whatever its SYN announced."""
        self.peer_mss = min(self.peer_mss, most)

    def keep_mss_only(self) -> None:
        """Without timestamps nothing else comes back in a SYN cookie."""
        self.wscale_on = False
        self.snd_wscale = 0
        self.rcv_wscale = 0
        self.sack_on = False
        self.ts_on = False


def our_offer(settings: Settings, advertised_mss: int, rcv_wscale: int, ts_offset: int) -> Agreed:
    """What a SYN of ours offers: all that the settings allow."""
    offer = Agreed()
    offer.advertised_mss = advertised_mss
    offer.ts_offset = ts_offset
    offer.wscale_on = settings.tcp_window_scaling != 0
    offer.rcv_wscale = rcv_wscale
    offer.sack_on = settings.tcp_sack != 0
    offer.ts_on = settings.tcp_timestamps != 0
    return offer


def agree(ours: Agreed, theirs: TcpOptions, is_v4: bool) -> Agreed:
    """The terms of two offers: what both made. ``theirs`` are the options of the peer's SYN."""
    terms = Agreed()
    terms.peer_mss = theirs.mss if theirs.mss > 0 else DEFAULT_MSS_V4 if is_v4 else DEFAULT_MSS_V6
    terms.advertised_mss = ours.advertised_mss
    terms.ts_offset = ours.ts_offset
    if ours.wscale_on and theirs.wscale >= 0:
        terms.wscale_on = True
        terms.snd_wscale = min(theirs.wscale, MAX_WSCALE)
        terms.rcv_wscale = ours.rcv_wscale
    terms.sack_on = ours.sack_on and theirs.sack_permitted
    terms.ts_on = ours.ts_on and theirs.has_ts
    return terms
