"""The scoreboard: what is in flight, what arrived, what is lost, what to send again.

The facade over :mod:`sent` (records), :mod:`rack` (loss by time) and :mod:`rate` (delivery rates). It
speaks of sequence offsets, bytes and ns only. The order of calls for one ACK::

    result = board.acked(una, blocks, now)          # always
    if not result.sacked and not result.acked and is_duplicate and not board.enable_sack:
        board.dupack(now)
    lost = board.detect_losses(now, srtt, min_rtt)  # may be left out while board.is_clean
    while (lost := board.next_lost()) and cwnd allows: board.resent(...)

RFC 2018 (SACK), 2883 (D-SACK), 6582 (NewReno), 6675 (pipe), 8985 (RACK-TLP).
"""

from __future__ import annotations

from typing import Final

from ustack.recovery.rack import TIMEOUT_MIN, Rack
from ustack.recovery.rate import DeliveryRate
from ustack.recovery.sent import Sent, SentList

DUPTHRESH: Final = 3
"""RFC 5681, tcp_reordering: segments sacked above a hole that make it a loss."""
MAX_REORDERING: Final = 300
"""tcp_max_reordering, segments."""


class AckResult:
    """What one call of :meth:`Scoreboard.acked` found. One object per scoreboard, filled anew each time."""

    def __init__(self) -> None:
        self.acked: int = 0
        """Bytes newly acknowledged cumulatively (sacked before or not)."""
        self.sacked: int = 0
        """Bytes newly sacked, above ``una``."""
        self.delivered: int = 0
        """Bytes that this ACK says have arrived, and no ACK before; a D-SACK's bytes count too, as in Linux."""
        self.rtt: int = -1
        """Of the first record acknowledged (or else sacked) that was never resent; -1: none (Karn)."""
        self.newest_rtt: int = -1
        """Of the newest such record: for congestion control and min_rtt."""
        self.newest_sent_at: int = -1
        """When the newest record that this ACK delivers was last sent; -1: none."""
        self.dsack: bool = False
        """The ACK reports a duplicate (RFC 2883): [dsack_start, dsack_end)."""
        self.dsack_start: int = 0
        self.dsack_end: int = 0
        self.reordered: bool = False
        """A hole was filled that had never been resent."""
        self.spurious: bool = False
        """A resend was answered sooner than it can have been: the original had arrived."""
        self.resent_acked: bool = False
        """Resent data was acknowledged: nothing is to be measured (Karn)."""
        self.original_start: int = -1
        """Lowest start of data delivered by this ACK that was never resent, -1: none (F-RTO compares it)."""
        self.delivery_rate: int = 0
        self.interval: int = 0
        self.prior_delivered: int = 0
        self.app_limited: bool = False
        self.prior_in_flight: int = 0
        self.any_new: bool = False
        """The ACK moved SND.UNA or sacked something new."""
        self._first_rtt: int = -1
        self._sack_rtt: int = -1

    def clear(self) -> None:
        """As new."""
        self.acked = 0
        self.sacked = 0
        self.delivered = 0
        self.rtt = -1
        self.newest_rtt = -1
        self.newest_sent_at = -1
        self.dsack = False
        self.reordered = False
        self.spurious = False
        self.resent_acked = False
        self.original_start = -1
        self._sack_rtt = -1


