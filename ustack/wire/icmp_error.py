"""ICMP errors as records: what they are about, and what errno they mean (Linux's icmp_err_convert)."""

from __future__ import annotations

import errno
from enum import IntEnum
from typing import Final

from ustack.wire import icmp, ipv6
from ustack.wire.address import V4_PREFIX, is_v4
from ustack.wire.records import IcmpMessage

_SKIPPED_HEADERS: Final = frozenset({ipv6.HOP_BY_HOP, ipv6.ROUTING, ipv6.DESTINATION_OPTIONS})

# Which errno an unreachable code means, and whether it is fatal: Linux's icmp_err_convert, icmpv6_err_convert
_UNREACHABLE_V4: tuple[tuple[int, bool], ...] = (
    (errno.ENETUNREACH, False),  # net unreachable
    (errno.EHOSTUNREACH, False),  # host unreachable
    (errno.ENOPROTOOPT, True),  # protocol unreachable
    (errno.ECONNREFUSED, True),  # port unreachable
    (errno.EMSGSIZE, False),  # fragmentation needed
    (errno.EOPNOTSUPP, False),  # source route failed
    (errno.ENETUNREACH, True),  # net unknown
    (errno.EHOSTDOWN, True),  # host unknown
    (errno.ENONET, True),  # source host isolated
    (errno.ENETUNREACH, True),  # net prohibited
    (errno.EHOSTUNREACH, True),  # host prohibited
    (errno.ENETUNREACH, False),  # net unreachable for this TOS
    (errno.EHOSTUNREACH, False),  # host unreachable for this TOS
    (errno.EHOSTUNREACH, True),  # administratively prohibited
    (errno.EHOSTUNREACH, True),  # precedence violation
    (errno.EHOSTUNREACH, True),  # precedence cutoff
)
_UNREACHABLE_V6: tuple[tuple[int, bool], ...] = (
    (errno.ENETUNREACH, False),  # no route
    (errno.EACCES, True),  # administratively prohibited
    (errno.EHOSTUNREACH, False),  # beyond scope
    (errno.EHOSTUNREACH, False),  # address unreachable
    (errno.ECONNREFUSED, True),  # port unreachable
    (errno.EACCES, True),  # source address failed policy
    (errno.EACCES, True),  # reject route
)


class IcmpKind(IntEnum):
    """What an error says, whichever version it came in."""

    UNREACHABLE = 1
    TOO_BIG = 2
    """Fragmentation needed (RFC 1191) or packet too big (RFC 8201): ``mtu`` says what fits."""
    TIME_EXCEEDED = 3
    PARAMETER_PROBLEM = 4
    SOURCE_QUENCH = 5
    """To be discarded silently (RFC 9293 MUST-55)."""
    REDIRECT = 6
    OTHER = 7


_ENDS_REQUEST: Final = frozenset({IcmpKind.UNREACHABLE, IcmpKind.TIME_EXCEEDED, IcmpKind.PARAMETER_PROBLEM})


class IcmpError:
    """An ICMP error that quotes a packet of ours. Who gets it must still check that the packet was really sent
    (RFC 5927 section 4): the quoted ``seq`` of TCP is there for it.

    ``key`` is the quoted flow *as sent* (our address and port first): ``reverse_key(key)`` is the connection's.
    ``code_errno`` is what Linux makes of it, ``is_fatal`` whether it ends a connected UDP socket's call
    or an unfinished connect. ``quoted`` begins with the transport's header (8 bytes at least).
    """

    def __init__(self, message: IcmpMessage, key: bytes, protocol: int, quoted: bytes) -> None:
        self.offender = message.source
        self.type = message.type
        self.code = message.code
        self.key = key
        self.protocol = protocol
        self.quoted = quoted
        self.seq = int.from_bytes(quoted[4:8], "big")
        self.mtu = 0
        if message.protocol == icmp.PROTOCOL_V4:
            self.kind, self.code_errno, self.is_fatal = _meaning_v4(message.type, message.code)
            if self.kind is IcmpKind.TOO_BIG:
                self.mtu = message.rest & 0xFFFF
        else:
            self.kind, self.code_errno, self.is_fatal = _meaning_v6(message.type, message.code)
            if self.kind is IcmpKind.TOO_BIG:
                self.mtu = message.rest

    @property
    def ends_request(self) -> bool:
        """A half-open connection ends with it: a net or host that cannot be reached, and what Linux ranks with them."""
        if is_v4(self.key[:16]):
            reached = self.kind is IcmpKind.UNREACHABLE and self.code > 1
            return not reached and self.kind in _ENDS_REQUEST
        return self.is_fatal

    @property
    def destination(self) -> bytes:
        """Where the quoted packet was going."""
        return self.key[16:32]


