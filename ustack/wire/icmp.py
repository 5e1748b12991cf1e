"""ICMP (RFC 792) and ICMPv6 (RFC 4443): types, codes, and messages as bytes."""

from __future__ import annotations

import struct
from typing import Final

from ustack.wire.address import is_v4
from ustack.wire.checksum import checksum, pseudo_sum

PROTOCOL_V4: Final = 1
PROTOCOL_V6: Final = 58
HEADER_LENGTH: Final = 8

# ICMP types
ECHO_REPLY: Final = 0
DESTINATION_UNREACHABLE: Final = 3
SOURCE_QUENCH: Final = 4
REDIRECT: Final = 5
ECHO_REQUEST: Final = 8
TIME_EXCEEDED: Final = 11
PARAMETER_PROBLEM: Final = 12

# Codes of DESTINATION_UNREACHABLE
NET_UNREACHABLE: Final = 0
HOST_UNREACHABLE: Final = 1
PROTOCOL_UNREACHABLE: Final = 2
PORT_UNREACHABLE: Final = 3
FRAGMENTATION_NEEDED: Final = 4
SOURCE_ROUTE_FAILED: Final = 5
ADMIN_PROHIBITED: Final = 13

# Codes of TIME_EXCEEDED, the same in both versions
TTL_EXCEEDED: Final = 0
REASSEMBLY_EXCEEDED: Final = 1

# ICMPv6 types
V6_DESTINATION_UNREACHABLE: Final = 1
V6_PACKET_TOO_BIG: Final = 2
V6_TIME_EXCEEDED: Final = 3
V6_PARAMETER_PROBLEM: Final = 4
V6_ECHO_REQUEST: Final = 128
V6_ECHO_REPLY: Final = 129

# Codes of V6_DESTINATION_UNREACHABLE
V6_NO_ROUTE: Final = 0
V6_ADMIN_PROHIBITED: Final = 1
V6_BEYOND_SCOPE: Final = 2
V6_ADDRESS_UNREACHABLE: Final = 3
V6_PORT_UNREACHABLE: Final = 4

# Codes of V6_PARAMETER_PROBLEM
V6_ERRONEOUS_HEADER: Final = 0
V6_UNKNOWN_NEXT_HEADER: Final = 1
V6_UNKNOWN_OPTION: Final = 2

QUOTE_LIMIT_V4: Final = 576
"""Bytes of the whole ICMP packet, IP header included (RFC 1812 section 4.3.2.3, as Linux's icmp_send)."""
QUOTE_LIMIT_V6: Final = 1280
"""The same (RFC 4443 section 2.4 (c))."""

_HEADER: Final = struct.Struct(">BBHI")


def build(
    source: bytes,
    destination: bytes,
    type: int,  # noqa: A002 - the RFC's own name
    code: int,
    rest: int,
    body: bytes,
) -> bytes:
    """A message with its checksum, without IP. ICMPv6 (by the addresses' family) sums a pseudo-header too."""
    bare = _HEADER.pack(type, code, 0, rest) + body
    initial = 0 if is_v4(source) else pseudo_sum(source, destination, PROTOCOL_V6, len(bare))
    return bare[:2] + checksum(bare, initial).to_bytes(2, "big") + bare[4:]


def protocol_of(address: bytes) -> int:
    """1 or 58, whichever goes with the family of ``address``."""
    return PROTOCOL_V4 if is_v4(address) else PROTOCOL_V6


def build_echo_request(source: bytes, destination: bytes, identifier: int, sequence: int, data: bytes) -> bytes:
    """What ``ping`` sends."""
    kind = ECHO_REQUEST if is_v4(source) else V6_ECHO_REQUEST
    return build(source, destination, kind, 0, identifier << 16 | sequence, data)


def build_echo_reply(source: bytes, destination: bytes, rest: int, data: bytes) -> bytes:
    """The answer: identifier and sequence (together ``rest``) and data as they came."""
    return build(source, destination, ECHO_REPLY if is_v4(source) else V6_ECHO_REPLY, 0, rest, data)


def quote(packet: bytes) -> bytes:
    """As much of the packet an error is about as goes into the error, by its IP version."""
    if packet[:1] and packet[0] >> 4 == 4:
        return packet[: QUOTE_LIMIT_V4 - 20 - HEADER_LENGTH]
    return packet[: QUOTE_LIMIT_V6 - 40 - HEADER_LENGTH]


def build_error(
    source: bytes,
    destination: bytes,
    type: int,  # noqa: A002 - the RFC's own name
    code: int,
    packet: bytes,
    rest: int = 0,
) -> bytes:
    """An error about ``packet``; ``rest`` is the MTU or the pointer, placed as the type has it."""
    return build(source, destination, type, code, rest, quote(packet))


def build_unreachable(source: bytes, destination: bytes, code: int, packet: bytes, mtu: int = 0) -> bytes:
    """Destination unreachable; ``code`` in the numbers of the family, ``mtu`` with FRAGMENTATION_NEEDED."""
    kind = DESTINATION_UNREACHABLE if is_v4(source) else V6_DESTINATION_UNREACHABLE
    return build_error(source, destination, kind, code, packet, mtu)


def build_packet_too_big(source: bytes, destination: bytes, mtu: int, packet: bytes) -> bytes:
    """ICMPv6 packet too big, or IPv4's "fragmentation needed" (RFC 1191)."""
    if is_v4(source):
        return build_unreachable(source, destination, FRAGMENTATION_NEEDED, packet, mtu)
    return build_error(source, destination, V6_PACKET_TOO_BIG, 0, packet, mtu)


def build_time_exceeded(source: bytes, destination: bytes, code: int, packet: bytes) -> bytes:
    """TTL_EXCEEDED or REASSEMBLY_EXCEEDED."""
    return build_error(source, destination, TIME_EXCEEDED if is_v4(source) else V6_TIME_EXCEEDED, code, packet)


def build_parameter_problem(source: bytes, destination: bytes, code: int, pointer: int, packet: bytes) -> bytes:
    """About the byte ``pointer`` of the packet."""
    if is_v4(source):
        return build_error(source, destination, PARAMETER_PROBLEM, code, packet, pointer << 24)
    return build_error(source, destination, V6_PARAMETER_PROBLEM, code, packet, pointer)


def is_error(version: int, type: int) -> bool:  # noqa: A002 - the RFC's own name
    """Whether a message must not be answered with an error (RFC 1122 section 3.2.2: ICMP errors; unknown types of
    ICMPv4 count as such, as Linux has it; RFC 4443 section 2.1: types below 128)."""
    if version == 4:
        return type not in _INFORMATIONAL_V4
    return type < 128


_INFORMATIONAL_V4: Final = frozenset({0, 8, 9, 10, 13, 14, 15, 16, 17, 18})
