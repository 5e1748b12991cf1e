"""Windows of a byte stream, addressed by absolute offsets: the first byte of a stream is 0.

The base classes are the readable twins of ``native/ring.c`` and what runs where there is no C core;
``ustack.native`` overrides them. Both forms pass the same tests (``tests/test_ring.py``).
"""

from typing import Final

from mypy_extensions import mypyc_attr

from ustack.memory import Memory
from ustack.ranges import RangeSet

# Stretches beyond the in-order end that a receive ring keeps; the newest beyond that is refused. A peer that
# sends every second byte costs this many records and no more. (Linux bounds the same by the receive buffer.)
MAX_RANGES: Final = 1024

_FIRST_SIZE: Final = 4096  # bytes: the least that is allocated

REFUSED: Final = -1
"""``ReceiveRing.place``: there is no memory for the text, or it would be one stretch too many."""


class _Window:
    """Memory for a stretch ``[start, upto)`` of absolute offsets; grows by powers of two, never beyond need."""

    def __init__(self, account: Memory) -> None:
        self.memory = bytearray()
        self.base = 0
        self.account = account
        account.rings += 1

    def __del__(self) -> None:
        self.account.rings -= 1
        self.account.give(len(self.memory))

    def reserve(self, start: int, kept: int, upto: int, capacity: int, force: bool = False) -> bool:
        """Makes room for ``[start, upto)``, keeping the ``kept`` bytes from ``start`` on. False: no memory.

        ``force``: whatever tcp_mem says."""
        need = upto - start
        if kept == 0:
            self.base = start
        if need <= len(self.memory):
            return True
        size = _FIRST_SIZE
        while size < need:
            size *= 2
        if size > capacity >= need:
            size = capacity
        return self._move(start, kept, size, force)

    def _move(self, start: int, kept: int, size: int, force: bool) -> bool:
        if not self.account.take(size, len(self.memory), force):
            return False
        fresh = bytearray(size)
        at = 0
        for view in self.views(start, kept):
            fresh[at : at + len(view)] = view
            at += len(view)
        self.memory = fresh
        self.base = start
        return True

    def shrink(self, start: int, kept: int) -> None:
        """Gives back what ``kept`` bytes do not need."""
        size = _FIRST_SIZE if kept else 0
        while size < kept:
            size *= 2
        if size < len(self.memory):
            self._move(start, kept, size, True)

    def views(self, at: int, length: int) -> list[memoryview]:
        """Where ``[at, at + length)`` lies: at most two stretches."""
        if not length:
            return []
        whole = memoryview(self.memory)
        index = (at - self.base) % len(self.memory)
        first = min(length, len(self.memory) - index)
        if first == length:
            return [whole[index : index + length]]
        return [whole[index:], whole[: length - first]]

    def fill(self, at: int, data: memoryview) -> None:
        """Copies ``data`` to offset ``at``; there is room."""
        done = 0
        for view in self.views(at, len(data)):
            view[:] = data[done : done + len(view)]
            done += len(view)

    def drop(self) -> None:
        """Gives the memory back."""
        self.account.give(len(self.memory))
        self.memory = bytearray()


def bytes_view(data: object) -> memoryview:
    """Any bytes-like object as flat bytes; raises TypeError for what is none, BufferError for what has holes."""
    view = memoryview(data)  # type: ignore[arg-type]
    return view if view.ndim == 1 and view.format == "B" else view.cast("B")


