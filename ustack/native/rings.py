"""The rings in C. Their readable twins, with the same tests, are in :mod:`ustack.ring`."""

import errno
from typing import Any, Final

from ustack.memory import PAGE, UNLIMITED, Memory
from ustack.native.core import ffi, lib
from ustack.native.receiver import Landing, landing_of
from ustack.ring import MAX_RANGES, REFUSED, ReceiveRing, RingMaker, SendRing

_IS_LATE: Final = 0x8000  # in the result of us_ring_place(): native/place.c
_RANGES_MASK: Final = 0x7FFF


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


class NativeMemory(Memory):
    """The account in C (``native/pool.c``)."""

    def __init__(self) -> None:
        super().__init__()
        core = lib.us_pool_new()
        if not core:
            raise MemoryError
        self.core: Any = ffi.gc(core, lib.us_pool_release)

    def limit(self, tcp_mem: tuple[int, int, int]) -> None:
        super().limit(tcp_mem)
        core = self.core
        core.low, core.pressure, core.high = [min(pages, UNLIMITED) * PAGE for pages in tcp_mem]

    def used(self) -> int:
        used: int = self.core.used
        return used

    def refresh(self) -> None:
        core = self.core
        self.under_pressure = bool(core.pressed)
        self.pressures = core.pressures

    def spend(self, budget: int) -> None:
        self.core.budget = budget


def _new_ring(account: Memory, capacity: int, at: int) -> Any:
    """NULL without memory."""
    pool = account.core if isinstance(account, NativeMemory) else ffi.NULL
    ring = lib.us_ring_new(pool, capacity, at, MAX_RANGES)
    return ffi.gc(ring, lib.us_ring_free) if ring else None


class NativeSendRing(SendRing):
    """A SendRing in C; ``address`` is where ``send`` finds it."""

    def __init__(self, capacity: int, at: int = 0, account: Memory | None = None) -> None:
        super().__init__(capacity, at, account)
        self._ring: Any = None
        self.address = 0

    def _open(self) -> Any:
        self._ring = _new_ring(self.account, self.capacity, self.start)
        if self._ring is None:
            raise MemoryError
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

    def __init__(self, capacity: int, at: int = 0, account: Memory | None = None) -> None:
        super().__init__(capacity, at, account)
        self._ring: Any = None
        self._block_count = 0
        self._landing: Landing | None = None
        """Where text of ours still lies; what happens there first is that it is copied."""

    def settle(self) -> None:
        """Copies what was put off: the batch ends."""
        self._landing = None
        if self._ring is not None:
            lib.us_ring_settle(self._ring)

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
            ring = self._ring = _new_ring(self.account, self.capacity, self.start)
            if ring is None:
                return REFUSED
        if isinstance(payload, int):
            landing = landing_of(payload)
            placed: int = lib.us_ring_place_run(ring, at, landing.core, payload, skip, length)
            if placed > 0 and placed & _IS_LATE and self._landing is not landing:
                self._landing = landing
                landing.late.append(self)
        else:
            view = ffi.from_buffer("uint8_t[]", payload)
            if skip < 0 or skip + length > len(view):
                raise ValueError(f"[{skip}, {skip + length}) is not within a payload of {len(view)}")
            placed = lib.us_ring_place(ring, at, view, skip, length)
        if placed < 0:
            if placed == -errno.EINVAL:
                raise ValueError("a payload handle of an earlier batch")
            return REFUSED
        self._block_count = placed & _RANGES_MASK
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

    def has_gap(self) -> bool:
        return self._block_count > 0

    def top(self) -> int:
        if not self._block_count:
            return self.end
        end: int = self._ring.ranges[self._block_count - 1].end
        return end

    def first_blocks(self, most: int) -> list[tuple[int, int]]:
        count = min(most, self._block_count)
        if not count:
            return []
        return [(block.start, block.end) for block in self._ring.ranges[0:count]]

    def block_of(self, at: int) -> tuple[int, int] | None:
        found = self._block_above(at)
        return found if found is not None and found[0] <= at else None

    def overlap(self, low: int, high: int) -> tuple[int, int] | None:
        found = self._block_above(low)
        if found is None or found[0] >= high or low >= high:
            return None
        return max(low, found[0]), min(high, found[1])

    def _block_above(self, at: int) -> tuple[int, int] | None:
        """The first stretch beyond the in-order end that ends above ``at``."""
        if not self._block_count:
            return None
        index: int = lib.us_ring_find(self._ring, at)
        if index == self._block_count:
            return None
        block = self._ring.ranges[index]
        return block.start, block.end

    def resize(self, capacity: int) -> None:
        self.capacity = capacity
        if self._ring is not None:
            lib.us_ring_resize(self._ring, capacity)

    def trim(self) -> None:
        if self._ring is not None and self.start == self.end and not self._block_count:
            self._ring = None

    def prune(self) -> None:
        if self._ring is not None:
            lib.us_ring_prune(self._ring)
            self._block_count = 0


class NativeRings(RingMaker):
    """Rings in C, for a stack whose device receives through this module."""

    def __init__(self) -> None:
        super().__init__(NativeMemory())

    def send_ring(self, capacity: int) -> SendRing:
        return NativeSendRing(capacity, 0, self.memory)

    def receive_ring(self, capacity: int) -> ReceiveRing:
        return NativeReceiveRing(capacity, 0, self.memory)
