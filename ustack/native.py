"""Floor 5: the only door to the C core. It moves bytes; what they mean is decided above.

Every call into C drops the GIL, so one Receiver or ring belongs to one stack, under that stack's lock.
Payloads arrive as *handles*: ints that name a run in the arena of the batch they came with. They and all
views of the arena die at the next ``receive``; a ring refuses a dead handle with ValueError.
"""

import errno
import os
import struct
from collections.abc import Sequence
from typing import Any

try:
    from ustack._native import ffi, lib
except ModuleNotFoundError as missing:
    raise ImportError(f"no C core beside {__file__}: pip install . builds it, python -P skips this folder") from missing
from ustack.ring import MAX_RANGES, ReceiveRing, RingMaker, SendRing
from ustack.wire.frame import DESCRIPTOR, Frame, RawTransmit, Transmit, frames_from_descriptors

# 64 super-frames of 64 KiB, the depth at which a pass of Python over the whole batch costs nothing.
ARENA_SIZE = 64 * (65536 + 64)
# Without offload frames are small, and packed tightly: 512 of 1500 bytes stay in the second-level cache.
FRAMES = 512

_HANDLE_BITS = 16  # of a handle name the piece, the others the receiver
_PIECES_MAX = 1 << _HANDLE_BITS
_MODE_VNET = 1
_MODE_TRUSTED = 2
_TRANSMIT_TCP = 1
_TRANSMIT_RAW = 2
_FLAG_CWR = 0x80

# struct us_transmit of native/cdef.h
TRANSMIT = struct.Struct("=16s16sHHIIHHHHBBBBIIIB3xQQQ40sII")
_PROGRESS = struct.Struct("=II")  # its tail: payload bytes and segments that left

APART = ("empty", "flags", "ended", "sequence", "hops", "options", "ts_val", "ack", "crowded")

if ffi.sizeof("struct us_descriptor") != DESCRIPTOR.size or ffi.sizeof("struct us_transmit") != TRANSMIT.size:
    raise ImportError("ustack._native was built from other sources than this ustack: install again")

_allocate: Any = ffi.new_allocator(lib.us_alloc, lib.us_free, should_clear_after_alloc=False)

# Receivers by the high bits of their handles: a ring meets handles, not receivers. Entries die with them.
_receivers: dict[int, Any] = {}


def _strerror(code: int) -> OSError:
    return OSError(code, os.strerror(code))


def checksum(data: object, initial: int = 0) -> int:
    """The internet checksum of ``data`` (RFC 1071) as the number that goes into the packet.

    ``initial`` is a sum to start from, as of a pseudo-header: big-endian 16-bit words added up, or one big number.
    """
    view = ffi.from_buffer("uint8_t[]", data)
    folded = (initial % 0xFFFF or 0xFFFF) if initial else 0
    return int(lib.us_checksum(view, len(view), folded))


def wait(fds: Sequence[int], timeout_ns: int) -> int:
    """Waits until one of ``fds`` is readable, closed or broken; ``timeout_ns`` below 0 is for ever.

    Returns a bit for each that is (bit 0 is ``fds[0]``), 0 at the timeout or when a signal came: the caller,
    being interpreted, then lets Python run its handlers. At most 31 descriptors.
    """
    ready: int = lib.us_wait(fds, len(fds), timeout_ns)
    if ready < 0:
        raise _strerror(-ready)
    return ready


def payload_bytes(payload: object, skip: int, length: int) -> bytes:
    """A copy of ``payload[skip:skip + length]``, whichever form a Segment's payload has."""
    if not isinstance(payload, int):
        return bytes(memoryview(payload)[skip : skip + length])  # type: ignore[arg-type]
    out = bytearray(length)
    receiver = _receiver_of(payload)
    if lib.us_payload_copy(receiver, payload, skip, length, ffi.from_buffer("uint8_t[]", out)) < 0:
        raise ValueError("a payload handle of an earlier batch, or too short")
    return bytes(out)


def _receiver_of(handle: int) -> Any:
    receiver = _receivers.get(handle >> _HANDLE_BITS)
    if receiver is None:
        raise ValueError("a payload handle of a receiver that is gone")
    return receiver


