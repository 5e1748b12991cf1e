"""Selective acknowledgments (RFC 2018, RFC 2883): blocks into sacked records, at a cost of what is new in them."""

from __future__ import annotations

from ustack.recovery.flight import Flight
from ustack.recovery.sent import Sent, segments


class SackedFlight(Flight):
    """A flight with holes. Adjoining sacked records are one, so a block that was seen before costs one look-up."""

    def _take_blocks(self, blocks: list[tuple[int, int]], una: int, now: int, echo_at: int) -> None:
        self._look_for_dsack(blocks, una)
        if len(blocks) > 1:
            blocks = sorted(blocks)
        lowest = -1
        for start, end in blocks:
            if end <= start or end > self.highest_sent:
                self.illegal_blocks += 1
                continue
            if end <= una:
                continue
            if start <= una:
                # What is acknowledged is not sacked as well, and a block that begins at SND.UNA would have moved it.
                self.illegal_blocks += 1
                continue
            found = self._take_block(start, end, now, echo_at)
            if found >= 0 and (lowest < 0 or found < lowest):
                lowest = found
        if lowest >= 0:
            self._note_reordering(lowest, self._fack)

    def _look_for_dsack(self, blocks: list[tuple[int, int]], una: int) -> None:
        """RFC 2883 section 4: the first block lies below the acknowledgment, or inside the second block."""
        start, end = blocks[0]
        if end <= start or end > self.highest_sent:
            return
        if start >= una:
            if len(blocks) < 2:
                return
            outer_start, outer_end = blocks[1]
            if start < outer_start or end > outer_end:
                return
        size = max(self.mss, 1)
        segs = -(-(end - start) // size)
        self.dsack_segs += segs
        if self.dsack_segs > self.total_retrans:
            return  # duplicated by the network, or a lie: we never sent it twice
        if start < una < end:
            return  # straddles the acknowledgment: no duplicate of anything
        result = self.result
        result.dsack = True
        result.dsack_start = start
        result.dsack_end = end
        result.delivered += min(end - start, segs * size)
        self.delivered_segs += segs
        if self.reord_seen and end != self.tlp_end:
            self.rack.dsack_seen = True

    def _take_block(self, start: int, end: int, now: int, echo_at: int) -> int:
        """Sack the whole segments inside [start, end); the lowest filled hole that was never resent, or -1."""
        records = self.sent_list.records
        index = self.sent_list.find(start)
        lowest = -1
        while index < len(records):
            record = records[index]
            if record.start >= end:
                break
            if record.sacked:
                index += 1
                continue
            size = record.segment_size
            low = record.start
            high = record.end
            if start > low:
                low += -(-(start - low) // size) * size
            if end < high:
                high = record.start + (end - record.start) // size * size
            if low >= high:
                index += 1
                continue
            if not record.ever_resent and lowest < 0 and self.sacked_bytes and low < self._fack:
                lowest = low
            self._account_sacked(record, low, high, now, echo_at)
            index = self._cut_sacked(index, low, high)
        return lowest

    def _account_sacked(self, record: Sent, low: int, high: int, now: int, echo_at: int) -> None:
        result = self.result
        length = high - low
        segs = segments(length, record.segment_size)
        self._uncount(record, length, segs)
        if self.sacked_bytes == 0:
            self._fack = self.una  # stale: it is kept only while something is sacked
        self.sacked_bytes += length
        result.sacked += length
        self._fack = max(self._fack, high)
        if not record.ever_resent:
            rtt = now - record.sent_at
            if result.sack_rtt < 0:
                result.sack_rtt = rtt
            result.newest_rtt = rtt
            if result.original_start < 0 or low < result.original_start:
                result.original_start = low
        self._deliver(record, high, length, segs, now, echo_at)

    def _cut_sacked(self, index: int, low: int, high: int) -> int:
        """Make [low, high) of the record at ``index`` sacked, one with sacked neighbours; the index after it"""
        sent_list = self.sent_list
        records = sent_list.records
        record = records[index]
        segs = segments(high - low, record.segment_size)
        self.sacked_segs += segs
        if low == record.start and index > sent_list.head and records[index - 1].sacked:
            return self._grow_left(index, high, segs)
        if high == record.end and index + 1 < len(records) and records[index + 1].sacked:
            right = records[index + 1]
            right.start = low
            right.segs += segs
            right.ever_resent = right.ever_resent or record.ever_resent
            if low == record.start:
                sent_list.remove(index)
                return index + 1
            record.end = low
            return index + 2
        if low > record.start:
            sent_list.split(index, low)
            index += 1
            record = records[index]
        if high < record.end:
            sent_list.split(index, high)
        if record.linked:
            sent_list.unlink(record)
        record.sacked = True
        record.lost = False
        record.resent = False
        record.segs = segs
        return index + 1

    def _grow_left(self, index: int, high: int, segs: int) -> int:
        """The sacked record before ``index`` takes over up to ``high``."""
        sent_list = self.sent_list
        records = sent_list.records
        record = records[index]
        left = records[index - 1]
        left.end = high
        left.segs += segs
        left.ever_resent = left.ever_resent or record.ever_resent
        if high < record.end:
            record.start = high
            sent_list.note_lost(record)
            return index
        sent_list.remove(index)
        if index < len(records) and records[index].sacked:
            right = records[index]
            left.end = right.end
            left.segs += right.segs
            left.ever_resent = left.ever_resent or right.ever_resent
            sent_list.remove(index)
        return index

    def _note_reordering(self, low: int, fack: int) -> None:
        """Data at ``low``, never resent, came after data up to ``fack`` (Linux's tcp_check_sack_reordering)."""
        if fack <= low:
            return
        self.result.reordered = True
        self.reord_seen += 1
        segs = -(-(fack - low) // max(self.mss, 1))
        if segs > self.reordering:
            self.reordering = min(segs, self.max_reordering)

    def _deliver(self, record: Sent, end: int, length: int, segs: int, now: int, echo_at: int) -> None:
        result = self.result
        result.delivered += length
        self.delivered_segs += segs
        result.newest_sent_at = max(result.newest_sent_at, record.sent_at)
        self.rate.mark_delivered(record, end)
        if not self.rack.deliver(record, end, now, self.min_rtt, echo_at):
            result.spurious = True
