"""Which options leave with which segment, and what a SYN's options agree upon.

The order and the padding are Linux's (``tcp_options_write``), since middleboxes, fingerprints and
scripts know them: ``mss,sackOK,TS,nop,wscale`` on a SYN, ``nop,nop,TS[,nop,nop,sack]`` afterwards.
"""

from __future__ import annotations

import struct

from ustack.tcp.connection.tcb import Tcb
from ustack.tcp.constants import DEFAULT_MSS_V4, DEFAULT_MSS_V6, MAX_WSCALE
from ustack.tcp.sender import mss
from ustack.wire.address import is_v4
from ustack.wire.tcp import TcpOptions


class SynOptions:
    """What one SYN offers. ``wscale`` -1: no scaling; ``ts_val`` -1: no timestamps."""

    def __init__(self, mss: int, wscale: int, sack: bool, ts_val: int, ts_ecr: int) -> None:
        self.mss = mss
        self.wscale = wscale
        self.sack = sack
        self.ts_val = ts_val
        self.ts_ecr = ts_ecr

    def encode(self) -> bytes:
        """The option bytes, a multiple of four."""
        parts = [struct.pack(">BBH", 2, 4, self.mss)]
        if self.ts_val >= 0:
            lead = b"\x04\x02\x08\x0a" if self.sack else b"\x01\x01\x08\x0a"
            parts.append(lead + struct.pack(">II", self.ts_val, self.ts_ecr))
        elif self.sack:
            parts.append(b"\x01\x01\x04\x02")
        if self.wscale >= 0:
            parts.append(struct.pack(">BBBB", 1, 3, 3, self.wscale))
        return b"".join(parts)


def syn_options(tcb: Tcb, is_answer: bool, now: int) -> bytes:
    """The options of our SYN (``is_answer``: of our SYN-ACK, which offers only what the peer's SYN did)."""
    settings = tcb.host.settings
    wscale, sack, ts_val = -1, False, -1
    if is_answer:
        if tcb.agreed.wscale_on:
            wscale = tcb.agreed.rcv_wscale
        sack = tcb.agreed.sack_on
        if tcb.agreed.ts_on:
            ts_val = tcb.host.timestamp(tcb.agreed.ts_offset, now)
    else:
        if settings.tcp_window_scaling:
            wscale = tcb.agreed.rcv_wscale
        sack = bool(settings.tcp_sack)
        if settings.tcp_timestamps:
            ts_val = tcb.host.timestamp(tcb.agreed.ts_offset, now)
    return SynOptions(tcb.agreed.advertised_mss, wscale, sack, ts_val, tcb.receiver.ts_recent).encode()


def accept_offer(tcb: Tcb, offer: TcpOptions) -> None:
    """The peer's SYN (or SYN-ACK) offered this: settle scaling, SACK, timestamps and the MSS."""
    settings = tcb.host.settings
    default = DEFAULT_MSS_V4 if is_v4(tcb.flow.remote_address) else DEFAULT_MSS_V6
    tcb.agreed.peer_mss = offer.mss if offer.mss > 0 else default
    tcb.agreed.wscale_on = offer.wscale >= 0 and bool(settings.tcp_window_scaling)
    tcb.agreed.snd_wscale = min(offer.wscale, MAX_WSCALE) if tcb.agreed.wscale_on else 0
    tcb.agreed.sack_on = offer.sack_permitted and bool(settings.tcp_sack)
    tcb.agreed.ts_on = offer.has_ts and bool(settings.tcp_timestamps)
    tcb.sender.scoreboard.enable_sack = tcb.agreed.sack_on
    mss.settle_mss(tcb.sender)