@mypyc_attr(allow_interpreted_subclasses=True)
class SendRing:
    """What the application wrote and the peer has not acknowledged.

    ``start`` is the oldest kept offset, ``end`` one past the last written. Both only grow.
    """

    def __init__(self, capacity: int, at: int = 0, account: Memory | None = None) -> None:
        self.capacity = capacity
        self.start = at
        self.end = at
        self.account = account or Memory()
        self._window: _Window | None = None

    def write(self, data: object) -> int:
        """Copies as much of ``data`` as fits, and as tcp_mem allows, and returns how much that was.

        MemoryError when there is room, and no memory for any of it. Who has nothing in the ring may always write a
        little: nobody would wake him later."""
        view = bytes_view(data)
        taken = min(len(view), self.free())
        if taken <= 0:
            return 0
        if self._window is None:
            self._window = _Window(self.account)
        taken = self._room_for(taken)
        if taken <= 0:
            raise MemoryError
        self._window.fill(self.end, view[:taken])
        self.end += taken
        return taken

    def _room_for(self, length: int) -> int:
        """Makes room for as much of ``length`` as memory allows."""
        window = self._window
        assert window is not None
        used = self.end - self.start
        if window.reserve(self.start, used, self.end + length, self.capacity):
            return length
        if not window.memory:
            window.reserve(self.start, used, self.end + 1, self.capacity, True)
        return min(length, len(window.memory) - used)

    def free(self) -> int:
        """Bytes that ``write`` would take."""
        free = self.capacity - (self.end - self.start)
        return free if free > 0 else 0

    def release(self, upto: int) -> None:
        """Forgets what lies below ``upto``; ValueError beyond what was written."""
        if upto > self.end:
            raise ValueError(f"release({upto}) beyond the end {self.end}")
        self.start = max(self.start, upto)

    def views(self, at: int, length: int) -> list[memoryview]:
        """``[at, at + length)`` without a copy, in at most two parts; ValueError when not all of it is kept.

        What the views show is right until the bytes are released.
        """
        if at < self.start or length < 0 or at + length > self.end:
            raise ValueError(f"[{at}, {at + length}) is not within [{self.start}, {self.end})")
        return [] if self._window is None else self._window.views(at, length)

    def peek(self, at: int, length: int) -> bytes:
        """A copy of ``[at, at + length)``; ValueError when not all of it is kept."""
        return b"".join(self.views(at, length))

    def resize(self, capacity: int) -> None:
        """Another capacity; what is kept stays, even beyond it."""
        self.capacity = capacity

    def trim(self) -> None:
        """Gives the memory back when nothing is kept."""
        if self._window is not None and self.start == self.end:
            self._window.drop()


