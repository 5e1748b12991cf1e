"""The only place that makes TCP headers: of connections, requests, cookies, TIME-WAIT and resets.

What a segment says of the receiver (acknowledgement, window, SACK, timestamps, ECN echo) is asked for when it is made,
and whatever ACK was owed rides on it. Sequence numbers are wrapped here, once.
"""

from __future__ import annotations

import struct
from typing import Final

from ustack.seqnum import wrap
from ustack.settings import Settings
from ustack.sockopts import SocketOptions
from ustack.tcp.agreed import Agreed
from ustack.tcp.common import Common
from ustack.tcp.constants import MAX_SACK_BLOCKS
from ustack.tcp.flow import Flow
from ustack.tcp.receiver import ack_policy, sack, window
from ustack.tcp.receiver.state import Receiver
from ustack.wire.frame import Segment, Transmit
from ustack.wire.tcp import ACK, ECE, FIN, RST, SYN

_TIMESTAMPS: Final = struct.Struct(">III")
_NOP_NOP_TS: Final = 0x0101080A
NO_SOCKET: Final = SocketOptions()
"""The header policy of segments that belong to no socket."""


def header(flow: Flow, settings: Settings, seq: int, flags: int) -> Transmit:
    """A segment of ``flow`` without acknowledgement, window, options and text: the caller fills in what it has."""
    return Transmit(
        flow.local_address,
        flow.remote_address,
        flow.local_port,
        flow.remote_port,
        wrap(seq),
        0,
        flags,
        0,
        0,
        b"",
        None,
        0,
        0,
        0,
        flow.tos(),
        flow.ttl(settings),
        0,
        flow.dont_fragment(),
        0,
    )


def reset_for(segment: Segment, settings: Settings) -> Transmit | None:
    """The RST that answers a segment nobody wants (RFC 9293 section 3.10.7.1); never one for a RST.

    No socket says what its header is to be: its TTL is the host's, its TOS the segment's own (as Linux)."""
    if segment.flags & RST:
        return None
    flow = Flow(segment.key, NO_SOCKET)
    if segment.flags & ACK:
        transmit = header(flow, settings, segment.ack, RST)
        transmit.tos = segment.tos & 0xFC
        return transmit
    length = segment.payload_length + (1 if segment.flags & SYN else 0) + (1 if segment.flags & FIN else 0)
    transmit = header(flow, settings, 0, RST | ACK)
    transmit.ack = wrap(segment.seq + length)
    transmit.tos = segment.tos & 0xFC
    return transmit


def timestamp_bytes(ts_val: int, ts_ecr: int) -> bytes:
    """NOP NOP TS."""
    return _TIMESTAMPS.pack(_NOP_NOP_TS, ts_val, ts_ecr)


def syn_option_bytes(offer: Agreed, ts_val: int, ts_ecr: int) -> bytes:
    """The options of a SYN or SYN-ACK that makes ``offer``, a multiple of four bytes.

    The order and the padding are Linux's (``tcp_options_write``), since middleboxes, fingerprints and scripts know
    them: ``mss,sackOK,TS,nop,wscale``."""
    parts = [struct.pack(">BBH", 2, 4, offer.advertised_mss)]
    if offer.ts_on:
        lead = b"\x04\x02\x08\x0a" if offer.sack_on else b"\x01\x01\x08\x0a"
        parts.append(lead + struct.pack(">II", ts_val, ts_ecr))
    elif offer.sack_on:
        parts.append(b"\x01\x01\x04\x02")
    if offer.wscale_on:
        parts.append(struct.pack(">BBBB", 1, 3, 3, offer.rcv_wscale))
    return b"".join(parts)


class Emitter:
    """Makes the segments of one connection."""

    def __init__(self, common: Common, receiver: Receiver, ip_id: int) -> None:
        self.host = common.host
        self.flow = common.flow
        self.agreed = common.agreed
        self.ecn = common.ecn
        self.receiver = receiver
        self.ip_id: int = ip_id
        """Identification of the next IPv4 packet."""
        self.segs_out: int = 0

    def segment(self, seq: int, flags: int, now: int) -> Transmit:
        """A segment without text (yet); whatever ACK was owed rides on it."""
        option_bytes = self._option_bytes(now)
        transmit = self._number(seq, flags)
        transmit.options = option_bytes
        if flags & ACK:
            receiver = self.receiver
            transmit.ack = wrap(receiver.rcv_nxt)
            transmit.window = window.advertise(receiver)
            if self.ecn.echo:
                transmit.flags |= ECE
            ack_policy.ack_sent(receiver)
        return transmit

    def syn(self, seq: int, flags: int, offer: Agreed, now: int) -> Transmit:
        """A SYN or SYN-ACK that makes ``offer``; its window is never scaled (RFC 7323 section 2.2)."""
        receiver = self.receiver
        ts_val = self.host.timestamp(offer.ts_offset, now)
        transmit = self._number(seq, flags)
        transmit.options = syn_option_bytes(offer, ts_val, receiver.ts_recent)
        transmit.window = min(receiver.rcv_wnd, 65535)
        if flags & ACK:
            transmit.ack = wrap(receiver.rcv_nxt)
            ack_policy.ack_sent(receiver)
        return transmit

    def more_segments(self, count: int) -> None:
        """The segment that was just made is a run of ``count`` more."""
        self.segs_out += count
        self.ip_id += count

    def text_sent(self, now: int) -> None:
        """New text leaves: does it answer the peer's (Linux's tcp_event_data_sent)?"""
        ack_policy.text_sent(self.receiver, now)

    def option_space(self) -> int:
        """Bytes that the SACK option of the next segment takes."""
        receiver = self.receiver
        if not receiver.recent_blocks and receiver.dsack is None:
            return 0
        blocks = self._blocks_to_tell() if self.agreed.sack_on else []
        return 4 + 8 * len(blocks) if blocks else 0

    def _number(self, seq: int, flags: int) -> Transmit:
        transmit = header(self.flow, self.host.settings, seq, flags)
        transmit.identification = self.ip_id & 0xFFFF
        self.ip_id += 1
        self.segs_out += 1
        return transmit

    def _option_bytes(self, now: int) -> bytes:
        """Timestamps, and SACK blocks while there are gaps or a duplicate to tell."""
        receiver = self.receiver
        lead = b""
        if self.agreed.ts_on:
            lead = timestamp_bytes(self.host.timestamp(self.agreed.ts_offset, now), receiver.ts_recent)
        if receiver.dsack is None and (not self.agreed.sack_on or not sack.has_gap(receiver)):
            return lead
        blocks = self._blocks_to_tell()
        if not blocks:
            return lead
        edges = [edge & 0xFFFFFFFF for block in blocks for edge in block]
        return lead + struct.pack(f">BBBB{len(edges)}I", 1, 1, 5, 2 + 4 * len(edges), *edges)

    def _blocks_to_tell(self) -> list[tuple[int, int]]:
        return sack.sack_blocks(self.receiver, MAX_SACK_BLOCKS - 1 if self.agreed.ts_on else MAX_SACK_BLOCKS)