class Receiver:
    """Reads a batch of frames and makes runs of them.

    ``capacity`` is bytes of the arena, ``frames`` the most wire reads in one batch. Memory is taken at the
    first use. What a batch returned is valid until the next.
    """

    def __init__(self, capacity: int = ARENA_SIZE, frames: int = FRAMES) -> None:
        if not 0 < frames <= _PIECES_MAX:
            raise ValueError(f"frames must be 1..{_PIECES_MAX}")
        self._capacity = max(capacity, 65536 + 64)
        self._frames = frames
        self._owned: list[Any] = []
        self._arena = memoryview(b"")
        self._descriptors = memoryview(b"")
        self._core: Any = ffi.new("struct us_receiver *")
        number = 1
        while number in _receivers:
            number += 1
        if number >= 1 << (32 - _HANDLE_BITS):
            raise OSError(errno.EMFILE, "too many receivers")
        self._core.handle_base = number << _HANDLE_BITS
        _receivers[number] = self._core
        # Dies with this object (a compiled class has no weak references to watch it by).
        self._registration: Any = ffi.gc(ffi.cast("void *", self._core), lambda _core: _receivers.pop(number, None))

    def _allocate(self, capacity: int, frames: int) -> None:
        """Takes memory for a batch of that size, in place of what there was."""
        arena = _allocate("uint8_t[]", capacity)
        descriptors = _allocate("struct us_descriptor[]", frames)
        pieces = _allocate("struct us_piece[]", frames)
        tails = _allocate("uint32_t[]", frames)
        core = self._core
        core.arena, core.descriptors, core.pieces, core.tails = arena, descriptors, pieces, tails
        core.arena_size, core.slots = capacity, frames
        core.used = core.count = core.piece_count = 0
        self._owned = [arena, descriptors, pieces, tails]
        self._arena = memoryview(ffi.buffer(arena))
        self._descriptors = memoryview(ffi.buffer(descriptors))

    def receive(self, fd: int, vnet: bool, csum_trusted: bool = False) -> list[Frame]:
        """One batch: everything that ``fd`` (non-blocking) has, or as much as the arena holds.

        ``vnet``: frames stand behind a virtio header of 10 bytes. ``csum_trusted``: transport checksums are
        not verified. Raises OSError when the first read fails for another reason than emptiness.
        """
        if self._core.arena_size < self._capacity:
            self._allocate(self._capacity, self._frames)
        mode = (_MODE_VNET if vnet else 0) | (_MODE_TRUSTED if csum_trusted else 0)
        count: int = lib.us_receive(self._core, fd, mode)
        if count > 0:
            return frames_from_descriptors(self._descriptors, count, self._arena)
        if count < 0:
            raise _strerror(-count)
        return []

    def receive_packets(self, packets: Sequence[bytes], csum_trusted: bool = False) -> list[Frame]:
        """One batch from packets in memory: the same parsing, the same runs."""
        if not packets:
            return []
        lengths = [len(packet) for packet in packets]
        needed = sum(lengths) + 16 * len(packets)
        core = self._core
        if core.arena_size < needed or core.slots < len(packets):
            if len(packets) > _PIECES_MAX:
                raise ValueError(f"more than {_PIECES_MAX} packets in one batch")
            self._allocate(max(needed, int(core.arena_size), 16384), max(len(packets), int(core.slots), 16))
        mode = _MODE_TRUSTED if csum_trusted else 0
        count: int = lib.us_receive_packets(core, b"".join(packets), lengths, len(packets), mode)
        if count < 0:
            raise _strerror(-count)
        return frames_from_descriptors(self._descriptors, count, self._arena)

    def poison(self) -> None:
        """Overwrites the batch and kills its handles, so that a test sees who kept a view too long."""
        if self._owned:
            lib.us_poison(self._core)

    def counts(self) -> dict[str, int]:
        """Frames read, frames that joined a run, and for each reason how many did not."""
        core = self._core
        apart = {f"apart_{name}": int(count) for name, count in zip(APART, core.apart, strict=True)}
        return {"frames": int(core.frames), "merged": int(core.merged), **apart}


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
    sent: int = lib.us_send(fd, _MODE_VNET if vnet else 0, records.pointer, len(transmits), records.error)
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
    raise _strerror(error)


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


def _view(ring: Any, span: Any) -> memoryview:
    """A stretch of a ring's memory that stays readable even after the ring has let go of it."""
    block = lib.us_block_hold(ring)
    held = ffi.gc(span.bytes, lambda _bytes: lib.us_block_release(block))
    return memoryview(ffi.buffer(held, span.length))


def _views(ring: Any, at: int, length: int) -> list[memoryview]:
    spans = ffi.new("struct us_span[2]")
    if lib.us_ring_spans(ring, at, length, spans) < 0:
        raise ValueError(f"[{at}, {at + length}) is not kept")
    return [_view(ring, span) for span in spans if span.length]


def _new_ring(capacity: int, at: int) -> Any:
    ring = lib.us_ring_new(capacity, at, MAX_RANGES)
    if not ring:
        raise MemoryError
    return ffi.gc(ring, lib.us_ring_free)


