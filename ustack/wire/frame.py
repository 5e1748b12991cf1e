"""Frames in, Transmits out: the records at the sans-IO boundary, and the C core's descriptors made into frames."""

from __future__ import annotations

import struct
from typing import Any, Final

from ustack.drops import Drop
from ustack.wire.parse import parse_packet
from ustack.wire.records import (
    Datagram,
    Fragment,
    Frame,
    IcmpMessage,
    OtherPacket,
    RawTransmit,
    Refused,
    Segment,
    Transmit,
)

__all__ = [
    "DESCRIPTOR",
    "Datagram",
    "Fragment",
    "Frame",
    "IcmpMessage",
    "OtherPacket",
    "RawTransmit",
    "Refused",
    "Segment",
    "Transmit",
    "frames_from_descriptors",
]

DESCRIPTOR: Final = struct.Struct("=BBBBHHIIIIIIIIHBBIII36s4x")
"""``struct us_descriptor`` of native/cdef.h: 96 bytes, native byte order."""

# enum us_kind, enum us_option_bits
_KIND_TCP: Final = 1
_KIND_REFUSED: Final = 3
_OPTION_TS: Final = 1
_OPTION_OTHER: Final = 2
_SYN: Final = 0x002
_TCP: Final = 6


def frames_from_descriptors(descriptors: memoryview, count: int, arena: memoryview) -> list[Frame]:
    """What one batch brought, in order. ``descriptors`` holds at least ``count`` records, offsets lie in ``arena``.

    The payload of a Segment is the C core's handle, which dies with the batch; everything else is copied.
    """
    frames: list[Frame] = []
    for record in DESCRIPTOR.iter_unpack(descriptors[: count * DESCRIPTOR.size]):
        kind: int = record[0]
        if kind == _KIND_TCP:
            frames.append(_segment(record, arena))
            continue
        at: int = record[17]
        packet = bytes(arena[at : at + record[18]])
        if kind == _KIND_REFUSED:
            frames.append(Refused(record[20], 0, record[2], record[3], packet, Drop(record[1])))
        else:
            frames.append(parse_packet(packet, True))
    return frames


def _segment(record: tuple[Any, ...], arena: memoryview) -> Segment:
    """``record`` is one unpacked descriptor: all ints, but the key at its end."""
    flags: int = record[4]
    option_bits: int = record[15]
    at: int = record[17]
    packet = bytes(arena[at : at + record[18]]) if flags & _SYN else b""
    options = b""
    if option_bits & _OPTION_OTHER:
        at = record[19]
        options = bytes(arena[at : at + record[16]])
    payload_length: int = record[12]
    return Segment(
        record[20],
        _TCP,
        record[2],
        record[3],
        packet,
        record[6],
        record[7],
        flags,
        record[5],
        record[14],
        option_bits & _OPTION_TS != 0,
        record[8],
        record[9],
        options,
        record[13] if payload_length else b"",
        payload_length,
        record[10],
        record[11],
    )
