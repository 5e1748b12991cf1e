# ruff: noqa: PLR0913, PLR0917 - these are the records that bundle arguments elsewhere
"""What arrives and what leaves, as records: plain classes, made on the hottest path there is.

Everybody imports them from :mod:`ustack.wire.frame`; they stand here so that the parser can make them.
"""

from __future__ import annotations

from typing import Final

from ustack.drops import Drop
from ustack.network import Leaving
from ustack.ring import SendRing

SMALL: Final = 256
"""US_SMALL of native/cdef.h: a packet that is no longer stands beside its descriptor, too."""

NO_KEY: Final = bytes(36)
"""Of a packet whose addresses could not be read."""


class Frame:
    """One IP packet that arrived, or one run of TCP.

    ``key`` is the flow as received (the source is the peer), ports zero where there are none. ``packet`` is the
    whole IP packet, but empty for TCP off the fast path (a SYN keeps it, for TCP_SAVE_SYN).
    """

    def __init__(self, key: bytes, protocol: int, tos: int, ttl: int, packet: bytes) -> None:
        self.key = key
        self.protocol = protocol
        self.tos = tos
        self.ttl = ttl
        self.packet = packet

    @property
    def source(self) -> bytes:
        return self.key[:16]

    @property
    def destination(self) -> bytes:
        return self.key[16:32]

    @property
    def source_port(self) -> int:
        return self.key[32] << 8 | self.key[33]

    @property
    def destination_port(self) -> int:
        return self.key[34] << 8 | self.key[35]

    @property
    def ecn(self) -> int:
        """The ECN field: 0 none, 1 ECT(1), 2 ECT(0), 3 CE (RFC 3168 section 5)."""
        return self.tos & 3


class Segment(Frame):
    """TCP: one wire segment, or a run of them merged.

    Numbers are the wire's. Of a run, ``ack``, ``window`` and ``ts_ecr`` are the last segment's, ``seq`` and
    ``ts_val`` the first's, ``flags`` of all. ``options`` is b"" when there is nothing but padding and timestamps.
    ``payload`` is bytes-like or the C core's handle: only rings look inside.
    """

    def __init__(
        self,
        key: bytes,
        protocol: int,
        tos: int,
        ttl: int,
        packet: bytes,
        seq: int,
        ack: int,
        flags: int,
        window: int,
        urgent: int = 0,
        has_ts: bool = False,
        ts_val: int = 0,
        ts_ecr: int = 0,
        options: bytes = b"",
        payload: object = b"",
        payload_length: int = 0,
        segs: int = 1,
        segment_size: int = 0,
    ) -> None:
        self.key = key
        self.protocol = protocol
        self.tos = tos
        self.ttl = ttl
        self.packet = packet
        self.seq = seq
        self.ack = ack
        self.flags = flags
        self.window = window
        self.urgent = urgent
        self.has_ts = has_ts
        self.ts_val = ts_val
        self.ts_ecr = ts_ecr
        self.options = options
        self.payload = payload
        self.payload_length = payload_length
        self.segs = segs
        self.segment_size = segment_size
        self._short: bytes = b""


def keep_short(segment: Segment, text: bytes) -> None:
    """The payload of ``segment`` is a handle, and short: ``text`` is all of it. No call into C has to copy it."""
    segment._short = text


def content_of(segment: Segment) -> object:
    """What a ring takes of ``segment``: the text itself where it is short, else its payload."""
    return segment._short or segment.payload


class Datagram(Frame):
    """UDP."""

    def __init__(self, key: bytes, protocol: int, tos: int, ttl: int, packet: bytes, payload: bytes) -> None:
        super().__init__(key, protocol, tos, ttl, packet)
        self.payload = payload


class IcmpMessage(Frame):
    """ICMP of either version. ``rest`` is the four bytes behind the checksum, ``body`` what follows them."""

    def __init__(
        self,
        key: bytes,
        protocol: int,
        tos: int,
        ttl: int,
        packet: bytes,
        type: int,  # noqa: A002 - the RFC's own name
        code: int,
        rest: int,
        body: bytes,
    ) -> None:
        super().__init__(key, protocol, tos, ttl, packet)
        self.type = type
        self.code = code
        self.rest = rest
        self.body = body


class Fragment(Frame):
    """A part of a packet. ``header`` is what stands before the fragmentable part once it is whole
    (RFC 8200 section 4.5: with the next-header field already mended); ``protocol`` is what the payload begins with."""

    def __init__(
        self,
        key: bytes,
        protocol: int,
        tos: int,
        ttl: int,
        packet: bytes,
        identification: int,
        offset: int,
        more: bool,
        payload: bytes,
        header: bytes,
    ) -> None:
        super().__init__(key, protocol, tos, ttl, packet)
        self.identification = identification
        self.offset = offset
        self.more = more
        self.payload = payload
        self.header = header


class Refused(Frame):
    """A packet that a rule refuses. ``parameter_code`` is -1, or the code of the ICMPv6 parameter problem
    that RFC 8200 wants answered, about the byte ``pointer`` of the packet."""

    def __init__(
        self,
        key: bytes,
        protocol: int,
        tos: int,
        ttl: int,
        packet: bytes,
        reason: Drop,
        parameter_code: int = -1,
        pointer: int = 0,
    ) -> None:
        super().__init__(key, protocol, tos, ttl, packet)
        self.reason = reason
        self.parameter_code = parameter_code
        self.pointer = pointer


class OtherPacket(Frame):
    """A protocol that this stack does not speak. ``pointer`` is where the packet names it."""

    def __init__(
        self, key: bytes, protocol: int, tos: int, ttl: int, packet: bytes, payload: bytes, pointer: int = 9
    ) -> None:
        super().__init__(key, protocol, tos, ttl, packet)
        self.payload = payload
        self.pointer = pointer


class Transmit(Leaving):
    """One TCP run of any length that leaves; the device cuts it at ``segment_size`` (0: one segment).

    The payload is ``ring[at:at + length)``. FIN and PSH go with the last piece, CWR with the first; the sequence number
    advances, and IPv4's identification counts the pieces. Addresses are 16 bytes, numbers the wire's.
    """

    def __init__(
        self,
        source: bytes,
        destination: bytes,
        source_port: int,
        destination_port: int,
        seq: int,
        ack: int,
        flags: int,
        window: int,
        urgent: int = 0,
        options: bytes = b"",
        ring: SendRing | None = None,
        at: int = 0,
        length: int = 0,
        segment_size: int = 0,
        tos: int = 0,
        ttl: int = 64,
        identification: int = 0,
        dont_fragment: bool = True,
        flow_label: int = 0,
    ) -> None:
        self.source = source
        self.destination = destination
        self.source_port = source_port
        self.destination_port = destination_port
        self.seq = seq
        self.ack = ack
        self.flags = flags
        self.window = window
        self.urgent = urgent
        self.options = options
        self.ring = ring
        self.at = at
        self.length = length
        self.segment_size = segment_size
        self.tos = tos
        self.ttl = ttl
        self.identification = identification
        self.dont_fragment = dont_fragment
        self.flow_label = flow_label


class RawTransmit(Leaving):
    """A ready IP packet: ICMP, UDP, a fragment."""

    def __init__(self, packet: bytes) -> None:
        self.packet = packet
