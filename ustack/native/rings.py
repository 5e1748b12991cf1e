"""The rings in C. Their readable twins, with the same tests, are in :mod:`ustack.ring`.

A short text by itself, which is what most requests and answers are, does not visit the C core: the ring holds the bytes
object that it came as. Only when more joins it is it copied into the ring's own memory. A long text that cannot change
(bytes, or a view of some) is not copied at all: C sends it from where it lies (``native/loan.c``), and the ring keeps
the object until all of it was acknowledged.
"""

import errno
from typing import Any, Final

from ustack.memory import PAGE, UNLIMITED, Memory
from ustack.native.core import ffi, lib
from ustack.native.loans import Loans
from ustack.native.receiver import Landing, landing_of
from ustack.ring import MAX_RANGES, REFUSED, ReceiveRing, RingMaker, SendRing

HELD_MOST: Final = 1024
"""A text of so many bytes, where nothing else is kept, is held as it came."""

LENT_LEAST: Final = 65536
"""A text of so many bytes that cannot change is sent from where it lies. (``SHORT_BELOW`` of native/loan.c.)"""

_write: Final[Any] = lib.us_ring_write
_borrow: Final[Any] = lib.us_ring_borrow
_release: Final[Any] = lib.us_ring_release
_place: Final[Any] = lib.us_ring_place
_place_run: Final[Any] = lib.us_ring_place_run
_read: Final[Any] = lib.us_ring_read
_restart: Final[Any] = lib.us_ring_restart
_from_buffer: Final[Any] = ffi.from_buffer

_IS_DEFERRED: Final = 0x8000  # in the result of us_ring_place(): native/place.c
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
        self._told = 0
        self._seen = 0
        self._low = UNLIMITED * PAGE

    def limit(self, tcp_mem: tuple[int, int, int]) -> None:
        super().limit(tcp_mem)
        core = self.core
        self._low = min(tcp_mem[0], UNLIMITED) * PAGE
        core.low, core.pressure, core.high = [min(pages, UNLIMITED) * PAGE for pages in tcp_mem]

    def used(self) -> int:
        used: int = self.core.used
        return used + self.held

    def hold(self) -> bool:
        if self.budget >= 0 or self._seen + self.held >= self._low:
            return False
        self.held += PAGE
        return True

    def tell_held(self) -> None:
        self.moved = True
        if self.held != self._told:
            self.core.held = self._told = self.held

    def refresh(self) -> None:
        if not self.moved:
            return
        self.moved = False
        core = self.core
        self._seen = core.used
        self.under_pressure = bool(core.pressed)
        self.pressures = core.pressures

    def spend(self, budget: int) -> None:
        super().spend(budget)
        self.core.budget = budget


def _new_ring(account: Memory, capacity: int, at: int) -> Any:
    """NULL without memory."""
    pool = account.core if isinstance(account, NativeMemory) else ffi.NULL
    ring = lib.us_ring_new(pool, capacity, at, MAX_RANGES)
    return ffi.gc(ring, lib.us_ring_free) if ring else None