class Scoreboard:
    """All that is outstanding in [una, highest_sent)."""

    def __init__(self, una: int, mss: int = 1460) -> None:
        self.una: int = una
        self.highest_sent: int = una
        self.mss: int = mss
        """Segment size of what is sent from now on; the owner keeps it current."""
        self.enable_sack: bool = True
        self.in_recovery: bool = False
        """The owner sets it in fast recovery and after an RTO: RACK then waits for no reordering that was never seen."""
        self.tlp_end: int = -1
        """The owner's TailLossProbe.high_seq: a D-SACK that ends there is the probe's, no sign of reordering."""
        self.sacked_bytes: int = 0
        self.lost_bytes: int = 0
        """Lost and not yet delivered, resent or not."""
        self.retransmitted_bytes: int = 0
        """Resends in flight."""
        self.sacked_segs: int = 0
        self.reordering: int = DUPTHRESH
        """Segments; grows with the reordering seen."""
        self.reord_seen: int = 0
        self.min_rtt: int = 0
        """As last told to detect_losses."""
        self.rack_deadline: int = 0
        """Look for losses again then; 0: no need."""
        self.last_sent_at: int = 0
        # Counters
        self.total_lost: int = 0
        self.total_retrans: int = 0
        """Segments (tcpi_total_retrans)."""
        self.total_retrans_bytes: int = 0
        self.dsack_segs: int = 0
        self.illegal_blocks: int = 0
        self.renegings: int = 0
        self.sent_list: SentList = SentList()
        self.rack: Rack = Rack()
        self.rate: DeliveryRate = DeliveryRate()
        self.result: AckResult = AckResult()
        self._fack: int = una
        self._pending: int = 0
        self._hint: int = una

    # What is out there

    @property
    def in_flight(self) -> int:
        """Bytes believed to be in the network (RFC 6675 pipe): sent - sacked - lost + resent."""
        return self.highest_sent - self.una - self.sacked_bytes - self.lost_bytes + self.retransmitted_bytes

    @property
    def is_empty(self) -> bool:
        """Nothing is outstanding."""
        return self.una == self.highest_sent

    @property
    def is_clean(self) -> bool:
        """Nothing is sacked, lost or resent: an ACK that moves una needs no look for losses."""
        return self.sacked_bytes == 0 and self.lost_bytes == 0 and self.retransmitted_bytes == 0

    @property
    def delivered(self) -> int:
        """Bytes delivered so far, in the life of the connection."""
        return self.rate.delivered

    @property
    def oldest_sent_at(self) -> int:
        """When the record at SND.UNA was last sent: the RTO counts from there. 0 when nothing is outstanding."""
        record = self.sent_list.first()
        return 0 if record is None else record.sent_at

    @property
    def reneging(self) -> bool:
        """The record at SND.UNA is sacked, and yet not acknowledged: the peer threw it away (RFC 2018 section 8)."""
        record = self.sent_list.first()
        return record is not None and record.sacked

    # Sending

    def sent(self, start: int, end: int, now: int, app_limited: bool = False) -> None:
        """New data [start, end) leaves, start = highest_sent (SYN and FIN count one). ``app_limited``: and there is no more."""
        sent_list = self.sent_list
        last = sent_list.last()
        self.highest_sent = end
        self.last_sent_at = now
        if last is not None and last.sent_at == now and self._may_extend(last):
            last.end = end
        else:
            record = Sent(start, end, now, self.mss)
            self.rate.mark_sent(record, now, last is None)
            sent_list.append(record)
        if app_limited:
            self.mark_app_limited()

    def _may_extend(self, last: Sent) -> bool:
        # A short last segment ends a run: what follows starts a segment of its own.
        return (
            not last.sacked
            and not last.lost
            and not last.ever_resent
            and last.segment_size == self.mss
            and (last.end - last.start) % last.segment_size == 0
            and last.delivered == self.rate.delivered
            and last.app_limited == (self.rate.app_limited_until > 0)
        )

    def mark_app_limited(self) -> None:
        """The application has no more to send while the window is open: rate samples until then are its own."""
        self.rate.app_limited_until = max(self.rate.delivered + self.in_flight, 1)

    def resent(self, start: int, end: int, now: int) -> None:
        """[start, end) leaves again (lost, or as a probe). Sacked parts are passed over: never send those."""
        sent_list = self.sent_list
        records = sent_list.records
        self.last_sent_at = now
        index = sent_list.find(start)
        while index < len(records):
            record = records[index]
            if record.start >= end:
                break
            if record.sacked:
                index += 1
                continue
            if record.start < start:
                sent_list.split(index, start)
                index += 1
                record = records[index]
            if record.end > end:
                sent_list.split(index, end)
            self._mark_resent(record, now)
            if index > sent_list.head and _same_resend(records[index - 1], record):
                records[index - 1].end = record.end
                sent_list.remove(index)
            else:
                index += 1

    def _mark_resent(self, record: Sent, now: int) -> None:
        length = record.end - record.start
        if not record.resent:
            self.retransmitted_bytes += length
            if record.lost:
                self._pending -= length
        if record.linked:
            self.sent_list.unlink(record)
        record.resent = True
        record.ever_resent = True
        record.sent_at = now
        # What follows in the wire's order of segments starts at this record's own edge.
        self.rate.mark_sent(record, now, False)
        self.sent_list.link_newest(record)
        self.total_retrans += -(-length // record.segment_size)
        self.total_retrans_bytes += length

    def next_lost(self) -> tuple[int, int] | None:
        """The lowest range that is lost and not yet resent; None: nothing is. Amortised O(log n)."""
        if self._pending == 0:
            return None
        records = self.sent_list.records
        index = self.sent_list.find(self._hint)
        while index < len(records):
            record = records[index]
            if record.lost and not record.resent:
                self._hint = record.start
                return record.start, record.end
            index += 1
        return None

    # Acknowledgments

    def acked(self, una: int, blocks: list[tuple[int, int]], now: int, echo_at: int = -1) -> AckResult:
        """One ACK: SND.UNA becomes ``una`` (never back, never beyond highest_sent), ``blocks`` are its SACK blocks, unwrapped.

        ``echo_at``: the last instant (ns) that its TSecr can stand for, -1 without timestamps: tells a resend's
        answer from the original's. The result is the same object every time.
        """
        result = self.result
        result.clear()
        result.prior_in_flight = self.in_flight
        self.rate.start_ack()
        prior_fack = self._fack if self.sacked_bytes else self.una
        if blocks:
            self._take_blocks(blocks, una, now, echo_at)
        if una > self.una:
            self._advance(min(una, self.highest_sent), prior_fack, now, echo_at)
        if result._sack_rtt >= 0 and (result.rtt < 0 or result.resent_acked):
            result.rtt = result._sack_rtt
        elif result.resent_acked:
            result.rtt = -1
            result.newest_rtt = -1
        result.any_new = result.acked > 0 or result.sacked > 0
        self._measure_rate(now)
        return result

    def _measure_rate(self, now: int) -> None:
        result = self.result
        rate = self.rate
        rate.delivered += result.delivered
        rate.finish(result.delivered, now, self.min_rtt)
        result.delivery_rate = rate.rate
        result.interval = rate.interval
        result.app_limited = rate.app_limited
        result.prior_delivered = rate.prior_delivered
        if rate.prior_at >= 0:
            self.rack.adapt(rate.prior_delivered, rate.delivered)

    def _advance(self, una: int, prior_fack: int, now: int, echo_at: int) -> None:
        result = self.result
        sent_list = self.sent_list
        reno_acked = una - self.una
        result.acked = reno_acked
        lowest_original = -1
        while True:
            record = sent_list.first()
            if record is None or record.start >= una:
                break
            end = min(record.end, una)
            if not record.ever_resent and not record.sacked and lowest_original < 0:
                lowest_original = record.start
            self._account_acked(record, end, now, echo_at)
            if record.end <= una:
                sent_list.pop_first()
            else:
                record.start = una
        self.una = una
        if self._fack < una:
            self._fack = una
        if self._hint < una:
            self._hint = una
        if not self.enable_sack:
            self._eat_duplicates(reno_acked)
        elif lowest_original >= 0 and lowest_original < prior_fack:
            self._note_reordering(lowest_original, prior_fack)
        if lowest_original >= 0 and (result.original_start < 0 or lowest_original < result.original_start):
            result.original_start = lowest_original

    def _account_acked(self, record: Sent, end: int, now: int, echo_at: int) -> None:
        """[record.start, end) is acknowledged cumulatively."""
        result = self.result
        length = end - record.start
        if record.ever_resent:
            result.resent_acked = True
        if record.sacked:
            self.sacked_bytes -= length
            segs = record.segs if end == record.end else min(length // record.segment_size, record.segs - 1)
            record.segs -= segs
            self.sacked_segs -= segs
            return
        self._uncount(record, length)
        if not record.ever_resent:
            rtt = now - record.sent_at
            if result.rtt < 0:
                result.rtt = rtt
            result.newest_rtt = rtt
        self._deliver(record, end, length, now, echo_at)

    def _deliver(self, record: Sent, end: int, length: int, now: int, echo_at: int) -> None:
        result = self.result
        result.delivered += length
        if record.sent_at > result.newest_sent_at:
            result.newest_sent_at = record.sent_at
        self.rate.mark_delivered(record, end)
        if not self.rack.deliver(record, end, now, self.min_rtt, echo_at):
            result.spurious = True

    def _uncount(self, record: Sent, length: int) -> None:
        """``length`` bytes of an unsacked record leave the counts of lost and resent."""
        if record.resent:
            self.retransmitted_bytes -= length
            if record.lost:
                self.lost_bytes -= length
        elif record.lost:
            self.lost_bytes -= length
            self._pending -= length

    # SACK

    def _take_blocks(self, blocks: list[tuple[int, int]], una: int, now: int, echo_at: int) -> None:
        self._look_for_dsack(blocks, una)
        if len(blocks) > 1:
            blocks = sorted(blocks)
        lowest = -1
        for start, end in blocks:
            if end <= start or end > self.highest_sent:
                self.illegal_blocks += 1
                continue
            if end <= una or end <= self.una:
                continue
            found = self._take_block(max(start, self.una), end, now, echo_at)
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
        elif end > una and end - start > 0 and start >= self.una:
            # Straddles the acknowledgment: no duplicate report, an odd but honest block.
            return
        size = max(self.mss, 1)
        segs = -(-(end - start) // size)
        self.dsack_segs += segs
        if self.dsack_segs > self.total_retrans:
            return  # duplicated by the network, or a lie: we never sent it twice
        result = self.result
        result.dsack = True
        result.dsack_start = start
        result.dsack_end = end
        result.delivered += min(end - start, segs * size)
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
            if not record.ever_resent and lowest < 0 and low < self._fack:
                lowest = low
            self._account_sacked(record, low, high, now, echo_at)
            index = self._cut_sacked(index, low, high)
        return lowest

    def _account_sacked(self, record: Sent, low: int, high: int, now: int, echo_at: int) -> None:
        result = self.result
        length = high - low
        self._uncount(record, length)
        self.sacked_bytes += length
        result.sacked += length
        if high > self._fack:
            self._fack = high
        if not record.ever_resent:
            rtt = now - record.sent_at
            if result._sack_rtt < 0:
                result._sack_rtt = rtt
            result.newest_rtt = rtt
            if result.original_start < 0 or low < result.original_start:
                result.original_start = low
        self._deliver(record, high, length, now, echo_at)

    def _cut_sacked(self, index: int, low: int, high: int) -> int:
        """Make [low, high) of the record at ``index`` sacked, grown together with sacked neighbours. The index after it."""
        sent_list = self.sent_list
        records = sent_list.records
        record = records[index]
        segs = -(-(high - low) // record.segment_size)
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
        """Data at ``low`` came after data up to ``fack``, and had never been resent (Linux's tcp_check_sack_reordering)."""
        if fack <= low:
            return
        self.result.reordered = True
        self.reord_seen += 1
        segs = -(-(fack - low) // max(self.mss, 1))
        if segs > self.reordering:
            self.reordering = min(segs, MAX_REORDERING)

    # Without SACK (RFC 6582)

    def dupack(self, now: int) -> int:
        """A duplicate ACK from a peer without SACK: one more segment has left the network. Bytes counted as delivered."""
        size = self.mss
        most = self.highest_sent - self.una - max(self.lost_bytes, size)
        grown = min(self.sacked_bytes + size, max(most, 0)) - self.sacked_bytes
        self.sacked_segs += 1
        if grown <= 0:
            return 0
        self.sacked_bytes += grown
        self.rate.delivered += grown
        self.rate.delivered_at = now
        return grown

    def _eat_duplicates(self, acked: int) -> None:
        """A cumulative ACK without SACK: one segment filled the hole, the rest were the duplicates counted before."""
        result = self.result
        duplicates = self.sacked_bytes
        if duplicates == 0:
            self.sacked_segs = 0
            return
        result.delivered = max(acked - duplicates, min(self.mss, acked))
        self.sacked_bytes = max(duplicates - max(acked - self.mss, 0), 0)
        self.sacked_bytes = min(self.sacked_bytes, max(self.highest_sent - self.una - self.lost_bytes, 0))
        self.sacked_segs = -(-self.sacked_bytes // self.mss)

    def on_partial_ack(self) -> int:
        """The segment at SND.UNA is lost too (RFC 6582 section 3.2): marks it. Bytes newly lost."""
        record = self.sent_list.first()
        if record is None or record.sacked or (record.lost and not record.resent):
            return 0
        if record.end - record.start > record.segment_size:
            self.sent_list.split(self.sent_list.head, record.start + record.segment_size)
        before = self.total_lost
        self._mark_lost(record)
        return self.total_lost - before

    def _newreno(self) -> int:
        if self.in_recovery:
            if self.result.acked == 0:
                return 0
        elif self.sacked_segs < self.reordering:
            return 0
        record = self.sent_list.first()
        if record is None or record.lost:
            return 0
        return self.on_partial_ack()

    # Losses

    def detect_losses(self, now: int, srtt: int, min_rtt: int) -> int:
        """Mark what is lost by now; the bytes newly marked. Sets ``rack_deadline`` when time alone may tell more.

        Call after ``acked`` and when ``rack_deadline`` has come. ``min_rtt`` guards against ambiguous resends.
        """
        self.min_rtt = min_rtt
        if not self.enable_sack:
            return self._newreno()
        rack = self.rack
        if not rack.advanced and (self.rack_deadline == 0 or now < self.rack_deadline):
            return 0
        rack.advanced = False
        self.rack_deadline = 0
        before = self.total_lost
        patience = rack.rtt + self._reo_wnd(srtt)
        longest = 0
        record = self.sent_list.oldest
        while record is not None and rack.sent_before_newest(record):
            newer = record.newer
            remaining = record.sent_at + patience - now
            if remaining <= 0:
                self._mark_lost(record)
            elif remaining > longest:
                longest = remaining
            record = newer
        if longest > 0:
            self.rack_deadline = now + longest + TIMEOUT_MIN
        return self.total_lost - before

    def _reo_wnd(self, srtt: int) -> int:
        if self.reord_seen == 0 and (self.in_recovery or self.sacked_segs >= self.reordering):
            return 0
        return self.rack.reo_wnd(srtt, self.min_rtt)

    def _mark_lost(self, record: Sent) -> None:
        """Unsacked, and not already lost without a resend."""
        length = record.end - record.start
        if record.linked:
            self.sent_list.unlink(record)
        if record.resent:
            record.resent = False
            self.retransmitted_bytes -= length
        if not record.lost:
            record.lost = True
            self.lost_bytes += length
        self._pending += length
        self.total_lost += length
        if record.start < self._hint:
            self._hint = record.start

    def mark_all_lost(self, now: int = -1) -> int:
        """The RTO fired: all that is unsacked is lost; the bytes newly lost.

        With ``now``, what left less than an RTT ago (beyond the first record) is spared, as in Linux.
        If the first record is sacked the peer has reneged: all SACKs are forgotten (RFC 2018 section 8).
        """
        sent_list = self.sent_list
        before = self.total_lost
        if not self.enable_sack:
            self.sacked_bytes = 0
            self.sacked_segs = 0
        elif self.reneging:
            self._forget_sacks()
            now = -1
        first = sent_list.first()
        for record in sent_list.live():
            if record.sacked or (record.lost and not record.resent):
                continue
            if now >= 0 and record is not first and record.sent_at + self.rack.rtt > now:
                continue
            self._mark_lost(record)
        self._merge_lost()
        self.rack_deadline = 0
        return self.total_lost - before

    def _forget_sacks(self) -> None:
        self.renegings += 1
        for record in self.sent_list.live():
            if record.sacked:
                record.sacked = False
                record.segs = 0
        self.sacked_bytes = 0
        self.sacked_segs = 0
        self._fack = self.una

    def _merge_lost(self) -> None:
        """Adjoining lost records become one, where nothing tells them apart."""
        sent_list = self.sent_list
        merged: list[Sent] = []
        last: Sent | None = None
        for record in sent_list.live():
            if last is not None and _same_loss(last, record):
                last.end = record.end
            else:
                merged.append(record)
                last = record
        sent_list.records = merged
        sent_list.head = 0

    def forget_losses(self) -> None:
        """The episode was spurious (undo): nothing is lost after all. Resends stay in flight, and count."""
        for record in self.sent_list.live():
            record.lost = False
        self.lost_bytes = 0
        self._pending = 0
        self.sent_list.relink()

    def on_recovered(self) -> None:
        """A recovery is over: RACK's patience with reordering wears off by one."""
        if self.rack.reo_persist > 0:
            self.rack.reo_persist -= 1


def _same_resend(left: Sent, right: Sent) -> bool:
    """Two adjoining resends of one instant can be one record."""
    return (
        left.resent
        and right.resent
        and not left.sacked
        and left.sent_at == right.sent_at
        and left.lost == right.lost
        and left.segment_size == right.segment_size
        and (left.end - left.start) % left.segment_size == 0
        and left.delivered == right.delivered
        and left.first_sent_at == right.first_sent_at
        and left.app_limited == right.app_limited
        and left.end == right.start
    )


def _same_loss(left: Sent, right: Sent) -> bool:
    """Two adjoining lost records, neither resent since, can be one."""
    return (
        left.lost
        and right.lost
        and not left.resent
        and not right.resent
        and left.ever_resent == right.ever_resent
        and left.segment_size == right.segment_size
        and (left.end - left.start) % left.segment_size == 0
        and left.sent_at == right.sent_at
    )
