"""What is in flight: what is sent, resent, lost, and what of it to send again.

The lowest layer of :class:`ustack.recovery.scoreboard.Scoreboard`: it keeps the counts and marks the
records; what an acknowledgment means is in the layers above it. Bytes, sequence offsets and ns.

It counts twice: in bytes, and in wire segments. The congestion window is spent in segments, as Linux's: a short one
takes as much of it as a full one.
"""

from __future__ import annotations

from heapq import heappop
from typing import Final

from ustack.recovery.rack import Rack
from ustack.recovery.rate import DeliveryRate
from ustack.recovery.result import AckResult
from ustack.recovery.sent import Sent, SentList, segments, segments_of

DUPTHRESH: Final = 3
"""RFC 5681, tcp_reordering: segments sacked above a hole that make it a loss."""


MAX_REORDERING: Final = 300
"""tcp_max_reordering: how far ``reordering`` may grow."""


class Flight:
    """All that is outstanding in [una, highest_sent)."""

    def __init__(self, una: int, mss: int = 1460) -> None:
        self.una: int = una
        self.highest_sent: int = una
        self.mss: int = mss
        """Segment size of what is sent from now on; the owner keeps it current."""
        self.enable_sack: bool = True
        self.in_recovery: bool = False
        """The owner sets it in fast recovery and after an RTO: RACK then waits for no reordering never seen."""
        self.in_loss: bool = False
        """The owner sets it after an RTO: without SACK a partial ACK then shows no new loss."""
        self.tlp_end: int = -1
        """The owner's TailLossProbe.high_seq: a D-SACK that ends there is the probe's, no sign of reordering."""
        self.sacked_bytes: int = 0
        self.lost_bytes: int = 0
        """Lost and not yet delivered, resent or not."""
        self.retransmitted_bytes: int = 0
        """Resends in flight."""
        self.out_segs: int = 0
        """Wire segments of all that is outstanding (Linux's packets_out); so too the next three."""
        self.lost_segs: int = 0
        self.retrans_segs: int = 0
        self.sacked_segs: int = 0
        self.reordering: int = DUPTHRESH
        """Segments; grows with the reordering seen."""
        self.max_reordering: int = MAX_REORDERING
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
        self.delivered_segs: int = 0
        """SYN, FIN and each short segment are one (tcpi_delivered)."""
        self.dsack_segs: int = 0
        self.illegal_blocks: int = 0
        self.renegings: int = 0
        self.sent_list: SentList = SentList()
        self.rack: Rack = Rack()
        self.rate: DeliveryRate = DeliveryRate()
        self.result: AckResult = AckResult()
        self._fack: int = una
        self._doubtful: int = una
        """Below it a record may have been resent (Karn) though the flight looks clean: an undo took its marks."""
        self._pending: int = 0

    # What is out there

    @property
    def in_flight(self) -> int:
        """Bytes believed to be in the network (RFC 6675 pipe): sent - sacked - lost + resent."""
        return self.highest_sent - self.una - self.sacked_bytes - self.lost_bytes + self.retransmitted_bytes

    @property
    def segs_in_flight(self) -> int:
        """Wire segments believed to be in the network (Linux's tcp_packets_in_flight)."""
        return self.out_segs - self.sacked_segs - self.lost_segs + self.retrans_segs

    @property
    def is_empty(self) -> bool:
        """Nothing is outstanding."""
        return self.una == self.highest_sent

    @property
    def is_single_segment(self) -> bool:
        """No more than one segment is outstanding, however short it is."""
        record = self.sent_list.first()
        if record is None or record.end != self.highest_sent:
            return record is None
        return record.end - record.start <= record.segment_size

    @property
    def is_clean(self) -> bool:
        """Nothing is sacked, lost or resent: an ACK that moves una needs no look for losses."""
        return self.sacked_bytes == 0 and self.lost_bytes == 0 and self.retransmitted_bytes == 0

    @property
    def is_certain(self) -> bool:
        """Clean, and nothing of what is out was ever resent: whatever is acknowledged was sent once."""
        return self.is_clean and self.una >= self._doubtful

    @property
    def any_resent(self) -> bool:
        """A resend is out, or the record at SND.UNA was once resent (Linux's tcp_any_retrans_done)."""
        if self.retransmitted_bytes:
            return True
        record = self.sent_list.first()
        return record is not None and record.ever_resent

    @property
    def delivered(self) -> int:
        """Delivered so far, in the life of the connection: bytes, a short segment as many as a full one (Linux)."""
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
        """New data [start, end) leaves, start = highest_sent (SYN, FIN: one each); ``app_limited``: no more now."""
        sent_list = self.sent_list
        last = sent_list.last()
        self.highest_sent = end
        self.last_sent_at = now
        length = end - start
        self.out_segs += 1 if length <= self.mss else -(-length // self.mss)
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

    def last_segment(self) -> tuple[int, int]:
        """The last segment sent, for a tail loss probe to resend; (una, una) when nothing is outstanding."""
        record = self.sent_list.last()
        if record is None:
            return self.una, self.una
        size = record.segment_size
        return record.start + (record.end - record.start - 1) // size * size, record.end

    def mark_app_limited(self) -> None:
        """The application has no more to send while the window is open: rate samples until then are its own."""
        self.rate.app_limited_until = max(self.rate.delivered + self.segs_in_flight * self.mss, 1)

    def resent(self, start: int, end: int, now: int, probe: bool = False) -> None:
        """[start, end) leaves again, because it is lost. Sacked parts are passed over: never send those.

        ``probe``: because nothing was heard; as in Linux the flight does not grow by it (__tcp_retransmit_skb).
        """
        if probe:
            self._doubtful = self.highest_sent
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
                self._split(index, start)
                index += 1
                record = records[index]
            if record.end > end:
                self._split(index, end)
            self._mark_resent(record, now, probe)
            if index > sent_list.head and _same_resend(records[index - 1], record):
                records[index - 1].end = record.end
                sent_list.remove(index)
            else:
                index += 1

    def _mark_resent(self, record: Sent, now: int, probe: bool) -> None:
        length = record.end - record.start
        if record.segment_size != self.mss:
            self._cut_anew(record)
        segs = segments(length, self.mss)
        if not record.resent and not probe:
            self.retransmitted_bytes += length
            self.retrans_segs += segs
            if record.lost:
                self._pending -= length
            record.resent = True
        if record.linked:
            self.sent_list.unlink(record)
        record.ever_resent = True
        record.sent_at = now
        self.rate.mark_sent(record, now, False)
        self.sent_list.link_newest(record)
        self.total_retrans += segs

    def _cut_anew(self, record: Sent) -> None:
        """``record`` leaves in segments of ``mss`` from now on."""
        before = segments_of(record)
        record.segment_size = self.mss
        self._count_segs(record, segments_of(record) - before)

    def _split(self, index: int, at: int) -> None:
        """Two records of the one at ``index``; cut inside a segment, there is one segment more."""
        records = self.sent_list.records
        record = records[index]
        before = segments_of(record)
        self.sent_list.split(index, at)
        self._count_segs(record, segments_of(record) + segments_of(records[index + 1]) - before)

    def _count_segs(self, record: Sent, more: int) -> None:
        """``record``, which is not sacked, has ``more`` segments than before."""
        self.out_segs += more
        if record.lost:
            self.lost_segs += more
        if record.resent:
            self.retrans_segs += more

    def next_lost(self) -> tuple[int, int] | None:
        """The lowest range that is lost and not yet resent; None: nothing is. Amortised O(log n)."""
        sent_list = self.sent_list
        starts = sent_list.lost_starts
        if self._pending == 0:
            starts.clear()
            return None
        records = sent_list.records
        while starts:
            index = sent_list.find(starts[0])
            if index < len(records):
                record = records[index]
                if record.lost and not record.resent:
                    return record.start, record.end
            heappop(starts)
        return None

    def collapse(self, start: int, end: int, fin: int) -> int:
        """The short record at ``start`` waits for its resend: those behind it that fit into one segment join it.

        Up to ``end`` at most, of which ``fin``, the FIN's number (-1: none left), takes no room in the segment. Linux's
        tcp_retrans_try_collapse: what is sacked, or left as more than a segment, joins nothing. The new end.
        """
        sent_list = self.sent_list
        index = sent_list.find(start)
        record = sent_list.records[index]
        before = segments_of(record)
        index += 1
        while index < len(sent_list.records):
            following = sent_list.records[index]
            stop = following.end
            if following.sacked or stop > end or stop - start - (1 if stop - 1 == fin else 0) > self.mss:
                break
            length = stop - following.start
            segs = segments_of(following)
            self._uncount(following, length, segs)
            self.out_segs -= segs
            self.lost_bytes += length
            self._pending += length
            record.end = stop
            record.ever_resent = record.ever_resent or following.ever_resent
            sent_list.remove(index)
        self._count_segs(record, segments_of(record) - before)
        return record.end

    # Losing

    def _mark_lost(self, record: Sent) -> None:
        """Unsacked, and not already lost without a resend."""
        length = record.end - record.start
        if record.linked:
            self.sent_list.unlink(record)
        segs = segments_of(record)
        if record.resent:
            record.resent = False
            self.retransmitted_bytes -= length
            self.retrans_segs -= segs
        if not record.lost:
            record.lost = True
            self.lost_bytes += length
            self.lost_segs += segs
        self._pending += length
        self.total_lost += length
        if not self.enable_sack:  # duplicates counted are a guess, and lost ones are not among them
            self._set_duplicates(min(self.sacked_segs, self.out_segs - self.lost_segs))
        self.sent_list.note_lost(record)

    def _set_duplicates(self, segs: int) -> None:
        """Without SACK: duplicate ACKs tell that so many segments arrived above the hole, whichever they are."""
        self.sacked_segs = segs
        self.sacked_bytes = min(segs * self.mss, self.highest_sent - self.una - self.lost_bytes)

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

    def mark_oversized(self, cuts: list[int]) -> int:
        """The path takes only ``mss`` now: what left in larger segments is lost, not to congestion. Bytes newly lost.

        RFC 1191 section 6.4, Linux's tcp_simple_retransmit: resend, but reduce no window. ``cuts``: where runs began:
        the short end of a record that was a run of its own may fit.
        """
        before = self.total_lost
        for at in cuts:
            index = self.sent_list.find(at)
            if index < len(self.sent_list.records):
                record = self.sent_list.records[index]
                if record.start < at and record.end - at <= self.mss:
                    self._split(index, at)
        for record in self.sent_list.live():
            is_oversized = record.segment_size > self.mss and record.end - record.start > self.mss
            if is_oversized and not record.sacked and (record.resent or not record.lost):
                self._mark_lost(record)
        return self.total_lost - before

    def _forget_sacks(self) -> None:
        self.renegings += 1
        for record in self.sent_list.live():
            if record.sacked:
                record.sacked = False
                self.out_segs += segments_of(record) - record.segs
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
        self.lost_segs = 0
        self._pending = 0
        self._doubtful = self.highest_sent
        self.sent_list.relink()

    def _uncount(self, record: Sent, length: int, segs: int) -> None:
        """``length`` bytes of an unsacked record, ``segs`` segments, leave the counts of lost and resent."""
        if record.lost:
            self.lost_bytes -= length
            self.lost_segs -= segs
        if record.resent:
            self.retransmitted_bytes -= length
            self.retrans_segs -= segs
        elif record.lost:
            self._pending -= length


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