def _meaning_v4(kind: int, code: int) -> tuple[IcmpKind, int, bool]:
    if kind == icmp.DESTINATION_UNREACHABLE:
        code_errno, is_fatal = _UNREACHABLE_V4[code] if code < len(_UNREACHABLE_V4) else (errno.EHOSTUNREACH, False)
        return IcmpKind.TOO_BIG if code == icmp.FRAGMENTATION_NEEDED else IcmpKind.UNREACHABLE, code_errno, is_fatal
    if kind == icmp.TIME_EXCEEDED:
        return IcmpKind.TIME_EXCEEDED, errno.EHOSTUNREACH, False
    if kind == icmp.PARAMETER_PROBLEM:
        return IcmpKind.PARAMETER_PROBLEM, errno.EPROTO, True
    if kind == icmp.SOURCE_QUENCH:
        return IcmpKind.SOURCE_QUENCH, 0, False
    if kind == icmp.REDIRECT:
        return IcmpKind.REDIRECT, 0, False
    return IcmpKind.OTHER, errno.EHOSTUNREACH, False


def _meaning_v6(kind: int, code: int) -> tuple[IcmpKind, int, bool]:
    if kind == icmp.V6_DESTINATION_UNREACHABLE:
        code_errno, is_fatal = _UNREACHABLE_V6[code] if code < len(_UNREACHABLE_V6) else (errno.EPROTO, True)
        return IcmpKind.UNREACHABLE, code_errno, is_fatal
    if kind == icmp.V6_PACKET_TOO_BIG:
        return IcmpKind.TOO_BIG, errno.EMSGSIZE, False
    if kind == icmp.V6_TIME_EXCEEDED:
        return IcmpKind.TIME_EXCEEDED, errno.EHOSTUNREACH, False
    if kind == icmp.V6_PARAMETER_PROBLEM:
        return IcmpKind.PARAMETER_PROBLEM, errno.EPROTO, True
    return IcmpKind.OTHER, errno.EPROTO, False


def parse_error(message: IcmpMessage) -> IcmpError | None:
    """What an ICMP error is about; None when the quote is too short to say, or is of the other IP version."""
    body = message.body
    if message.protocol == icmp.PROTOCOL_V4:
        return _parse_quote_v4(message, body)
    return _parse_quote_v6(message, body)


def _parse_quote_v4(message: IcmpMessage, body: bytes) -> IcmpError | None:
    if len(body) < 28 or body[0] >> 4 != 4:
        return None
    header = (body[0] & 15) * 4
    if header < 20 or len(body) < header + 8 or (body[6] << 8 | body[7]) & 0x1FFF:
        return None  # of a later fragment there is no transport header to see
    key = V4_PREFIX + body[12:16] + V4_PREFIX + body[16:20]
    return _about(message, key, body[9], body[header:])


def _parse_quote_v6(message: IcmpMessage, body: bytes) -> IcmpError | None:
    if len(body) < 48 or body[0] >> 4 != 6 or is_v4(body[8:24]) or is_v4(body[24:40]):
        return None
    protocol, at = body[6], 40
    while protocol in _SKIPPED_HEADERS or protocol == ipv6.FRAGMENT:
        if len(body) < at + 8:
            return None
        if protocol == ipv6.FRAGMENT:
            if (body[at + 2] << 8 | body[at + 3]) & 0xFFF8:
                return None
            length = 8
        else:
            length = (body[at + 1] + 1) * 8
        protocol = body[at]
        at += length
    if len(body) < at + 8:
        return None
    return _about(message, body[8:40], protocol, body[at:])


def _about(message: IcmpMessage, addresses: bytes, protocol: int, quoted: bytes) -> IcmpError:
    ports = quoted[:4] if protocol in (6, 17) else bytes(4)
    return IcmpError(message, addresses + ports, protocol, quoted)


def is_about_icmp_error(packet: bytes) -> bool:
    """Whether a whole IP packet is, or may be, an ICMP error itself."""
    if not packet:
        return False
    if packet[0] >> 4 == 4:
        at = (packet[0] & 15) * 4
        if packet[9] != icmp.PROTOCOL_V4:
            return False
        return len(packet) <= at or icmp.is_error(4, packet[at])
    protocol, at = packet[6], 40
    while protocol in _SKIPPED_HEADERS and len(packet) >= at + 8:
        protocol, at = packet[at], at + (packet[at + 1] + 1) * 8
    if protocol == ipv6.FRAGMENT and len(packet) >= at + 8:
        protocol, at = packet[at], at + 8
    return protocol == icmp.PROTOCOL_V6 and (len(packet) <= at or icmp.is_error(6, packet[at]))
