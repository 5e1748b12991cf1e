"""What leaves: an array of records with what they carry, written by one call into C."""

import errno
import struct
from collections.abc import Sequence
from typing import Any, Final

from librt.strings import BytesWriter, read_i32_le, write_i16_le, write_i32_le, write_i64_le
from mypy_extensions import i64

from ustack.native.core import MODE_VNET, ffi, lib, strerror
from ustack.native.rings import NativeSendRing
from ustack.wire.frame import RawTransmit, Transmit
from ustack.wire.words import double_word, word

_TRANSMIT_TCP: Final = 1
_TRANSMIT_RAW: Final = 2
_FLAG_CWR: Final = 0x80

TRANSMIT: Final = struct.Struct("=16s16sHHIIHHHHBBBBIIIB3xQQQ40sII")
"""``struct us_transmit`` of native/cdef.h. Below its fields are written one by one, in this order."""

if ffi.sizeof("struct us_transmit") != TRANSMIT.size:
    raise ImportError("ustack._native was built from other sources than this ustack: install again")

_SIZE: Final = 144
_DONE: Final = 136
_SEGS: Final = 140
_NO_OPTIONS: Final = bytes(40)
_RAW_HEAD: Final = bytes(64)  # a raw record's fields before its length
_TAIL: Final = bytes(3)

_send: Final[Any] = lib.us_send
_cut: Final[Any] = lib.us_cut


class _Records:
    """``struct us_transmit`` after ``struct us_transmit``, and behind the last one what they carry."""

    def __init__(self, count: int) -> None:
        self.out = BytesWriter()
        self.carried: list[bytes] = []
        self.carried_at: i64 = count * _SIZE

    def add(self, transmit: Transmit | RawTransmit) -> None:
        """One record more, of as many as were promised."""
        if isinstance(transmit, Transmit):
            self._add_tcp(transmit)
        else:
            self._add_raw(transmit.packet)

    def whole(self) -> bytes:
        """The bytes that C takes. It writes into them how far it got, so nobody else may have them."""
        for data in self.carried:
            self.out.write(data)
        return self.out.getvalue()

    def _carry(self, data: bytes) -> i64:
        """Where ``data`` will stand."""
        at = self.carried_at
        self.carried.append(data)
        self.carried_at = at + len(data)
        return at

    def _add_tcp(self, transmit: Transmit) -> None:
        ring: i64 = 0
        offset: i64 = 0
        data: i64 = 0
        if transmit.length:
            source = transmit.ring
            if isinstance(source, NativeSendRing):
                if not source.held:
                    ring, offset = source.address, transmit.at
                elif transmit.at >= source.start:
                    text = source.held[transmit.at - source.start :][: transmit.length]
                    data = self._carry(text) if len(text) == transmit.length else 0
            elif source is not None:
                data = self._carry(source.peek(transmit.at, transmit.length))
        options = transmit.options
        out = self.out
        out.write(transmit.source)
        out.write(transmit.destination)
        write_i16_le(out, word(transmit.source_port))
        write_i16_le(out, word(transmit.destination_port))
        write_i32_le(out, double_word(transmit.seq))
        write_i32_le(out, double_word(transmit.ack))
        write_i16_le(out, word(transmit.flags))
        write_i16_le(out, word(transmit.window))
        write_i16_le(out, word(transmit.urgent))
        write_i16_le(out, word(transmit.identification))
        out.append(transmit.tos)
        out.append(transmit.ttl)
        out.append(transmit.dont_fragment)
        out.append(len(options))
        write_i32_le(out, double_word(transmit.segment_size))
        write_i32_le(out, double_word(transmit.flow_label))
        write_i32_le(out, double_word(transmit.length))
        out.append(_TRANSMIT_TCP)
        out.write(_TAIL)
        write_i64_le(out, ring)
        write_i64_le(out, offset)
        write_i64_le(out, data)
        out.write(options)
        out.write(_NO_OPTIONS[len(options) :])
        write_i64_le(out, 0)

    def _add_raw(self, packet: bytes) -> None:
        out = self.out
        out.write(_RAW_HEAD)
        write_i32_le(out, double_word(len(packet)))
        out.append(_TRANSMIT_RAW)
        out.write(_TAIL)
        write_i64_le(out, 0)
        write_i64_le(out, 0)
        write_i64_le(out, self._carry(packet))
        out.write(_NO_OPTIONS)
        write_i64_le(out, 0)


def _shorten(transmit: Transmit, done: int, segs: int) -> None:
    """Takes off a record what of it has left, so that the next call sends the rest."""
    transmit.seq = (transmit.seq + done) & 0xFFFF_FFFF
    transmit.at += done
    transmit.length -= done
    transmit.flags &= ~_FLAG_CWR
    transmit.identification = (transmit.identification + segs) & 0xFFFF


def send(fd: int, vnet: bool, transmits: Sequence[Transmit | RawTransmit]) -> int:
    """Writes to ``fd`` (non-blocking) until the device is full, and returns how many left.

    ``vnet``: behind virtio headers, runs as super-frames that the kernel cuts and sums; otherwise cut and
    summed here. A record of which only a part left is shortened in place. Raises ValueError for a record that
    is none, OSError when the first write fails for another reason than fullness.
    """
    count = len(transmits)
    records = _Records(count)
    for transmit in transmits:
        records.add(transmit)
    whole = records.whole()
    answer: int = _send(fd, MODE_VNET if vnet else 0, whole, count)
    sent = answer & 0xFFFFFFFF
    if sent == count:
        return sent
    error = answer >> 32
    held_up = transmits[sent]
    at = sent * _SIZE
    done = read_i32_le(whole, at + _DONE)
    if done and isinstance(held_up, Transmit):
        _shorten(held_up, done, read_i32_le(whole, at + _SEGS))
    if sent or error in (errno.EAGAIN, errno.ENOBUFS):
        return sent
    if error == errno.EBADMSG:
        raise ValueError(f"not a segment that can be sent: {transmits[0]!r}")
    raise strerror(error)


_FIRST_ROOM: Final = 2048
# Where frames are cut. C writes into these bytes, and what is taken out are copies, never the whole. The GIL is free
# while C runs, so each call takes one of its own.
_idle_rooms: Final[list[bytes]] = []


def cut(transmit: Transmit | RawTransmit) -> list[bytes]:
    """The wire packets of a record, with full checksums; ValueError for a record that is none."""
    records = _Records(1)
    records.add(transmit)
    whole = records.whole()
    room = _idle_rooms.pop() if _idle_rooms else bytes(_FIRST_ROOM)
    answer: int = _cut(whole, room, len(room) - 1)
    if answer < 0:
        raise ValueError(f"not a segment that can be sent: {transmit!r}")
    total = answer & 0xFFFFFFFF
    if total >= len(room):
        room = bytes(2 * total)
        _cut(whole, room, total)
    step = answer >> 32
    frames = [room[:step]] if step == total else [room[at : min(at + step, total)] for at in range(0, total, step)]
    _idle_rooms.append(room)
    return frames
