"""The only place that makes TCP headers: of connections, requests, cookies, TIME-WAIT and resets.

What a segment says of the receiver (acknowledgement, window, SACK, timestamps, ECN echo) is asked for when it is made,
and whatever ACK was owed rides on it. Sequence numbers are wrapped here, once.
"""

from __future__ import annotations

import struct
from typing import Final

from librt.strings import BytesWriter, write_i16_be, write_i32_be

from ustack.seqnum import wrap
from ustack.settings import Settings
from ustack.sockopts import SocketOptions
from ustack.tcp import ecn
from ustack.tcp.agreed import Agreed
from ustack.tcp.common import Common
from ustack.tcp.constants import MAX_SACK_BLOCKS, TIMESTAMP_SPACE
from ustack.tcp.ecn import ECT_0
from ustack.tcp.flow import Flow
from ustack.tcp.receiver import ack_policy, sack, window
from ustack.tcp.receiver.state import Receiver
from ustack.wire.frame import Segment, Transmit
from ustack.wire.tcp import ACK, FIN, MAX_OPTIONS, RST, SYN
from ustack.wire.words import double_word, word

_NOP_NOP_TS: Final = 0x0101080A
_NOP: Final = b"\x01"
_NOP_NOP: Final = b"\x01\x01"
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
    else:
        length = segment.payload_length + (1 if segment.flags & SYN else 0) + (1 if segment.flags & FIN else 0)
        transmit = header(flow, settings, 0, RST | ACK)
        transmit.ack = wrap(segment.seq + length)
    transmit.tos = segment.tos & 0xFC
    return transmit


def timestamp_bytes(ts_val: int, ts_ecr: int) -> bytes:
    """NOP NOP TS."""
    out = BytesWriter()
    write_i32_be(out, _NOP_NOP_TS)
    write_i32_be(out, double_word(ts_val))
    write_i32_be(out, double_word(ts_ecr))
    return out.getvalue()


def syn_option_bytes(offer: Agreed, ts_val: int, ts_ecr: int, with_ecn: bool) -> bytes:
    """The options of a SYN or SYN-ACK that makes ``offer``, a multiple of four bytes.

    The order and the padding are Linux's (``tcp_options_write``), since middleboxes, fingerprints and scripts know
    them: ``mss,sackOK,TS,ECN,nop,wscale``. ``with_ecn``: the option of Accurate ECN, with nothing counted yet."""
    out = BytesWriter()
    out.write(b"\x02\x04")
    write_i16_be(out, word(offer.advertised_mss))
    if offer.ts_on:
        out.write(b"\x04\x02\x08\x0a" if offer.sack_on else b"\x01\x01\x08\x0a")
        write_i32_be(out, double_word(ts_val))
        write_i32_be(out, double_word(ts_ecr))
    if with_ecn:
        out.write(ecn.encode_option([0, 0, 0, 0], ecn.MOST_FIELDS) + _NOP)
    if offer.sack_on and not offer.ts_on:
        out.write(b"\x01\x01\x04\x02")
    if offer.wscale_on:
        out.write(b"\x01\x03\x03")
        out.append(offer.rcv_wscale)
    return out.getvalue()


def _sack_option(blocks: list[tuple[int, int]]) -> bytes:
    edges = [edge & 0xFFFFFFFF for block in blocks for edge in block]
    return struct.pack(f">BB{len(edges)}I", 5, 2 + 4 * len(edges), *edges)


class Emitter:
    """Makes the segments of one connection."""

    def __init__(self, common: Common, receiver: Receiver, ip_id: int) -> None:
        self.host = common.host
        self.flow = common.flow
        self.agreed = common.agreed
        self.ecn = common.ecn
        self.rtt = common.rtt
        self.receiver = receiver
        self.ip_id: int = ip_id
        """Identification of the next IPv4 packet."""
        self.segs_out: int = 0
        self._tells_marks: bool = False
        """The next segment carries the option of Accurate ECN."""

    def segment(self, seq: int, flags: int, now: int) -> Transmit:
        """A segment without text (yet); whatever ACK was owed rides on it."""
        option_bytes = self._option_bytes(now)
        transmit = self._number(seq, flags)
        transmit.options = option_bytes
        if self.ecn.is_ect():
            transmit.tos |= ECT_0
        if flags & ACK:
            receiver = self.receiver
            transmit.ack = wrap(receiver.rcv_nxt)
            transmit.window = window.advertise(receiver)
            transmit.flags |= self.ecn.ack_flags()
            ack_policy.ack_sent(receiver)
        return transmit

    def syn(self, seq: int, flags: int, offer: Agreed, with_ecn: bool, now: int) -> Transmit:
        """A SYN or SYN-ACK that makes ``offer``; its window is never scaled (RFC 7323 section 2.2).

        ``with_ecn``: the option of Accurate ECN goes with it."""
        receiver = self.receiver
        ts_val = self.host.timestamp(offer.ts_offset, now)
        transmit = self._number(seq, flags)
        transmit.options = syn_option_bytes(offer, ts_val, receiver.ts_recent, with_ecn)
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

    def look_at_options(self, now: int) -> None:
        """Decide which options the next segment carries, before its size is asked for."""
        if self.ecn.accurate:
            self._tells_marks = self.ecn.sends_option(self.host.settings, self.rtt.srtt, now)

    def choose_options(self) -> int:
        """Choose what the next segment tells beside the timestamps that all carry: the bytes that it takes."""
        receiver = self.receiver
        if not self._tells_marks and not receiver.recent_blocks and receiver.dsack is None:
            return 0
        blocks = self._choose_blocks() if self.agreed.sack_on else []
        if self._tells_marks:
            return len(self._ecn_and_sack(blocks, 0, False))
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
        blocks: list[tuple[int, int]] = []
        if receiver.dsack is not None or (self.agreed.sack_on and sack.has_gap(receiver)):
            blocks = self._choose_blocks()
        self.look_at_options(now)
        if self._tells_marks:
            return lead + self._ecn_and_sack(blocks, now, True)
        return lead + _NOP_NOP + _sack_option(blocks) if blocks else lead

    def _ecn_and_sack(self, blocks: list[tuple[int, int]], now: int, leaves: bool) -> bytes:
        """Accurate ECN's option, as long as fits, and the SACK option, which may give up its last block for it
        (Linux's tcp_options_fit_accecn). ``leaves``: this is not asked only for the length."""
        own = self.ecn
        room = MAX_OPTIONS - (TIMESTAMP_SPACE if self.agreed.ts_on else 0)
        count = len(blocks)
        while True:
            saving = 2 if count else 0
            fields = ecn.fit_option(own.least_fields, room - (4 + 8 * count if count else 0), saving)
            if fields >= 0 or count <= 2 or not own.least_fields:
                break
            count -= 1
        if fields < 0:
            return _NOP_NOP + _sack_option(blocks) if blocks else b""
        counted = own.option_bytes(fields, now) if leaves else ecn.encode_option(own.received_bytes, fields)
        over = len(counted) & 3
        if not count:
            return counted + _NOP * (-over & 3)
        padding = 2 - over if 0 < over <= saving else (-over & 3) + 2
        return counted + _NOP * padding + _sack_option(blocks[:count])

    def _choose_blocks(self) -> list[tuple[int, int]]:
        return sack.choose_blocks(self.receiver, MAX_SACK_BLOCKS - 1 if self.agreed.ts_on else MAX_SACK_BLOCKS)