class NativeSendRing(SendRing):
    """A SendRing in C; ``address`` is where ``send`` finds it."""

    def __init__(self, capacity: int, at: int = 0) -> None:
        super().__init__(capacity, at)
        self._ring: Any = None
        self.address = 0

    def _open(self) -> Any:
        self._ring = _new_ring(self.capacity, self.start)
        self.address = int(ffi.cast("uintptr_t", self._ring))
        return self._ring

    def write(self, data: object) -> int:
        ring = self._ring
        if ring is None:
            ring = self._open()
        view = ffi.from_buffer("uint8_t[]", data)
        taken: int = lib.us_ring_write(ring, view, len(view))
        if taken < 0:
            raise MemoryError
        self.end += taken
        return taken

    def release(self, upto: int) -> None:
        if upto > self.start:
            if upto > self.end:
                raise ValueError(f"release({upto}) beyond the end {self.end}")
            lib.us_ring_release(self._ring, upto)
            self.start = upto

    def views(self, at: int, length: int) -> list[memoryview]:
        if at < self.start or length < 0 or at + length > self.end:
            raise ValueError(f"[{at}, {at + length}) is not within [{self.start}, {self.end})")
        return _views(self._ring, at, length) if length else []

    def peek(self, at: int, length: int) -> bytes:
        return b"".join(self.views(at, length))

    def resize(self, capacity: int) -> None:
        self.capacity = capacity
        if self._ring is not None:
            lib.us_ring_resize(self._ring, capacity)

    def trim(self) -> None:
        if self._ring is not None and self.start == self.end:
            self._ring = None
            self.address = 0


class NativeReceiveRing(ReceiveRing):
    """A ReceiveRing in C, which takes payloads by handle."""

    def __init__(self, capacity: int, at: int = 0) -> None:
        super().__init__(capacity, at)
        self._ring: Any = None
        self._block_count = 0

    def place(self, at: int, payload: object, skip: int, length: int) -> int:
        """As ReceiveRing; ValueError for a handle of an earlier batch, or a payload shorter than said."""
        if at < self.end:
            known = self.end - at
            at = self.end
            skip += known
            length -= known
        if length <= 0:
            return 0
        ring = self._ring
        if ring is None:
            ring = self._ring = _new_ring(self.capacity, self.start)
        if isinstance(payload, int):
            receiver = _receivers.get(payload >> _HANDLE_BITS)
            if receiver is None:
                raise ValueError("a payload handle of a receiver that is gone")
            placed: int = lib.us_ring_place_run(ring, at, receiver, payload, skip, length)
        else:
            view = ffi.from_buffer("uint8_t[]", payload)
            if skip < 0 or skip + length > len(view):
                raise ValueError(f"[{skip}, {skip + length}) is not within a payload of {len(view)}")
            placed = lib.us_ring_place(ring, at, view, skip, length)
        if placed < 0:
            raise MemoryError if placed == -errno.ENOMEM else ValueError("a payload handle of an earlier batch")
        self._block_count = placed & 0xFFFF
        placed >>= 16
        self.end += placed
        return placed

    def views(self, n: int) -> list[memoryview]:
        n = min(n, self.end - self.start)
        return _views(self._ring, self.start, n) if n > 0 else []

    def peek(self, n: int, offset: int = 0) -> bytes:
        at = self.start + offset
        n = min(n, self.end - at)
        return b"".join(_views(self._ring, at, n)) if n > 0 else b""

    def skip(self, n: int) -> int:
        n = max(0, min(n, self.end - self.start))
        if n:
            lib.us_ring_release(self._ring, self.start + n)
            self.start += n
        return n

    def read(self, n: int) -> bytes:
        if n <= 0 or self.start == self.end:
            return b""
        spans = ffi.new("struct us_span[2]")
        taken: int = lib.us_ring_take(self._ring, n, spans)
        self.start += taken
        return b"".join([ffi.buffer(span.bytes, span.length)[:] for span in spans if span.length])

    def read_into(self, buffer: object) -> int:
        if self.start == self.end:
            return 0
        view = ffi.from_buffer("uint8_t[]", buffer, require_writable=True)
        done: int = lib.us_ring_read(self._ring, view, len(view))
        self.start += done
        return done

    def blocks(self) -> list[tuple[int, int]]:
        if not self._block_count:
            return []
        ring = self._ring
        return [(block.start, block.end) for block in ring.ranges[0 : ring.range_count]]

    def resize(self, capacity: int) -> None:
        self.capacity = capacity
        if self._ring is not None:
            lib.us_ring_resize(self._ring, capacity)

    def trim(self) -> None:
        if self._ring is not None and self.start == self.end and not self._block_count:
            self._ring = None


class NativeRings(RingMaker):
    """Rings in C, for a stack whose device receives through this module."""

    def send_ring(self, capacity: int) -> SendRing:
        return NativeSendRing(capacity)

    def receive_ring(self, capacity: int) -> ReceiveRing:
        return NativeReceiveRing(capacity)
