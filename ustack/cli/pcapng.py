"""Reads pcapng captures (draft-ietf-opsawg-pcapng section 4): sections, interfaces, enhanced and simple packets."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

MAGIC = b"\x0a\x0d\x0d\x0a"
"""The type of a section header: the same in both byte orders."""
ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_SECTION, _INTERFACE, _SIMPLE, _ENHANCED = 0x0A0D0D0A, 1, 3, 6
_RESOLUTION, _OFFSET, _END = 9, 14, 0
_LONGEST = 1 << 26
"""Bytes of one block: more is a damaged file."""


class Block(NamedTuple):
    """One captured frame."""

    link: int
    at: int
    """Nanoseconds since 1970; 0 where the block has no time."""
    frame: bytes
    missing: int
    """Bytes that were not kept."""


class _Interface(NamedTuple):
    link: int
    units: int
    """Units of time in a second."""
    offset: int
    """Seconds to be added."""
    snaplen: int


def frames(head: bytes, file: BinaryIO) -> Iterator[Block]:
    """Each frame of the file, whose first bytes ``head`` were read already. Ends where the file is damaged."""
    order = "<"
    interfaces: list[_Interface] = []
    rest = head
    while True:
        start = rest[:8] + file.read(max(0, 8 - len(rest)))
        rest = rest[8:]
        if len(start) < 8:
            return
        if start[:4] == MAGIC:
            rest += file.read(max(0, 4 - len(rest)))
            order = ORDERS.get(rest[:4], "")
            if not order:
                return
            interfaces = []
        kind, length = struct.unpack(order + "II", start)
        if length < 12 or length % 4 or length > _LONGEST:
            return
        body = rest[: length - 8]
        rest = rest[length - 8 :]
        body += file.read(length - 8 - len(body))
        if len(body) < length - 8:
            return
        if kind == _INTERFACE:
            interfaces.append(_interface(order, body[:-4]))
        elif kind == _ENHANCED:
            yield from _enhanced(order, body[:-4], interfaces)
        elif kind == _SIMPLE and interfaces and len(body) >= 8:
            yield _simple(order, body[:-4], interfaces[0])


def _interface(order: str, body: bytes) -> _Interface:
    if len(body) < 8:
        return _Interface(-1, 10**6, 0, 0)
    link, _, snaplen = struct.unpack(order + "HHI", body[:8])
    units, offset, at = 10**6, 0, 8
    while at + 4 <= len(body):
        code, size = struct.unpack(order + "HH", body[at : at + 4])
        value = body[at + 4 : at + 4 + size]
        if code == _END:
            break
        if code == _RESOLUTION and size == 1:
            units = 2 ** (value[0] & 127) if value[0] & 128 else 10 ** value[0]
        elif code == _OFFSET and size == 8:
            offset = struct.unpack(order + "q", value)[0]
        at += 4 + size + -size % 4
    return _Interface(link, units, offset, snaplen)


def _simple(order: str, body: bytes, interface: _Interface) -> Block:
    original = struct.unpack(order + "I", body[:4])[0]
    kept = min(original, interface.snaplen or original, len(body) - 4)
    return Block(interface.link, 0, body[4 : 4 + kept], original - kept)


def _enhanced(order: str, body: bytes, interfaces: list[_Interface]) -> Iterator[Block]:
    """Nothing where the block is damaged."""
    if len(body) < 20:
        return
    index, high, low, kept, length = struct.unpack(order + "IIIII", body[:20])
    if index >= len(interfaces) or kept > len(body) - 20:
        return
    interface = interfaces[index]
    at = (high << 32 | low) * 1_000_000_000 // interface.units + interface.offset * 1_000_000_000
    yield Block(interface.link, at, body[20 : 20 + kept], max(0, length - kept))
