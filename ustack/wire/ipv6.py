"""IPv6 headers and extension headers (RFC 8200)."""

from __future__ import annotations

import struct
from typing import Final

HEADER_LENGTH: Final = 40
MAX_PAYLOAD: Final = 65535
MINIMUM_MTU: Final = 1280

# Next headers (IANA)
HOP_BY_HOP: Final = 0
ROUTING: Final = 43
FRAGMENT: Final = 44
AUTHENTICATION: Final = 51
NO_NEXT: Final = 59
DESTINATION_OPTIONS: Final = 60

_HEADER: Final = struct.Struct(">IHBB16s16s")
_FRAGMENT: Final = struct.Struct(">BBHI")


def build(
    source: bytes,
    destination: bytes,
    protocol: int,
    payload: bytes,
    ttl: int = 64,
    tos: int = 0,
    flow_label: int = 0,
) -> bytes:
    """A packet without extension headers; ValueError when the payload is longer than 65535 bytes."""
    return build_header(source, destination, protocol, len(payload), ttl, tos, flow_label) + payload


def build_header(
    source: bytes, destination: bytes, protocol: int, payload_length: int, ttl: int, tos: int, flow_label: int
) -> bytes:
    """Forty bytes."""
    if payload_length > MAX_PAYLOAD:
        raise ValueError(f"an IPv6 payload of {payload_length} bytes: at most {MAX_PAYLOAD} fit")
    first = 6 << 28 | tos << 20 | flow_label & 0xFFFFF
    return _HEADER.pack(first, payload_length, protocol, ttl, source, destination)


def fragment_packet(packet: bytes, mtu: int, identification: int) -> list[bytes]:
    """Cuts a packet without extension headers into pieces of at most ``mtu`` bytes (RFC 8200 section 4.5);
    one that fits stays whole. ValueError when the MTU holds no payload at all."""
    if len(packet) <= mtu:
        return [packet]
    room = (mtu - HEADER_LENGTH - 8) & ~7
    if room <= 0:
        raise ValueError(f"an MTU of {mtu} holds no fragment")
    payload = packet[HEADER_LENGTH:]
    pieces: list[bytes] = []
    for at in range(0, len(payload), room):
        part = payload[at : at + room]
        more = 1 if at + len(part) < len(payload) else 0
        mark = _FRAGMENT.pack(packet[6], 0, at | more, identification & 0xFFFFFFFF)
        length = (8 + len(part)).to_bytes(2, "big")
        pieces.append(packet[:4] + length + bytes([FRAGMENT]) + packet[7:HEADER_LENGTH] + mark + part)
    return pieces
