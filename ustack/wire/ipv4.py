"""IPv4 headers (RFC 791 section 3.1)."""

from __future__ import annotations

import struct
from typing import Final

from ustack.wire.checksum import checksum

HEADER_LENGTH: Final = 20
MAX_PACKET: Final = 65535
DONT_FRAGMENT: Final = 0x4000
MORE_FRAGMENTS: Final = 0x2000
OFFSET_MASK: Final = 0x1FFF
MINIMUM_MTU: Final = 68

_HEADER: Final = struct.Struct(">BBHHHBBH4s4s")
_COPIED: Final = 0x80  # an option with this bit goes into every fragment


def build(
    source: bytes,
    destination: bytes,
    protocol: int,
    payload: bytes,
    ttl: int = 64,
    tos: int = 0,
    identification: int = 0,
    fragment: int = DONT_FRAGMENT,
) -> bytes:
    """A packet without options; ``fragment`` is the field with DF, MF and the offset in units of 8 bytes.

    ValueError when it is longer than 65535 bytes.
    """
    return build_header(source, destination, protocol, len(payload), ttl, tos, identification, fragment) + payload


def build_header(
    source: bytes,
    destination: bytes,
    protocol: int,
    payload_length: int,
    ttl: int,
    tos: int,
    identification: int,
    fragment: int,
) -> bytes:
    """Twenty bytes, with their checksum."""
    total = HEADER_LENGTH + payload_length
    if total > MAX_PACKET:
        raise ValueError(f"an IPv4 packet of {total} bytes: at most {MAX_PACKET} fit")
    header = _HEADER.pack(
        0x45,
        tos,
        total,
        identification & 0xFFFF,
        fragment,
        ttl,
        protocol,
        0,
        source[12:],
        destination[12:],
    )
    return with_checksum(header)


def with_options(packet: bytes, options: bytes) -> bytes:
    """The same packet, which has no options, with ``options`` (whole words, 40 bytes at most).

    ValueError when it becomes longer than 65535 bytes."""
    if not options:
        return packet
    total = len(packet) + len(options)
    if total > MAX_PACKET:
        raise ValueError(f"an IPv4 packet of {total} bytes: at most {MAX_PACKET} fit")
    first = bytes([0x40 | (HEADER_LENGTH + len(options)) // 4, packet[1]])
    header = first + total.to_bytes(2, "big") + packet[4:HEADER_LENGTH] + options
    return with_checksum(header) + packet[HEADER_LENGTH:]


def with_checksum(header: bytes) -> bytes:
    """The same header (of any length) with the checksum made anew."""
    cleared = header[:10] + b"\x00\x00" + header[12:]
    return cleared[:10] + checksum(cleared).to_bytes(2, "big") + cleared[12:]


def copied_options(options: bytes) -> bytes:
    """The options that every fragment carries, padded (RFC 791 section 3.1, the copied flag)."""
    kept = b""
    at = 0
    while at < len(options) and options[at] != 0:
        kind = options[at]
        length = 1 if kind == 1 else (options[at + 1] if at + 1 < len(options) else 0)
        if length < 1 or (kind != 1 and length < 2) or at + length > len(options):
            break
        if kind & _COPIED:
            kept += options[at : at + length]
        at += length
    return kept + bytes(-len(kept) % 4)


def fragment_packet(packet: bytes, mtu: int) -> list[bytes]:
    """Cuts a packet into pieces of at most ``mtu`` bytes (RFC 791 section 3.2); one that fits stays whole.

    The don't-fragment bit is the caller's to look at; ValueError when the MTU holds no payload at all.
    """
    if len(packet) <= mtu:
        return [packet]
    header_length = (packet[0] & 15) * 4
    payload = packet[header_length:]
    field = packet[6] << 8 | packet[7]
    first_at = (field & OFFSET_MASK) * 8
    options = copied_options(packet[20:header_length])
    pieces: list[bytes] = []
    at = 0
    while at < len(payload):
        head = packet[:header_length] if at == 0 else bytes([0x40 | (20 + len(options)) // 4]) + packet[1:20] + options
        room = (mtu - len(head)) & ~7
        if room <= 0:
            raise ValueError(f"an MTU of {mtu} holds no fragment")
        part = payload[at : at + room]
        is_last = at + len(part) == len(payload)
        mark = (first_at + at) // 8 | (field & MORE_FRAGMENTS if is_last else MORE_FRAGMENTS)
        total = len(head) + len(part)
        head = head[:2] + total.to_bytes(2, "big") + head[4:6] + mark.to_bytes(2, "big") + head[8:]
        pieces.append(with_checksum(head) + part)
        at += len(part)
    return pieces