@mypyc_attr(allow_interpreted_subclasses=True)
class ReceiveRing:
    """What the peer sent and the application has not read.

    ``start`` is the next byte that the application reads, ``end`` the next in-order byte that is missing.
    Text beyond ``end`` is kept where it belongs; the first arrival of a byte wins, as in Linux.
    """

    def __init__(self, capacity: int, at: int = 0, account: Memory | None = None) -> None:
        self.capacity = capacity
        self.start = at
        self.end = at
        self.account = account or Memory()
        self._window: _Window | None = None
        self._beyond: RangeSet | None = None

    def place(self, at: int, payload: object, skip: int, length: int) -> int:
        """Puts ``payload[skip:skip + length]`` at offset ``at`` and returns how far ``end`` moved.

        What lies outside ``[end, start + capacity)`` is cut; a stretch that would be one more than ``MAX_RANGES`` is
        REFUSED, and so is what there is no memory for. ``payload`` is bytes-like (or, in the native form, a handle
        of this batch).
        """
        view = bytes_view(payload)
        if skip < 0 or length < 0 or skip + length > len(view):
            raise ValueError(f"[{skip}, {skip + length}) is not within a payload of {len(view)}")
        low = max(at, self.end)
        high = min(at + length, self.start + self.capacity)
        if low >= high:
            return 0
        if self._refuses(low, high):
            return REFUSED
        if self._window is None:
            self._window = _Window(self.account)
        top = self.top()
        if not self._window.reserve(self.start, top - self.start, max(high, top), self.capacity):
            return REFUSED
        self._fill_gaps(low, high, view[skip + low - at : skip + high - at])
        return self._advance(low, high)

    def _refuses(self, low: int, high: int) -> bool:
        """Whether ``[low, high)`` touches nothing and would be one range too many."""
        beyond = self._beyond
        if low == self.end or beyond is None or len(beyond) < MAX_RANGES:
            return False
        return not beyond.touches(low, high)

    def _fill_gaps(self, low: int, high: int, view: memoryview) -> None:
        """Copies what no range has yet; ``view`` is ``[low, high)``."""
        window = self._window
        assert window is not None
        at = low
        while at < high:
            here = None if self._beyond is None else self._beyond.overlap(at, high)
            if here is None:
                window.fill(at, view[at - low :])
                return
            if here[0] > at:
                window.fill(at, view[at - low : here[0] - low])
            at = here[1]

    def _advance(self, low: int, high: int) -> int:
        """Notes ``[low, high)`` as kept, and moves ``end`` over what is whole now."""
        if self._beyond is None:
            self._beyond = RangeSet()
        self._beyond.add(low, high)
        before = self.end
        self.end = self._beyond.first_gap_after(before)
        self._beyond.discard_below(self.end)
        return self.end - before

    def settle(self) -> None:
        """The memory that payloads came in is about to be used again: nothing of it is needed here."""

    def readable(self) -> int:
        """Bytes in order."""
        return self.end - self.start

    def views(self, n: int) -> list[memoryview]:
        """The next ``n`` in-order bytes (fewer when there are fewer), without a copy, in at most two parts."""
        n = min(n, self.end - self.start)
        return [] if self._window is None or n <= 0 else self._window.views(self.start, n)

    def peek(self, n: int, offset: int = 0) -> bytes:
        """A copy of up to ``n`` in-order bytes, ``offset`` bytes on."""
        return b"".join(self.views(offset + n))[offset:]

    def skip(self, n: int) -> int:
        """Gives up to ``n`` in-order bytes up unread, and returns how many."""
        n = max(0, min(n, self.end - self.start))
        self.start += n
        return n

    def read(self, n: int) -> bytes:
        """Up to ``n`` in-order bytes."""
        data = self.peek(n)
        self.start += len(data)
        return data

    def read_into(self, buffer: object) -> int:
        """Fills ``buffer`` as far as there are in-order bytes, and returns how far."""
        target = bytes_view(buffer)
        done = 0
        for view in self.views(len(target)):
            target[done : done + len(view)] = view
            done += len(view)
        self.start += done
        return done

    def blocks(self) -> list[tuple[int, int]]:
        """The stretches beyond ``end``, ascending. They may be a thousand: no arrival asks for all of them."""
        return self.first_blocks(MAX_RANGES)

    def has_gap(self) -> bool:
        """Something is kept beyond ``end``."""
        return self._beyond is not None and len(self._beyond) > 0

    def top(self) -> int:
        """One past the last byte that is kept: ``end`` without a gap."""
        return self.end if self._beyond is None else max(self.end, self._beyond.top())

    def first_blocks(self, most: int) -> list[tuple[int, int]]:
        """The lowest ``most`` of the stretches beyond ``end``, ascending."""
        return [] if self._beyond is None else self._beyond.first(most)

    def block_of(self, at: int) -> tuple[int, int] | None:
        """The stretch beyond ``end`` that holds the byte at ``at``, if one does; O(log n)."""
        return None if self._beyond is None else self._beyond.range_of(at)

    def overlap(self, low: int, high: int) -> tuple[int, int] | None:
        """The first part of ``[low, high)`` that is kept beyond ``end``, if there is one; O(log n)."""
        return None if self._beyond is None else self._beyond.overlap(low, high)

    def resize(self, capacity: int) -> None:
        """Another capacity; what is kept stays, even beyond it."""
        self.capacity = capacity

    def trim(self) -> None:
        """Gives the memory back when nothing is kept."""
        if self._window is not None and self.start == self.end and not self.has_gap():
            self._window.drop()
            self._beyond = None

    def prune(self) -> None:
        """Memory is short: text beyond ``end`` is given up (the peer has to send it again), and so is memory that the
        rest does not need."""
        self._beyond = None
        if self._window is not None:
            self._window.shrink(self.start, self.end - self.start)


@mypyc_attr(allow_interpreted_subclasses=True)
class RingMaker:
    """Where a stack gets its rings from; this one makes the Python form. ``memory`` is what they take together."""

    def __init__(self, memory: Memory | None = None) -> None:
        self.memory = memory or Memory()

    def send_ring(self, capacity: int) -> SendRing:
        """An empty send ring that starts at offset 0."""
        return SendRing(capacity, 0, self.memory)

    def receive_ring(self, capacity: int) -> ReceiveRing:
        """An empty receive ring that starts at offset 0."""
        return ReceiveRing(capacity, 0, self.memory)
