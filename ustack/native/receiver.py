"""Batches of frames: read, parsed and merged into runs by one call into C."""

import errno
from collections.abc import Sequence
from typing import Any, Final

from librt.strings import BytesWriter, write_i32_le

from ustack.native.core import MODE_TRUSTED, MODE_VNET, allocate, ffi, lib, strerror
from ustack.ring import ReceiveRing
from ustack.wire.frame import DESCRIPTOR, SMALL, Frame, frames_of

# 64 super-frames of 64 KiB, the depth at which a pass of Python over the whole batch costs nothing.
ARENA_SIZE: Final = 64 * (65536 + 64)
# Without offload frames are small, and packed tightly: 512 of 1500 bytes stay in the second-level cache.
FRAMES: Final = 512

LEAST_ARENA: Final = 65536 + 64
LEAST_FRAMES: Final = 16
"""What is made do with where memory is short."""

_HANDLE_BITS: Final = 16  # of a handle name the piece, the others the receiver
_PIECES_MAX: Final = 1 << _HANDLE_BITS

_receive_packets: Final[Any] = lib.us_receive_packets

APART: Final = ("empty", "flags", "ended", "sequence", "hops", "options", "ts_val", "ack", "crowded")


class Landing:
    """Where the batches of a Receiver land. Rings hold it as long as they have text there."""

    def __init__(self) -> None:
        self.core: Any = ffi.new("struct us_receiver *")
        self.owned: list[Any] = []
        self.deferred: list[ReceiveRing] = []
        """Rings whose copy of a text is deferred (native/deferred.c): an application that
        reads before the next batch takes it from the arena."""

    def settle(self) -> None:
        """The arena is needed: what is deferred is copied now."""
        for ring in self.deferred:
            ring.settle()
        self.deferred.clear()


# Landings by the high bits of their handles: a ring meets handles, not receivers. Entries die with the Receiver.
_landings: dict[int, Landing] = {}


def payload_bytes(payload: object, skip: int, length: int) -> bytes:
    """A copy of ``payload[skip:skip + length]``, whichever form a Segment's payload has."""
    if not isinstance(payload, int):
        return bytes(memoryview(payload)[skip : skip + length])  # type: ignore[arg-type]
    out = bytearray(length)
    if lib.us_payload_copy(landing_of(payload).core, payload, skip, length, ffi.from_buffer("uint8_t[]", out)) < 0:
        raise ValueError("a payload handle of an earlier batch, or too short")
    return bytes(out)


def landing_of(handle: int) -> Landing:
    """Where a payload lies. Raises ValueError for a handle whose Receiver is gone."""
    landing = _landings.get(handle >> _HANDLE_BITS)
    if landing is None:
        raise ValueError("a payload handle of a receiver that is gone")
    return landing


