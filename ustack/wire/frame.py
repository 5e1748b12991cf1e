"""Frames in, Transmits out: the records at the sans-IO boundary, and the C core's descriptors made into frames."""

from __future__ import annotations

import struct
from typing import Final

from librt.strings import read_i16_le, read_i32_le
from mypy_extensions import i64

from ustack.drops import Drop
from ustack.wire.parse import parse_packet
from ustack.wire.records import (
    SMALL,
    Datagram,
    Fragment,
    Frame,
    IcmpMessage,
    OtherPacket,
    RawTransmit,
    Refused,
    Segment,
    Transmit,
    content_of,
    keep_short,
)

__all__ = [
    "DESCRIPTOR",
    "SMALL",
    "Datagram",
    "Fragment",
    "Frame",
    "IcmpMessage",
    "OtherPacket",
    "RawTransmit",
    "Refused",
    "Segment",
    "Transmit",
    "content_of",
    "frames_from_descriptors",
    "frames_of",
]

DESCRIPTOR: Final = struct.Struct("=BBBBHHIIIIIIIIHBBIII36s4x")
"""``struct us_descriptor`` of native/cdef.h: 96 bytes, native byte order. Below its fields are read one by one."""

NO_SMALLS: Final = -1

# enum us_kind, enum us_option_bits
_KIND_TCP: Final = 1
_KIND_REFUSED: Final = 3
_OPTION_TS: Final = 1
_OPTION_OTHER: Final = 2
_SYN: Final = 0x002
_TCP: Final = 6
_SIZE: Final = 96


def frames_from_descriptors(descriptors: memoryview, count: int, arena: memoryview) -> list[Frame]:
    """What one batch brought, in order. ``descriptors`` holds at least ``count`` records, offsets lie in ``arena``."""
    return frames_of(bytes(descriptors), count, NO_SMALLS, arena)


def frames_of(records: bytes, count: int, smalls: i64, arena: memoryview) -> list[Frame]:
    """What one batch brought, in order: ``count`` descriptors at the begin of ``records``, where from ``smalls`` on the
    short packets stand, too.

    The payload of a Segment is the C core's handle, which dies with the batch; everything else is copied.
    """
    frames: list[Frame] = []
    at: i64 = 0
    small: i64 = smalls
    for _ in range(count):
        kind = records[at]
        if kind == _KIND_TCP:
            frames.append(_segment(records, at, small, arena))
        else:
            packet = _packet(records, at, small, arena)
            if kind == _KIND_REFUSED:
                key = records[at + 56 : at + 92]
                tos, ttl, reason = records[at + 2], records[at + 3], Drop(records[at + 1])
                frames.append(Refused(key, 0, tos, ttl, packet, reason))
            else:
                frames.append(parse_packet(packet, True))
        at += _SIZE
        if smalls >= 0:
            small += SMALL
    return frames


def _u16(data: bytes, at: i64) -> i64:
    return i64(read_i16_le(data, at)) & 0xFFFF


def _u32(data: bytes, at: i64) -> i64:
    return i64(read_i32_le(data, at)) & 0xFFFFFFFF


def _packet(records: bytes, at: i64, small: i64, arena: memoryview) -> bytes:
    """The (first) IP packet of the descriptor at ``at``."""
    length = _u32(records, at + 48)
    if small >= 0 and length <= SMALL:
        return records[small : small + length]
    where = _u32(records, at + 44)
    return bytes(arena[where : where + length])


def _segment(records: bytes, at: i64, small: i64, arena: memoryview) -> Segment:
    """The descriptor at ``at`` as a segment; offsets of its fields are those of ``struct us_descriptor``."""
    flags = _u16(records, at + 4)
    option_bits: i64 = records[at + 42]
    payload_length = _u32(records, at + 32)
    segs = _u32(records, at + 24)
    options, packet, text = b"", b"", b""
    length = _u32(records, at + 48)
    has_small = small >= 0 and length <= SMALL
    if option_bits & _OPTION_OTHER:
        options_length: i64 = records[at + 43]
        where = _u32(records, at + 52)
        if has_small:
            where += small - _u32(records, at + 44)
            options = records[where : where + options_length]
        else:
            options = bytes(arena[where : where + options_length])
    if flags & _SYN:
        packet = _packet(records, at, small, arena)
    if payload_length and has_small and segs == 1:
        text = records[small + length - payload_length : small + length]
    segment = Segment(
        records[at + 56 : at + 92],
        _TCP,
        records[at + 2],
        records[at + 3],
        packet,
        _u32(records, at + 8),
        _u32(records, at + 12),
        flags,
        _u16(records, at + 6),
        _u16(records, at + 40),
        option_bits & _OPTION_TS != 0,
        _u32(records, at + 16),
        _u32(records, at + 20),
        options,
        _u32(records, at + 36) if payload_length else b"",
        payload_length,
        segs,
        _u32(records, at + 28),
    )
    keep_short(segment, text)
    return segment