class NativeSendRing(SendRing):
    """A SendRing in C; ``address`` is where ``send`` finds it."""

    _ring: Any = None
    held: bytes = b""
    """All that is kept, where that is one short text; the ring in C keeps nothing then."""
    _loans: Loans | None = None
    """What the ring in C sends from where it lies."""

    def __init__(self, capacity: int, at: int = 0, account: Memory | None = None) -> None:
        super().__init__(capacity, at, account)
        self.address = 0

    def _open(self) -> Any:
        self._ring = _new_ring(self.account, self.capacity, self.start)
        if self._ring is None:
            raise MemoryError
        self.address = int(ffi.cast("uintptr_t", self._ring))
        return self._ring

    def write(self, data: object) -> int:
        if isinstance(data, bytes):
            size = len(data)
            if self.start == self.end and 0 < size <= min(HELD_MOST, self.capacity) and self.account.hold():
                self.held = data
                self.end += size
                return size
            taken = self._lend(memoryview(data)) if size >= LENT_LEAST or self._loans is not None else 0
            taken = taken or self._append(data, size)
        else:
            view = _from_buffer("uint8_t[]", data)
            size = len(view)
            taken = self._lend(data) if size >= LENT_LEAST and isinstance(data, memoryview) else 0
            taken = taken or self._append(view, size)
        self.end += taken
        return taken

    def _lend(self, text: memoryview) -> int:
        """Keeps ``text`` without a copy, as much of it as fits. 0 where that cannot be."""
        if not isinstance(text.obj, bytes) or self.end - self.start >= self.capacity:
            return 0
        ring = self._ready()
        if self.held:
            short = self.held
            if not _borrow(ring, short, len(short)):
                return 0
            self.held = b""
            self.account.let_go()
            self._loans = Loans()
            self._loans.add(self.end, short)
        taken: int = _borrow(ring, _from_buffer("uint8_t[]", text), text.nbytes)
        if taken:
            if self._loans is None:
                self._loans = Loans()
            self._loans.add(self.end + taken, text.obj)
        return taken

    def _ready(self) -> Any:
        """The ring in C, where the next byte has its offset."""
        self.account.tell_held()
        ring = self._ring
        if ring is None:
            return self._open()
        if self.held or self.start == self.end:
            _restart(ring, self.start)
        return ring

    def _append(self, data: Any, size: int) -> int:
        """Into the ring's own memory, behind what was held until now."""
        if self.end - self.start >= self.capacity:
            return 0
        ring = self._ready()
        if self.held:
            if _write(ring, self.held, len(self.held)) < len(self.held):
                raise MemoryError
            self.held = b""
            self.account.let_go()
        taken: int = _write(ring, data, size)
        if taken < 0:
            raise MemoryError
        return taken

    def release(self, upto: int) -> None:
        if upto > self.start:
            if upto > self.end:
                raise ValueError(f"release({upto}) beyond the end {self.end}")
            if self.held:
                self.held = self.held[upto - self.start :]
                if not self.held:
                    self.account.let_go()
            else:
                _release(self._ring, upto)
                if self._loans is not None and self._loans.let_go(upto):
                    self._loans = None
            self.start = upto

    def __del__(self) -> None:
        if self._ring is not None:
            self.account.moved = True
        if self.held:
            self.account.let_go()

    def views(self, at: int, length: int) -> list[memoryview]:
        if at < self.start or length < 0 or at + length > self.end:
            raise ValueError(f"[{at}, {at + length}) is not within [{self.start}, {self.end})")
        if not length:
            return []
        if self.held:
            return [memoryview(self.held)[at - self.start : at - self.start + length]]
        if self._loans is None:
            return _views(self._ring, at, length)
        copied = bytearray(length)
        lib.us_ring_copy(self._ring, at, length, _from_buffer("uint8_t[]", copied))
        return [memoryview(copied)]

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

    _ring: Any = None
    _held: bytes = b""
    """All that is kept, where that is one short text; the ring in C keeps nothing then."""

    def __init__(self, capacity: int, at: int = 0, account: Memory | None = None) -> None:
        super().__init__(capacity, at, account)
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
        if length <= 0 or len(self._held) >= self.capacity:
            return 0
        if isinstance(payload, bytes) and 0 <= skip <= len(payload) - length and self._may_hold(at, length):
            self._held = payload[skip : skip + length]
            self.end += length
            return length
        if not self._open():
            return REFUSED
        ring = self._ring
        if isinstance(payload, int):
            landing = landing_of(payload)
            placed: int = _place_run(ring, at, landing.core, payload, skip, length)
            if placed > 0 and placed & _IS_DEFERRED and self._landing is not landing:
                self._landing = landing
                landing.deferred.append(self)
        else:
            view = _from_buffer("uint8_t[]", payload)
            if skip < 0 or skip + length > len(view):
                raise ValueError(f"[{skip}, {skip + length}) is not within a payload of {len(view)}")
            placed = _place(ring, at, view, skip, length)
        if placed < 0:
            if placed == -errno.EINVAL:
                raise ValueError("a payload handle of an earlier batch")
            return REFUSED
        self._block_count = placed & _RANGES_MASK
        placed >>= 16
        self.end += placed
        return placed

    def _may_hold(self, at: int, length: int) -> bool:
        """It would be all that is kept, and is short."""
        if at != self.start or at != self.end or self._block_count:
            return False
        return length <= min(HELD_MOST, self.capacity) and self.account.hold()

    def _open(self) -> bool:
        """Text is to go into the ring in C, behind what was held until now. False: there is no memory."""
        self.account.tell_held()
        if self._ring is None:
            self._ring = _new_ring(self.account, self.capacity, self.start)
            if self._ring is None:
                return False
        elif self._held or (self.start == self.end and not self._block_count):
            _restart(self._ring, self.start)
        if self._held:
            size = len(self._held)
            if _place(self._ring, self.start, self._held, 0, size) < 0:
                return False
            self._keep(b"")
        return True

    def _keep(self, rest: bytes) -> None:
        """So much of the text that was held is still there."""
        self._held = rest
        if not rest:
            self.account.let_go()

    def __del__(self) -> None:
        if self._ring is not None:
            self.account.moved = True
        if self._held:
            self.account.let_go()

    def views(self, n: int) -> list[memoryview]:
        n = min(n, self.end - self.start)
        if self._held:
            return [memoryview(self._held)[:n]] if n > 0 else []
        return _views(self._ring, self.start, n) if n > 0 else []

    def peek(self, n: int, offset: int = 0) -> bytes:
        if self._held:
            return self._held[offset : offset + max(n, 0)]
        at = self.start + offset
        n = min(n, self.end - at)
        return b"".join(_views(self._ring, at, n)) if n > 0 else b""

    def skip(self, n: int) -> int:
        n = max(0, min(n, self.end - self.start))
        if n:
            if self._held:
                self._keep(self._held[n:])
            else:
                _release(self._ring, self.start + n)
            self.start += n
        return n

    def read(self, n: int) -> bytes:
        if n <= 0 or self.start == self.end:
            return b""
        if self._held:
            data = self._held[:n]
            self._keep(self._held[n:])
            self.start += len(data)
            return data
        spans = ffi.new("struct us_span[2]")
        taken: int = lib.us_ring_take(self._ring, n, spans)
        self.start += taken
        return b"".join([ffi.buffer(span.bytes, span.length)[:] for span in spans if span.length])

    def read_into(self, buffer: object) -> int:
        if self.start == self.end:
            return 0
        view = _from_buffer("uint8_t[]", buffer, require_writable=True)
        if self._held:
            done = min(len(view), len(self._held))
            ffi.memmove(view, self._held, done)
            self._keep(self._held[done:])
        else:
            done = _read(self._ring, view, len(view))
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
