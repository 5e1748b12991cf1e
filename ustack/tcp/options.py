"""Which options leave with which segment, and what a SYN's options agree upon.

The order and the padding are Linux's (``tcp_options_write``), since middleboxes, fingerprints and
scripts know them: ``mss,sackOK,TS,nop,wscale`` on a SYN, ``nop,nop,TS[,nop,nop,sack]`` afterwards.
"""

from __future__ import annotations

import struct
from typing import Final

from ustack import congestion
from ustack.tcp import delivery
from ustack.tcp.constants import DEFAULT_MSS_V4, DEFAULT_MSS_V6, MAX_SACK_BLOCKS, MAX_WSCALE
from ustack.tcp.tcb import TIMESTAMP_SPACE, Tcb
from ustack.wire.address import is_v4
from ustack.wire.tcp import TcpOptions

_TIMESTAMPS: Final = struct.Struct(">III")
_NOP_NOP_TS: Final = 0x0101080A


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
    settings = tcb.env.settings
    wscale, sack, ts_val = -1, False, -1
    if is_answer:
        if tcb.wscale_on:
            wscale = tcb.rcv_wscale
        sack = tcb.sack_on
        if tcb.ts_on:
            ts_val = tcb.env.timestamp(tcb.ts_offset, now)
    else:
        if settings.tcp_window_scaling:
            wscale = tcb.rcv_wscale
        sack = bool(settings.tcp_sack)
        if settings.tcp_timestamps:
            ts_val = tcb.env.timestamp(tcb.ts_offset, now)
    return SynOptions(tcb.advertised_mss, wscale, sack, ts_val, tcb.ts_recent).encode()


def accept_offer(tcb: Tcb, offer: TcpOptions) -> None:
    """The peer's SYN (or SYN-ACK) offered this: settle scaling, SACK, timestamps and the MSS."""
    settings = tcb.env.settings
    default = DEFAULT_MSS_V4 if is_v4(tcb.remote_address) else DEFAULT_MSS_V6
    tcb.peer_mss = offer.mss if offer.mss > 0 else default
    tcb.wscale_on = offer.wscale >= 0 and bool(settings.tcp_window_scaling)
    tcb.snd_wscale = min(offer.wscale, MAX_WSCALE) if tcb.wscale_on else 0
    tcb.sack_on = offer.sack_permitted and bool(settings.tcp_sack)
    tcb.ts_on = offer.has_ts and bool(settings.tcp_timestamps)
    tcb.board.enable_sack = tcb.sack_on
    settle_mss(tcb)


def header_bytes(tcb: Tcb) -> int:
    """IP and TCP header of a segment without options."""
    return 40 if is_v4(tcb.remote_address) else 60


def own_mss(tcb: Tcb) -> int:
    """The MSS that our SYN announces: what one packet of the interface carries (RFC 9293 section 3.7.1, MUST-67)."""
    mss = tcb.path_mtu - header_bytes(tcb)
    if tcb.options.maxseg:
        mss = min(mss, tcb.options.maxseg)
    return min(mss, 65535)


def settle_mss(tcb: Tcb) -> None:
    """The effective send MSS (RFC 9293 section 3.7.1, MUST-16).

    The least of the peer's, the path's and the application's, less the options on every segment, at most
    half the largest window seen (RFC 1122 section 4.2.3.4)."""
    floor = tcb.env.settings.tcp_min_snd_mss
    mss = min(tcb.peer_mss, tcb.path_mtu - header_bytes(tcb))
    if tcb.options.maxseg:
        mss = min(mss, tcb.options.maxseg)
    mss = max(mss, floor)
    if tcb.ts_on:
        mss -= TIMESTAMP_SPACE
    cutoff = tcb.max_window >> 1 if tcb.max_window > DEFAULT_MSS_V4 else tcb.max_window
    if cutoff and mss > cutoff:
        mss = max(cutoff, 68 - header_bytes(tcb) + 20)
    mss = max(mss, 1)
    tcb.board.mss = mss
    tcb.prr.mss = mss
    tcb.pacer.mss = mss
    if mss != tcb.snd_mss:
        tcb.snd_mss = mss
        if tcb.congestion is not None:
            tcb.congestion.on_mss(mss)


def segment_options(tcb: Tcb, now: int) -> bytes:
    """The options of any segment but a SYN: timestamps, and SACK blocks while there are gaps or a duplicate to tell."""
    if tcb.dsack is None and (not tcb.sack_on or not delivery.has_gap(tcb)):
        if not tcb.ts_on:
            return b""
        return _timestamps(tcb, now)
    lead = _timestamps(tcb, now) if tcb.ts_on else b""
    blocks = _blocks_to_tell(tcb)
    if not blocks:
        return lead
    edges = [edge & 0xFFFFFFFF for block in blocks for edge in block]
    return lead + struct.pack(f">BBBB{len(edges)}I", 1, 1, 5, 2 + 4 * len(edges), *edges)


def _blocks_to_tell(tcb: Tcb) -> list[tuple[int, int]]:
    return delivery.sack_blocks(tcb, MAX_SACK_BLOCKS - 1 if tcb.ts_on else MAX_SACK_BLOCKS)


def sack_space(tcb: Tcb) -> int:
    """Bytes that the SACK option of the next segment takes."""
    blocks = _blocks_to_tell(tcb) if tcb.sack_on else []
    return 4 + 8 * len(blocks) if blocks else 0


def _timestamps(tcb: Tcb, now: int) -> bytes:
    return timestamp_bytes(tcb.env.timestamp(tcb.ts_offset, now), tcb.ts_recent)


def timestamp_bytes(ts_val: int, ts_ecr: int) -> bytes:
    """NOP NOP TS."""
    return _TIMESTAMPS.pack(_NOP_NOP_TS, ts_val, ts_ecr)


def make_control(tcb: Tcb) -> congestion.CongestionControl:
    """The congestion control that the socket or the Stack names (TCP_CONGESTION, tcp_congestion_control)."""
    mss = tcb.snd_mss
    initial = tcb.env.settings.tcp_init_cwnd * mss
    own = tcb.options.congestion_class
    if own is not None:
        control = own(mss, initial)  # type: ignore[operator]
        if not isinstance(control, congestion.CongestionControl):
            raise TypeError("a congestion control is a subclass of ustack.congestion.CongestionControl")
        return control
    name = tcb.options.congestion or tcb.env.settings.tcp_congestion_control
    return congestion.create(name, mss, initial)