class Receiver:
    """Reads a batch of frames and makes runs of them.

    ``capacity`` is bytes of the arena, ``frames`` the most wire reads in one batch. Memory is taken at the
    first use. What a batch returned is valid until the next.
    """

    def __init__(self, capacity: int = ARENA_SIZE, frames: int = FRAMES) -> None:
        if not 0 < frames <= _PIECES_MAX:
            raise ValueError(f"frames must be 1..{_PIECES_MAX}")
        self._capacity = max(capacity, LEAST_ARENA)
        self._frames = frames
        self._arena = memoryview(b"")
        self._records = b""
        """Descriptors and short packets. C writes into these bytes: only copies of parts of them may leave."""
        self._smalls = 0
        """Where the short packets begin."""
        self._room = 0
        self._slots = 0
        self._landing = Landing()
        self._core = self._landing.core
        self._ahead = 0
        """Frames of a batch that ``wait`` has read and ``receive`` has not returned yet."""
        number = 1
        while number in _landings:
            number += 1
        if number >= 1 << (32 - _HANDLE_BITS):
            raise OSError(errno.EMFILE, "too many receivers")
        self._core.handle_base = number << _HANDLE_BITS
        _landings[number] = self._landing
        # Dies with this object (a compiled class has no weak references to watch it by).
        self._registration: Any = ffi.gc(ffi.cast("void *", self._core), lambda _core: _landings.pop(number, None))

    def _open(self) -> None:
        """Takes memory for whole batches, or for the least that a frame fits in, until there is more."""
        try:
            self._allocate(self._capacity, self._frames)
        except MemoryError:
            if not self._room:
                self._allocate(LEAST_ARENA, min(self._frames, LEAST_FRAMES))

    def _allocate(self, capacity: int, frames: int) -> None:
        """Takes memory for a batch of that size, in place of what there was."""
        arena = allocate("uint8_t[]", capacity)
        records = bytes(frames * (DESCRIPTOR.size + SMALL))
        first = ffi.from_buffer(records)
        pieces = allocate("struct us_piece[]", frames)
        tails = allocate("uint32_t[]", frames)
        core = self._core
        core.arena, core.pieces, core.tails = arena, pieces, tails
        core.descriptors = ffi.cast("struct us_descriptor *", first)
        core.smalls = ffi.cast("uint8_t *", first) + frames * DESCRIPTOR.size
        core.arena_size, core.slots = capacity, frames
        core.used = core.count = core.piece_count = 0
        self._landing.owned = [arena, first, pieces, tails]
        self._arena = memoryview(ffi.buffer(arena))
        self._records, self._smalls = records, frames * DESCRIPTOR.size
        self._room, self._slots = capacity, frames

    def receive(self, fd: int, vnet: bool, csum_trusted: bool = False) -> list[Frame]:
        """One batch: everything that ``fd`` (non-blocking) has, or as much as the arena holds.

        ``vnet``: frames stand behind a virtio header of 10 bytes. ``csum_trusted``: transport checksums are
        not verified. Raises OSError when the first read fails for another reason than emptiness.
        """
        count = self._ahead
        if count:
            self._ahead = 0
        else:
            self.end_batch()
            if self._room < self._capacity:
                self._open()
            count = lib.us_receive(self._core, fd, (MODE_VNET if vnet else 0) | (MODE_TRUSTED if csum_trusted else 0))
        if count > 0:
            return frames_of(self._records, count, self._smalls, self._arena)
        if count < 0:
            raise strerror(-count)
        return []

    def end_batch(self) -> None:
        """Nobody needs the batch any more but rings that put a copy off: they copy now."""
        if self._landing.deferred:
            self._landing.settle()

    def wait(self, fds: Sequence[int], timeout_ns: int, vnet: bool) -> int:
        """As :func:`wait`; when ``fds[0]`` becomes readable a batch is read at once, for ``receive`` to return.

        One crossing for both, and the interpreter is asked for once. To be called after ``end_batch``; what else
        uses this Receiver must wait meanwhile.
        """
        if self._ahead:
            return 1
        if self._room < self._capacity:
            self._open()
        mode = MODE_VNET if vnet else 0
        ready: int = lib.us_wait_and_receive(self._core, mode, fds, len(fds), timeout_ns)
        if ready < 0:
            raise strerror(-ready)
        self._ahead = ready >> 32
        return ready & 0xFFFFFFFF

    def receive_packets(self, packets: Sequence[bytes], csum_trusted: bool = False) -> list[Frame]:
        """One batch from packets in memory: the same parsing, the same runs."""
        if not packets:
            return []
        self.end_batch()
        lengths = BytesWriter()
        needed = 16 * len(packets)
        for packet in packets:
            needed += len(packet)
            write_i32_le(lengths, len(packet))
        if self._room < needed or self._slots < len(packets):
            if len(packets) > _PIECES_MAX:
                raise ValueError(f"more than {_PIECES_MAX} packets in one batch")
            self._allocate(max(needed, self._room, 16384), max(len(packets), self._slots, 16))
        mode = MODE_TRUSTED if csum_trusted else 0
        count: int = _receive_packets(self._core, b"".join(packets), lengths.getvalue(), len(packets), mode)
        if count < 0:
            raise strerror(-count)
        return frames_of(self._records, count, self._smalls, self._arena)

    def poison(self) -> None:
        """Overwrites the batch and kills its handles, so that a test sees who kept a view too long."""
        self.end_batch()
        if self._landing.owned:
            lib.us_poison(self._core)

    def counts(self) -> dict[str, int]:
        """Frames read, frames that joined a run, and for each reason how many did not."""
        core = self._core
        apart = {f"apart_{name}": int(count) for name, count in zip(APART, core.apart, strict=True)}
        return {"frames": int(core.frames), "merged": int(core.merged), **apart}
