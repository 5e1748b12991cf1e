"""Reassembly (RFC 791 section 3.2, RFC 8200 section 4.5), bounded as Linux bounds it.

Fragments may come in any order; repeats, and parts of what is here already, are ignored. Anything else that overlaps
is an attack or a wrapped identification, and costs the whole packet (RFC 5722; Linux does the same for IPv4).
"""

from __future__ import annotations

from collections import OrderedDict
from enum import IntEnum
from typing import Final

from ustack.ranges import RangeSet
from ustack.wire.address import is_v4
from ustack.wire.frame import Fragment
from ustack.wire.ipv4 import with_checksum

FRAGMENT_OVERHEAD: Final = 576
"""Bytes that a fragment counts beside its payload (Linux's SKB_TRUESIZE(0)): tiny ones are not free."""

# RFC 3168 section 5.3: which ECN fields were seen, one bit for each of the four values
_SAW_NOT_ECT: Final = 1
_SAW_CE: Final = 8


class Verdict(IntEnum):
    """What became of a fragment."""

    KEPT = 1
    WHOLE = 2
    """The packet is complete: see ``Reassembly.whole``."""
    DUPLICATE = 3
    OVERLAP = 4
    INCONSISTENT = 5
    """Two ends, or text beyond the end; or ECN fields that no path makes of one packet."""
    NO_MEMORY = 6


class Queue:
    """One packet being put together. ``first`` is its first fragment, once that is here."""

    def __init__(self, key: bytes, deadline: int) -> None:
        self.key = key
        self.deadline = deadline
        self.first: Fragment | None = None
        self.parts: dict[int, bytes] = {}  # by offset
        self.ranges = RangeSet()
        self.length = -1  # of the whole payload, once the last fragment is here
        self.memory = 0
        self.ecn_seen = 0


class Reassembly:
    """The packets of one IP version that are not whole yet. All have the same patience, so the oldest is due first."""

    def __init__(self) -> None:
        self.memory = 0
        self.whole = b""
        self._queues: OrderedDict[bytes, Queue] = OrderedDict()  # a plain one finds its first entry by a walk

    def __len__(self) -> int:
        return len(self._queues)

    def add(self, fragment: Fragment, limit: int, patience: int, now: int) -> Verdict:
        """Takes a fragment. ``limit`` is ipfrag_high_thresh, bytes; ``patience`` ns from the first fragment
        to arrive. After WHOLE, ``whole`` is the packet."""
        key = fragment.key[:32] + fragment.identification.to_bytes(4, "big")
        if is_v4(fragment.key):
            key += bytes([fragment.protocol])
        if self.memory > limit:
            return Verdict.NO_MEMORY
        queue = self._queues.get(key)
        if queue is None:
            queue = Queue(key, now + patience)
            self._queues[key] = queue
        try:
            verdict = self._put(queue, fragment)
        except MemoryError:
            self._forget(queue)
            return Verdict.NO_MEMORY
        if verdict in (Verdict.OVERLAP, Verdict.INCONSISTENT):
            self._forget(queue)
        elif verdict is Verdict.KEPT and queue.length == queue.ranges.total and queue.ranges.covered(0, queue.length):
            self._forget(queue)
            ecn = _joint_ecn(queue.ecn_seen)
            if ecn < 0:
                return Verdict.INCONSISTENT
            assert queue.first is not None
            payload = b"".join([queue.parts[at] for at in sorted(queue.parts)])
            if len(queue.first.header) - _uncounted(queue.first.header) + len(payload) > 65535:
                return Verdict.INCONSISTENT  # the first piece's header is longer than the last one's was
            self.whole = whole_packet(queue.first.header, payload, ecn)
            return Verdict.WHOLE
        return verdict

    def _put(self, queue: Queue, fragment: Fragment) -> Verdict:
        start = fragment.offset
        end = start + len(fragment.payload)
        ends_elsewhere = queue.length >= 0 and (end > queue.length or (not fragment.more and end != queue.length))
        ends_too_soon = not fragment.more and queue.ranges.top() > end
        if ends_elsewhere or ends_too_soon:
            return Verdict.INCONSISTENT
        ranges = queue.ranges
        if ranges.covered(start, end):
            return Verdict.DUPLICATE
        before = ranges.total
        ranges.add(start, end)
        if ranges.total - before != end - start:
            return Verdict.OVERLAP
        if not fragment.more:
            queue.length = end
        if start == 0:
            queue.first = fragment
        queue.parts[start] = fragment.payload
        queue.ecn_seen |= 1 << fragment.ecn
        cost = len(fragment.payload) + FRAGMENT_OVERHEAD
        queue.memory += cost
        self.memory += cost
        return Verdict.KEPT

    def _forget(self, queue: Queue) -> None:
        self.memory -= queue.memory
        del self._queues[queue.key]

    def next_deadline(self) -> int:
        """When the oldest packet's time is up, ns; 0 when none waits."""
        if len(self._queues) == 0:  # as almost always, and it is asked after every batch
            return 0
        for queue in self._queues.values():
            return queue.deadline
        return 0

    def take_expired(self, now: int) -> Queue | None:
        """A packet whose time is up, which is forgotten; None when there is none (any more)."""
        for queue in self._queues.values():
            if queue.deadline > now:
                return None
            self._forget(queue)
            return queue
        return None


def _joint_ecn(seen: int) -> int:
    """The ECN field of the whole (RFC 3168 section 5.3): -1 when the packet must be dropped, 0 to keep the first's."""
    if seen & _SAW_NOT_ECT and seen != _SAW_NOT_ECT:
        return -1
    return 3 if seen & _SAW_CE else 0


def _uncounted(header: bytes) -> int:
    """Bytes of the header that the length field does not count (RFC 8200 section 3)."""
    return 0 if header[0] >> 4 == 4 else 40


def whole_packet(header: bytes, payload: bytes, ecn: int) -> bytes:
    """The packet as it was before it was cut: lengths (and IPv4's checksum) made anew; ``ecn`` joins its ECN field."""
    length = (len(header) - _uncounted(header) + len(payload)).to_bytes(2, "big")
    if header[0] >> 4 == 4:
        return with_checksum(header[:1] + bytes([header[1] | ecn]) + length + header[4:]) + payload
    return header[:1] + bytes([header[1] | ecn << 4]) + header[2:4] + length + header[6:] + payload
