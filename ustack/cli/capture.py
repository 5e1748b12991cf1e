"""Reads captures: classic pcap, with micro- or nanoseconds, and pcapng; of IP packets, Ethernet or cooked frames."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ustack.cli import pcapng
from ustack.cli.complaint import Complaint, about_file
from ustack.cli.values import shown

_MAGICS = {0xA1B2C3D4: 1000, 0xA1B23C4D: 1}
_LITTLE = tuple(struct.pack("<I", magic) for magic in _MAGICS)
_RAW = (12, 14, 101, 228, 229)
_ETHERNET = 1
_LOOPBACK = (0, 108)
_COOKED = {113: 16, 276: 20}
_TAGS = (0x8100, 0x88A8)
_LONGEST = 1 << 26
"""Bytes of one record: more is a damaged file."""


class Captured(NamedTuple):
    """One IP packet of a capture."""

    number: int
    """As Wireshark counts: the file's first frame is 1, and frames that hold no IP packet count, too."""
    at: int
    """Nanoseconds since 1970."""
    packet: bytes
    missing: int
    """Bytes at its end that the capture left out (tcpdump -s)."""


def read_capture(path: str) -> Iterator[tuple[int, bytes]]:
    """Instant (ns) and bytes of each IP packet. Raises Complaint when the file is no capture."""
    for found in read_packets(path):
        yield found.at, found.packet


def read_packets(path: str) -> Iterator[Captured]:
    """Each IP packet with its number. Raises Complaint when the file is no capture."""
    try:
        file = Path(path).open("rb")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise about_file(path, error) from None
    except ValueError:
        raise Complaint(f"{shown(path)} is no name of a file.", 2) from None
    with file:
        yield from _packets(path, file)


def _packets(path: str, file: BinaryIO) -> Iterator[Captured]:
    try:
        for number, (link, at, frame, missing) in enumerate(_frames(path, file), 1):
            if link not in (*_RAW, _ETHERNET, *_LOOPBACK, *_COOKED):
                raise Complaint(f"{path} holds frames of a kind (link type {link}) that ustack does not read.", 2)
            packet = _ip(link, frame)
            if packet:
                yield Captured(number, at, packet, missing)
    except OSError as error:
        raise about_file(path, error) from None


def _frames(path: str, file: BinaryIO) -> Iterator[pcapng.Block]:
    head = file.read(24)
    if head[:4] == pcapng.MAGIC and head[8:12] in pcapng.ORDERS:
        yield from pcapng.frames(head, file)
        return
    order = next(
        (order for order in "<>" if len(head) == 24 and struct.unpack(order + "I", head[:4])[0] in _MAGICS), ""
    )
    if not order:
        raise Complaint(
            f"{shown(path)} is no capture that ustack reads: it takes pcap and pcapng "
            "(ustack serve --pcap, tcpdump -w, Wireshark).",
            2,
        )
    unit = _MAGICS[struct.unpack(order + "I", head[:4])[0]]
    link = struct.unpack(order + "I", head[20:24])[0] & 0xFFFF
    while len(record := file.read(16)) == 16:
        seconds, fraction, kept, length = struct.unpack(order + "IIII", record)
        if kept > _LONGEST:
            return  # no record: the file is damaged from here on
        frame = file.read(kept)
        if len(frame) < kept:
            return  # the capture was still being written
        yield pcapng.Block(link, seconds * 1_000_000_000 + fraction * unit, frame, max(0, length - kept))


def _ip(link: int, frame: bytes) -> bytes:
    """The IP packet in a frame; b"" when it holds something else."""
    if link == _ETHERNET:
        at = 12
        while int.from_bytes(frame[at : at + 2], "big") in _TAGS:
            at += 4
        frame = frame[at + 2 :]
    elif link in _LOOPBACK:
        frame = frame[4:]
    elif link in _COOKED:
        frame = frame[_COOKED[link] :]
    return frame if frame[:1] and frame[0] >> 4 in (4, 6) else b""
