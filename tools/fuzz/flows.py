"""Flows of hostile peers, and packets forged for them. Everything is relative to what both ends chose first,

so that a tape of operations stays meaningful when some of them are left out.
"""

from __future__ import annotations

import dataclasses
import struct

from tools.fuzz.text import wire_text
from ustack.stack.stack import Stack
from ustack.tcp.connection.connection import Connection
from ustack.tcp.listener import Request
from ustack.wire import icmp, ipv4, ipv6
from ustack.wire.address import flow_key, is_v4, parse_address
from ustack.wire.tcp import TcpHeader, build_segment

OURS = {4: parse_address("10.0.0.2"), 6: parse_address("fd00::2")}
THEIRS = {4: parse_address("10.0.0.1"), 6: parse_address("fd00::1")}
LISTEN_PORT = 80
CONNECT_PORT = 7000
MASK = 0xFFFFFFFF
ISNS = (0xFFFFFF00, 0, 1, 0x7FFFFF80, 0x80000000, 0xDEADBEEF)
CLOCK = 0xFFFFFF00
"""Where a peer's timestamps begin: they wrap soon."""


@dataclasses.dataclass(frozen=True)
class Flow:
    """A hostile peer's end of one four-tuple; ``port`` is the peer's, ``own_port`` the Stack's."""

    family: int
    port: int
    own_port: int

    @property
    def key(self) -> bytes:
        """As the Stack receives it."""
        return flow_key(THEIRS[self.family], self.port, OURS[self.family], self.own_port)

    @property
    def isn(self) -> int:
        return ISNS[(self.port + self.own_port) % len(ISNS)]

    def connection(self, stack: Stack) -> Connection | None:
        return stack.tcp.connections.get(self.key)

    def request(self, stack: Stack) -> Request | None:
        for listener in stack.tcp.listeners.get(self.own_port, ()):
            found = listener.requests.get(self.key)
            if found is not None:
                return found
        return None

    def iss(self, stack: Stack) -> int:
        """The Stack's ISN on this flow; 0 when it has none."""
        known = self.connection(stack) or self.request(stack) or stack.tcp.time_waits.get(self.key)
        if known is None:
            return 0
        if isinstance(known, Connection):
            return known.sender.iss
        return known.iss if isinstance(known, Request) else known.snd_nxt

    def our_clock(self, stack: Stack, now: int) -> int:
        """The Stack's timestamp clock on this flow."""
        known = self.connection(stack) or self.request(stack) or stack.tcp.time_waits.get(self.key)
        if isinstance(known, (Connection, Request)):
            return stack.host.timestamp(known.agreed.ts_offset, now)
        return stack.host.timestamp(known.ts_offset if known else 0, now)


@dataclasses.dataclass(frozen=True)
class Forged:
    """A segment in relative numbers: ``seq`` from the peer's ISN, ``ack`` and ``sack`` from the Stack's,

    ``ts`` = (TSval from CLOCK, age of TSecr). ``options`` are raw bytes, before the rest.
    """

    flags: int
    seq: int = 0
    ack: int = 0
    window: int = 65535
    length: int = 0
    urgent: int = 0
    ts: tuple[int, int] | None = None
    sack: tuple[tuple[int, int], ...] = ()
    options: bytes = b""
    tos: int = 0

    def build(self, flow: Flow, stack: Stack, now: int, cookie: tuple[int, int] = (0, 0)) -> bytes:
        """The IP packet. ``cookie``: sequence number and TSval of the last SYN-ACK that this peer saw."""
        iss = flow.iss(stack) or cookie[0]
        options = self.options
        if self.ts is not None:
            echo = (flow.our_clock(stack, now) - self.ts[1]) & MASK if flow.iss(stack) else cookie[1]
            options += struct.pack(">BBBBII", 1, 1, 8, 10, (CLOCK + self.ts[0]) & MASK, echo)
        if self.sack:
            edges = [(iss + edge) & MASK for block in self.sack for edge in block]
            options += struct.pack(f">BBBB{len(edges)}I", 1, 1, 5, 2 + 4 * len(edges), *edges)
        options = (options + bytes(-len(options) % 4))[:40]
        seq = (flow.isn + self.seq) & MASK
        header = TcpHeader(
            flow.port, flow.own_port, seq, (iss + self.ack) & MASK, self.flags, self.window & 0xFFFF, self.urgent
        )
        source, destination = THEIRS[flow.family], OURS[flow.family]
        payload = wire_text(self.seq + (1 if self.flags & 2 else 0), self.length)
        segment = build_segment(source, destination, header, options, payload)
        return wrap(source, destination, 6, segment, self.tos)


def wrap(source: bytes, destination: bytes, protocol: int, payload: bytes, tos: int = 0) -> bytes:
    """An IP packet of either version."""
    if is_v4(source):
        return ipv4.build(source, destination, protocol, payload, tos=tos)
    return ipv6.build(source, destination, protocol, payload, tos=tos)


@dataclasses.dataclass(frozen=True)
class ForgedError:
    """An ICMP error that quotes a segment of the Stack's with sequence number ``seq`` from its ISN."""

    kind: int
    code: int
    seq: int = 0
    mtu: int = 0
    quoted: int = 28

    def build(self, flow: Flow, stack: Stack, now: int) -> bytes:
        """The IP packet."""
        ours, theirs = OURS[flow.family], THEIRS[flow.family]
        header = TcpHeader(flow.own_port, flow.port, (flow.iss(stack) + self.seq) & MASK, 0, 16, 1000)
        quote = wrap(ours, theirs, 6, build_segment(ours, theirs, header))[: self.quoted]
        protocol = 1 if flow.family == 4 else 58
        return wrap(theirs, ours, protocol, icmp.build(theirs, ours, self.kind, self.code, self.mtu, quote))
