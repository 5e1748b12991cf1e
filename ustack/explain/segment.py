"""One captured packet, taken apart as far as it was kept: nothing is refused, since the peer may have taken it."""

from __future__ import annotations

import struct
from typing import NamedTuple

from ustack.cli.capture import Captured
from ustack.wire.address import V4_PREFIX, format_address
from ustack.wire.checksum import fold, is_good, number, pseudo_sum
from ustack.wire.tcp import SYN, parse_options

_TCP, _ICMP, _ICMPV6 = 6, 1, 58
_FIXED = struct.Struct(">HHIIHHHH")
_EXTENSIONS = (0, 43, 60)
GOOD, BAD, UNFINISHED, UNKNOWN = "good", "bad", "unfinished", "unknown"
"""Of a checksum. Unfinished: it holds the sum of the pseudo-header alone, as a sender leaves it to its network card."""


class End(NamedTuple):
    """One end of a connection."""

    address: bytes
    port: int

    def __str__(self) -> str:
        text = format_address(self.address)
        return f"[{text}]:{self.port}" if ":" in text else f"{text}:{self.port}"


class Seen:
    """One TCP segment as the capture shows it. ``source`` and ``destination`` are its ends; numbers are the wire's.

    ``index``, ``start``, ``end`` and so on are filled in by the connection that it belongs to (``flow.py``).
    """

    __slots__ = (
        "ack", "acknowledged", "at", "checksum", "count", "destination", "digest", "edge", "end", "flags", "flight",
        "identity", "index", "is_resent", "kind", "length", "mss", "number", "original", "raw_ack", "raw_window",
        "sack", "sack_ok", "sack_wire", "seq", "side", "source", "start", "ts_ecr", "ts_val", "ttl", "window", "wscale",
    )  # fmt: skip

    def __init__(self, found: Captured, ends: tuple[End, End], length: int) -> None:
        self.number = found.number
        self.at = found.at
        self.source, self.destination = ends
        self.length = length
        self.seq = self.raw_ack = self.flags = self.raw_window = 0
        self.identity = -1
        """IPv4's identification, -1 where there is none that says anything."""
        self.ttl = 0
        self.mss = self.wscale = self.ts_val = self.ts_ecr = -1
        self.sack_ok = False
        self.sack_wire: list[tuple[int, int]] = []
        self.checksum = UNKNOWN
        self.digest = 0
        self.index = self.side = 0
        self.start = self.end = self.ack = self.acknowledged = self.flight = 0
        self.edge = self.window = -1
        self.kind = ""
        self.original: Seen | None = None
        self.count = 0
        """How often its first byte was seen before."""
        self.is_resent = False
        self.sack: list[tuple[int, int]] = []

    def is_same_as(self, other: Seen) -> bool:
        """The same bytes of TCP, and the same identification of IPv4."""
        return (self.identity, self.digest) == (other.identity, other.digest)

    def space(self) -> int:
        """Sequence numbers that it takes: text, SYN and FIN."""
        return self.length + (self.flags >> 1 & 1) + (self.flags & 1)


class IcmpError(NamedTuple):
    """An ICMP message that quotes a segment."""

    number: int
    at: int
    router: str
    ends: tuple[End, End]
    """Of the quoted segment: its sender first."""
    seq: int
    too_big: bool
    """Fragmentation needed, or packet too big: the path MTU is too small."""
    mtu: int
    words: str


class Ip(NamedTuple):
    """What an IP header says. ``at``: where the transport header stands."""

    source: bytes
    destination: bytes
    protocol: int
    at: int
    end: int
    ttl: int
    identity: int
    is_fragment: bool


def read_ip(packet: bytes, missing: int) -> Ip | None:
    """The header of ``packet``, of which ``missing`` bytes were not kept; None when it is none."""
    if len(packet) >= 20 and packet[0] >> 4 == 4:
        field = packet[6] << 8 | packet[7]
        length = packet[2] << 8 | packet[3] or len(packet) + missing  # 0: a super-segment before the card cuts it
        return Ip(
            V4_PREFIX + packet[12:16], V4_PREFIX + packet[16:20], packet[9], (packet[0] & 15) * 4, length,
            packet[8], packet[4] << 8 | packet[5], field & 0x3FFF != 0,
        )  # fmt: skip
    if len(packet) >= 40 and packet[0] >> 4 == 6:
        length = packet[4] << 8 | packet[5]
        end = 40 + length if length else len(packet) + missing
        protocol, at, is_fragment = packet[6], 40, False
        while (protocol in _EXTENSIONS or protocol == 44) and at + 8 <= len(packet):
            is_fragment = is_fragment or protocol == 44
            protocol, at = packet[at], at + (8 if protocol == 44 else (packet[at + 1] + 1) * 8)
        return Ip(packet[8:24], packet[24:40], protocol, at, end, packet[7], -1, is_fragment)
    return None


