"""What leaves: an array of records, written by one call into C."""

import errno
import struct
from collections.abc import Sequence
from typing import Any, Final

from ustack.native.core import MODE_VNET, ffi, lib, strerror
from ustack.native.rings import NativeSendRing
from ustack.wire.frame import RawTransmit, Transmit

_TRANSMIT_TCP: Final = 1
_TRANSMIT_RAW: Final = 2
_FLAG_CWR: Final = 0x80

# struct us_transmit of native/cdef.h
TRANSMIT: Final = struct.Struct("=16s16sHHIIHHHHBBBBIIIB3xQQQ40sII")
_PROGRESS: Final = struct.Struct("=II")  # its tail: payload bytes and segments that left

if ffi.sizeof("struct us_transmit") != TRANSMIT.size:
    raise ImportError("ustack._native was built from other sources than this ustack: install again")


class _Records:
    """A reusable array of ``struct us_transmit``, and what its pointers point to."""

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.memory = bytearray()
        self.pointer: Any = None
        self.error: Any = ffi.new("int *")

    def pack(self, transmits: Sequence[Transmit | RawTransmit]) -> None:
        """Fills the array; the records are good until the next call or the end of ``transmits``."""
        self.kept.clear()
        needed = len(transmits) * TRANSMIT.size
        if len(self.memory) < needed:
            self.memory = bytearray(2 * needed)
            self.pointer = ffi.cast("struct us_transmit *", ffi.from_buffer(self.memory))
        at = 0
        for transmit in transmits:
            if isinstance(transmit, Transmit):
                self._pack_tcp(at, transmit)
            else:
                self._pack_raw(at, transmit.packet)
            at += TRANSMIT.size

    def _address(self, data: bytes) -> int:
        """Where ``data`` lies; it is kept."""
        view = ffi.from_buffer(data)
        self.kept.append(view)
        return int(ffi.cast("uintptr_t", view))

    def _pack_tcp(self, at: int, transmit: Transmit) -> None:
        ring, offset, data = 0, 0, 0
        if transmit.length:
            source = transmit.ring
            if isinstance(source, NativeSendRing):
                ring, offset = source.address, transmit.at
            elif source is not None:
                data = self._address(source.peek(transmit.at, transmit.length))
        options = transmit.options
        TRANSMIT.pack_into(
            self.memory, at,
            transmit.source, transmit.destination, transmit.source_port, transmit.destination_port,
            transmit.seq, transmit.ack, transmit.flags, transmit.window, transmit.urgent,
            transmit.identification & 0xFFFF, transmit.tos, transmit.ttl, transmit.dont_fragment,
            len(options), transmit.segment_size, transmit.flow_label, transmit.length, _TRANSMIT_TCP,
            ring, offset, data, options, 0, 0,
        )  # fmt: skip

    def _pack_raw(self, at: int, packet: bytes) -> None:
        TRANSMIT.pack_into(
            self.memory, at,
            b"", b"", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, len(packet), _TRANSMIT_RAW,
            0, 0, self._address(packet), b"", 0, 0,
        )  # fmt: skip

    def shorten(self, index: int, transmit: Transmit | RawTransmit) -> None:
        """Takes off a record what of it has left, so that the next call sends the rest."""
        done, segs = _PROGRESS.unpack_from(self.memory, (index + 1) * TRANSMIT.size - _PROGRESS.size)
        if done and isinstance(transmit, Transmit):
            transmit.seq = (transmit.seq + done) & 0xFFFF_FFFF
            transmit.at += done
            transmit.length -= done
            transmit.flags &= ~_FLAG_CWR
            transmit.identification = (transmit.identification + segs) & 0xFFFF


# Arrays that no call uses just now: the GIL is free while C runs, so each call takes one of its own.
_idle_records: list[_Records] = []


def send(fd: int, vnet: bool, transmits: Sequence[Transmit | RawTransmit]) -> int:
    """Writes to ``fd`` (non-blocking) until the device is full, and returns how many left.

    ``vnet``: behind virtio headers, runs as super-frames that the kernel cuts and sums; otherwise cut and
    summed here. A record of which only a part left is shortened in place. Raises ValueError for a record that
    is none, OSError when the first write fails for another reason than fullness.
    """
    records = _idle_records.pop() if _idle_records else _Records()
    records.pack(transmits)
    sent: int = lib.us_send(fd, MODE_VNET if vnet else 0, records.pointer, len(transmits), records.error)
    if sent == len(transmits):
        _idle_records.append(records)
        return sent
    error = int(records.error[0])
    records.shorten(sent, transmits[sent])
    _idle_records.append(records)
    if sent or error in (errno.EAGAIN, errno.ENOBUFS):
        return sent
    if error == errno.EBADMSG:
        raise ValueError(f"not a segment that can be sent: {transmits[0]!r}")
    raise strerror(error)


def cut(transmit: Transmit | RawTransmit) -> list[bytes]:
    """The wire packets of a record, with full checksums; ValueError for a record that is none."""
    records = _idle_records.pop() if _idle_records else _Records()
    records.pack([transmit])
    size, count = ffi.new("uint32_t *"), ffi.new("uint32_t *")
    total: int = lib.us_cut_size(records.pointer, size, count)
    out = bytearray(max(total, 0))
    if total > 0:
        lib.us_cut(records.pointer, ffi.from_buffer("uint8_t[]", out), total)
    _idle_records.append(records)  # and not before: compiled code lets go of a local at its last use
    if total < 0:
        raise ValueError(f"not a segment that can be sent: {transmit!r}")
    step = int(size[0])
    return [bytes(out[at * step : min((at + 1) * step, total)]) for at in range(int(count[0]))]
