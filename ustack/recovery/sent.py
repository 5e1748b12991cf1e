"""What is sent and not yet acknowledged: records of runs, in sequence order and in time order.

A record covers one run of sent bytes, whatever its length, and splits only where a SACK, a resend or
an acknowledgment says so. Two orders hold the same records: a list by sequence (found by bisection)
and a doubly linked list by time of last transmission, as Linux's ``tsorted_sent_queue``: RACK walks
that one from its oldest end. Records that are sacked, or lost and not yet resent, are not in it.
"""

from __future__ import annotations

from heapq import heappush
from typing import Final


class Sent:
    """[start, end) was sent, last at ``sent_at`` (ns)."""

    def __init__(self, start: int, end: int, sent_at: int, segment_size: int) -> None:
        self.start: int = start
        self.end: int = end
        self.sent_at: int = sent_at
        """Of the last transmission."""
        self.segment_size: int = segment_size
        """The run left in segments of this many bytes: only whole ones are sacked or lost."""
        self.segs: int = 0
        """Wire segments; kept only while sacked."""
        self.sacked: bool = False
        self.lost: bool = False
        self.resent: bool = False
        """A resend is in flight."""
        self.ever_resent: bool = False
        """Karn: no RTT from this one, ever."""
        self.linked: bool = False
        """In the list by time."""
        # For delivery rates: what was known when it left (Linux's skb->tx).
        self.app_limited: bool = False
        self.delivered: int = 0
        self.delivered_at: int = 0
        self.first_sent_at: int = 0
        # Neighbours in the list by time.
        self.older: Sent | None = None
        self.newer: Sent | None = None


def segments(length: int, size: int) -> int:
    """Wire segments of ``length`` bytes that leave in segments of ``size``."""
    return 1 if length <= size else -(-length // size)


def segments_of(record: Sent) -> int:
    """Wire segments of ``record``. What a record that is sacked has merged with is counted in ``segs`` instead."""
    return record.segs if record.sacked else segments(record.end - record.start, record.segment_size)


_GONE: Final = Sent(0, 0, 0, 1)
"""Stands where a popped record stood, so that its memory goes at once; never changed."""


class SentList:
    """Both orders. Records are disjoint, ascending and adjoining: they cover [SND.UNA, SND.NXT)."""

    def __init__(self) -> None:
        self.records: list[Sent] = []
        self.head: int = 0
        """Index of the first live record: popping moves it, and the list is compacted now and then."""
        self.oldest: Sent | None = None
        self.newest: Sent | None = None
        self.overtaken: Sent | None = None
        """RACK knows of this one and all older ones that something newer was delivered; None: of none."""
        self.lost_starts: list[int] = []
        """A heap: every record that is lost and not resent begins at one of these, or holds SND.UNA and began at one.
        Entries that name no such record any more are passed over."""

    def __len__(self) -> int:
        return len(self.records) - self.head

    def live(self) -> list[Sent]:
        """A copy, in sequence order."""
        return self.records[self.head :]

    def first(self) -> Sent | None:
        """The record at SND.UNA; None when nothing is outstanding."""
        if self.head < len(self.records):
            return self.records[self.head]
        return None

    def last(self) -> Sent | None:
        """The record that ends at SND.NXT; None when nothing is outstanding."""
        if self.head < len(self.records):
            return self.records[-1]
        return None

    def find(self, seq: int) -> int:
        """Index of the first record that ends above ``seq``; len(records) when there is none."""
        records = self.records
        low = self.head
        high = len(records)
        while low < high:
            middle = (low + high) >> 1
            if records[middle].end > seq:
                high = middle
            else:
                low = middle + 1
        return low

    def append(self, record: Sent) -> None:
        """New data: last in both orders."""
        self.records.append(record)
        self.link_newest(record)

    def pop_first(self) -> None:
        """The first record is acknowledged."""
        head = self.head
        record = self.records[head]
        if record.linked:
            self.unlink(record)
        self.records[head] = _GONE
        head += 1
        if head == len(self.records):
            self.records.clear()
            head = 0
        elif head >= 64 and head * 2 >= len(self.records):
            del self.records[:head]
            head = 0
        self.head = head

    def remove(self, index: int) -> None:
        """A record whose range its neighbour took over."""
        record = self.records[index]
        if record.linked:
            self.unlink(record)
        del self.records[index]

    def split(self, index: int, at: int) -> None:
        """Two records of the one at ``index``: [start, at) stays there, [at, end) follows it."""
        record = self.records[index]
        right = Sent(at, record.end, record.sent_at, record.segment_size)
        right.sacked = record.sacked
        right.lost = record.lost
        right.resent = record.resent
        right.ever_resent = record.ever_resent
        right.app_limited = record.app_limited
        right.delivered = record.delivered
        right.delivered_at = record.delivered_at
        right.first_sent_at = record.first_sent_at
        record.end = at
        self.records.insert(index + 1, right)
        self.note_lost(right)
        if record.linked:
            self._link_after(record, right)

    def link_newest(self, record: Sent) -> None:
        """``record`` was transmitted just now: last by time."""
        newest = self.newest
        record.older = newest
        record.newer = None
        record.linked = True
        if newest is None:
            self.oldest = record
        else:
            newest.newer = record
        self.newest = record

    def note_lost(self, record: Sent) -> None:
        """``record`` begins elsewhere now, or is lost now: if it waits for its resend, it must be found."""
        if record.lost and not record.resent:
            heappush(self.lost_starts, record.start)

    def unlink(self, record: Sent) -> None:
        """Out of the order by time: acknowledged, sacked or lost."""
        older = record.older
        newer = record.newer
        if self.overtaken is record:
            self.overtaken = older
        if older is None:
            self.oldest = newer
        else:
            older.newer = newer
        if newer is None:
            self.newest = older
        else:
            newer.older = older
        record.older = None
        record.newer = None
        record.linked = False

    def _link_after(self, record: Sent, right: Sent) -> None:
        newer = record.newer
        right.older = record
        right.newer = newer
        right.linked = True
        record.newer = right
        if newer is None:
            self.newest = right
        else:
            newer.older = right

    def relink(self) -> None:
        """Build the order by time anew, from every record that is in flight (after an undo; rare)."""
        record = self.oldest
        while record is not None:
            newer = record.newer
            record.older = record.newer = None
            record.linked = False
            record = newer
        self.oldest = self.newest = self.overtaken = None
        in_flight = [r for r in self.records[self.head :] if not r.sacked and not (r.lost and not r.resent)]
        in_flight.sort(key=_sent_order)
        for record in in_flight:
            self.link_newest(record)


def _sent_order(record: Sent) -> tuple[int, int]:
    return record.sent_at, record.end