def read_segment(found: Captured) -> Seen | IcmpError | None:
    """The TCP segment or the ICMP error about one in a captured packet; None when it holds neither."""
    ip = read_ip(found.packet, found.missing)
    if ip is None or ip.is_fragment:
        return None
    if ip.protocol == _TCP:
        return _tcp(found, ip)
    if ip.protocol in (_ICMP, _ICMPV6):
        return _icmp(found, ip)
    return None


def _tcp(found: Captured, ip: Ip) -> Seen | None:
    packet, at = found.packet, ip.at
    if len(packet) < at + 20:
        return None
    source, destination, seq, ack, flags, window, total, _ = _FIXED.unpack(packet[at : at + 20])
    header = (flags >> 12) * 4
    if header < 20 or ip.end < at + header:
        return None
    seen = Seen(found, (End(ip.source, source), End(ip.destination, destination)), ip.end - at - header)
    seen.seq, seen.raw_ack, seen.flags, seen.raw_window = seq, ack, flags & 0xFFF, window
    seen.ttl, seen.identity = ip.ttl, ip.identity
    _take_options(seen, packet[at + 20 : at + header])
    seen.digest = hash(packet[at:])
    if not found.missing and len(packet) >= ip.end:
        seen.checksum = _judge(ip, packet[at : ip.end], total)
    return seen


def _take_options(seen: Seen, options: bytes) -> None:
    if not options:
        return
    read = parse_options(options)
    if read.has_ts:
        seen.ts_val, seen.ts_ecr = read.ts_val, read.ts_ecr
    seen.sack_wire = read.sack
    if seen.flags & SYN:
        seen.mss, seen.wscale, seen.sack_ok = read.mss, read.wscale, read.sack_permitted


def _judge(ip: Ip, text: bytes, total: int) -> str:
    pseudo = pseudo_sum(ip.source, ip.destination, _TCP, len(text))
    if is_good(text, pseudo):
        return GOOD
    return UNFINISHED if total == fold(pseudo) or total == fold(pseudo_sum(ip.source, ip.destination, _TCP, 0)) else BAD


def _icmp(found: Captured, ip: Ip) -> IcmpError | None:
    text = found.packet[ip.at :]
    if len(text) < 16:
        return None
    quoted = read_ip(text[8:], 0)
    if quoted is None or quoted.protocol != _TCP or len(text) < 8 + quoted.at + 8:
        return None
    ports = text[8 + quoted.at :]
    ends = (
        End(quoted.source, number(ports[:2])),
        End(quoted.destination, number(ports[2:4])),
    )
    kind, code = text[0], text[1]
    is_v4 = ip.protocol == _ICMP
    too_big = (kind, code) == (3, 4) if is_v4 else kind == 2
    if (kind not in (3, 11, 12)) if is_v4 else kind > 127:
        return None
    mtu = (number(text[6:8]) if is_v4 else number(text[4:8])) if too_big else 0
    words = _words(is_v4, kind, code)
    return IcmpError(found.number, found.at, format_address(ip.source), ends, number(ports[4:8]), too_big, mtu, words)


def _words(is_v4: bool, kind: int, code: int) -> str:
    unreachable = {0: "network unreachable", 1: "host unreachable", 3: "port unreachable", 13: "forbidden by a filter"}
    six = {0: "no route", 1: "forbidden by a filter", 3: "address unreachable", 4: "port unreachable"}
    if kind == (3 if is_v4 else 1):
        return (unreachable if is_v4 else six).get(code, f"unreachable (code {code})")
    if kind == (11 if is_v4 else 3):
        return "time to live exceeded: a loop, or too many hops"
    return f"ICMP type {kind} code {code}"
