"""The scoreboard: what is in flight, what arrived, what is lost, what to send again.

The facade over :mod:`sent` (records), :mod:`rack` (loss by time) and :mod:`rate` (delivery rates). It
speaks of sequence offsets, bytes and ns only. The order of calls for one ACK::

    result = scoreboard.acked(una, blocks, now)          # always
    if not result.sacked and not result.acked and is_duplicate and not scoreboard.enable_sack:
        scoreboard.dupack(now)
    lost = scoreboard.detect_losses(now, srtt, min_rtt)  # may be left out while scoreboard.is_clean
    while (lost := scoreboard.next_lost()) and cwnd allows: scoreboard.resent(...)

RFC 2018 (SACK), 2883 (D-SACK), 6582 (NewReno), 6675 (pipe), 8985 (RACK-TLP).
"""

from __future__ import annotations

from ustack.recovery.rack import REO_PERSIST, TIMEOUT_MIN
from ustack.recovery.result import AckResult
from ustack.recovery.sack import SackedFlight
from ustack.recovery.sent import Sent, segments, segments_of

__all__ = ["AckResult", "Scoreboard"]


class Scoreboard(SackedFlight):
    """The whole: a flight (``flight.py``), its SACKs (``sack.py``), and here acknowledgments and losses."""

    def acked(self, una: int, blocks: list[tuple[int, int]], now: int, echo_at: int = -1) -> AckResult:
        """One ACK: SND.UNA becomes ``una`` (never back, never beyond highest_sent).

        ``blocks`` are its SACK blocks as the wire orders them, unwrapped. ``echo_at``: the last instant (ns) that
        its TSecr can stand for, -1 without timestamps: tells a resend's answer from the original's. The result is
        the same object every time.
        """
        result = self.result
        result.clear()
        result.prior_in_flight = self.in_flight
        result.prior_segs_in_flight = self.segs_in_flight
        self.rate.start_ack()
        before = self.delivered_segs
        una = min(una, self.highest_sent)
        if not blocks and self.is_certain:
            if una > self.una:
                self._advance_clean(una, now, echo_at)
                self._measure_rate(self.delivered_segs - before, now)
            return result
        prior_fack = self._fack if self.sacked_bytes else self.una
        if blocks:
            self._take_blocks(blocks, una, now, echo_at)
        if una > self.una:
            self._advance(una, prior_fack, now, echo_at)
        if result.sack_rtt >= 0 and (result.rtt < 0 or result.resent_acked):
            result.rtt = result.sack_rtt
        elif result.resent_acked:
            result.rtt = -1
            result.newest_rtt = -1
        result.any_new = result.acked > 0 or result.sacked > 0
        self._measure_rate(self.delivered_segs - before, now)
        return result

    def _advance_clean(self, una: int, now: int, echo_at: int) -> None:
        """``_advance`` where nothing is sacked, lost or resent: the everyday ACK, most often of one record."""
        result = self.result
        sent_list = self.sent_list
        prior = self.una
        result.acked = result.delivered = una - prior
        self.una = una
        self.sacked_segs = 0
        record = newest = sent_list.records[sent_list.head]
        first_sent_at = record.sent_at
        segs = 0
        end = record.end
        while end <= una:
            self.rate.mark_delivered(record, end)
            segs += segments_of(record)
            newest = record
            sent_list.pop_first()
            if end == una:
                break
            record = sent_list.records[sent_list.head]
            end = record.end
        else:
            whole = segments_of(record)
            record.start = end = una
            whole -= segments_of(record)
            if whole:
                self.rate.mark_delivered(record, una)
                segs += whole
                newest = record
        self.out_segs -= segs
        self.delivered_segs += segs
        result.any_new = True
        result.acked_segs = segs
        if not segs:
            return
        result.original_start = prior
        result.rtt = now - first_sent_at
        result.newest_sent_at = newest.sent_at
        result.newest_rtt = now - newest.sent_at
        self.rack.deliver(newest, end, now, self.min_rtt, echo_at)

    def _measure_rate(self, segs: int, now: int) -> None:
        result = self.result
        rate = self.rate
        rate.delivered += segs * self.mss
        rate.finish(segs, now, self.min_rtt)
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
        out_segs = self.out_segs
        lowest_original = -1
        while True:
            record = sent_list.first()
            if record is None or record.start >= una:
                break
            end = min(record.end, una)
            is_whole = self._account_acked(record, end, now, echo_at)
            if is_whole and not record.ever_resent and not record.sacked and lowest_original < 0:
                lowest_original = record.start
            if record.end <= una:
                sent_list.pop_first()
            else:
                record.start = una
        self.una = una
        result.acked_segs = out_segs - self.out_segs
        if not self.enable_sack:
            self._eat_duplicates(reno_acked, result.acked_segs)
            if result.resent_acked:
                lowest_original = -1  # it may have been held behind the hole: no sign of a spurious timeout
        elif lowest_original >= 0 and lowest_original < prior_fack:
            self._note_reordering(lowest_original, self._highest_sack())
        if lowest_original >= 0 and (result.original_start < 0 or lowest_original < result.original_start):
            result.original_start = lowest_original

    def _account_acked(self, record: Sent, end: int, now: int, echo_at: int) -> bool:
        """[record.start, end) is acknowledged cumulatively. False: it is less than a segment of the record."""
        result = self.result
        length = end - record.start
        if record.sacked:
            if record.ever_resent:
                result.resent_acked = True
            self.sacked_bytes -= length
            segs = record.segs if end == record.end else min(length // record.segment_size, record.segs - 1)
            record.segs -= segs
            self.sacked_segs -= segs
            self.out_segs -= segs
            return True
        segs = segments_of(record)
        if end < record.end:
            segs -= segments(record.end - end, record.segment_size)
        self._uncount(record, length, segs)
        self.out_segs -= segs
        if not segs:
            result.delivered += length
            return False
        if record.ever_resent:
            result.resent_acked = True
        else:
            rtt = now - record.sent_at
            if result.rtt < 0:
                result.rtt = rtt
            result.newest_rtt = rtt
        self._deliver(record, end, length, segs, now, echo_at)
        return True

    # Without SACK (RFC 6582)

    def dupack(self, now: int) -> int:
        """A duplicate ACK from a peer without SACK: one more segment has arrived. Returns the bytes so delivered."""
        if self._limit_duplicates(self.sacked_segs + 1, 0):
            return 0
        self.delivered_segs += 1
        self.rate.delivered += self.mss
        self.rate.delivered_at = now
        return self.mss

    def _limit_duplicates(self, segs: int, acked_segs: int) -> bool:
        """One segment at least is missing, and all that are lost; more duplicates than that come of reordering.

        Linux's tcp_check_reno_reordering. ``segs``: counted so far; ``acked_segs``: what the ACK at hand took off the
        flight. True: there were more.
        """
        most = self.out_segs - min(max(self.lost_segs, 1), self.out_segs)
        self._set_duplicates(min(segs, most))
        if segs <= most:
            return False
        self.reordering = min(self.out_segs + acked_segs, self.max_reordering)
        self.reord_seen += 1
        return True

    def _eat_duplicates(self, acked: int, acked_segs: int) -> None:
        """A cumulative ACK without SACK: one segment filled the hole, the rest were the duplicates counted before."""
        before = self.sacked_segs
        self.result.delivered = max(acked - self.sacked_bytes, min(self.mss, acked))
        if acked_segs:
            self.delivered_segs -= min(before, acked_segs - 1)  # counted when they came
        self._limit_duplicates(max(before - max(acked_segs - 1, 0), 0), acked_segs)

    def forget_duplicates(self) -> None:
        """Without SACK: the duplicate ACKs counted so far say nothing about what is in flight now."""
        self.sacked_bytes = 0
        self.sacked_segs = 0

    def note_delay(self, prior_una: int) -> None:
        """What lay at ``prior_una`` was only late (Linux's tcp_check_sack_reordering in tcp_try_undo_partial).

        Without SACK so many duplicate ACKs show no loss from now on."""
        self._note_reordering(prior_una, self._highest_sack())

    def _highest_sack(self) -> int:
        """How far the peer's data reach, as known now (Linux's tcp_highest_sack_seq)."""
        if not self.sacked_bytes:
            return self.una
        return self._fack if self.enable_sack else self.highest_sent

    def on_partial_ack(self) -> int:
        """The segment at SND.UNA is lost too (RFC 6582 section 3.2): marks it. Bytes newly lost."""
        record = self.sent_list.first()
        if record is None or record.sacked or (record.lost and not record.resent):
            return 0
        if record.end - record.start > record.segment_size:
            self._split(self.sent_list.head, record.start + record.segment_size)
        before = self.total_lost
        self._mark_lost(record)
        return self.total_lost - before

    def _newreno(self) -> int:
        if self.in_loss:
            return 0
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
        sent_list = self.sent_list
        patience = rack.rtt + self._reo_wnd(srtt)
        record = sent_list.oldest
        while record is not None and record.sent_at + patience <= now and rack.sent_before_newest(record):
            newer = record.newer
            self._mark_lost(record)
            record = newer
        latest = self._overtake()
        if latest is not None:
            self.rack_deadline = max(latest.sent_at + patience, now) + TIMEOUT_MIN
        return self.total_lost - before

    def _overtake(self) -> Sent | None:
        """The record that left last before the newest delivered one, and is neither sacked nor lost.

        The newest delivered one never grows older, so the search goes on where it ended: a thousand holes are not
        walked by every ACK."""
        sent_list = self.sent_list
        latest = sent_list.overtaken
        record = sent_list.oldest if latest is None else latest.newer
        while record is not None and self.rack.sent_before_newest(record):
            latest = record
            record = record.newer
        sent_list.overtaken = latest
        return latest

    def _reo_wnd(self, srtt: int) -> int:
        if self.reord_seen == 0:
            enough = self.sacked_segs >= self.reordering and not self.rack.ignores_dupthresh
            if enough or self.in_recovery:
                return 0
        return self.rack.reo_wnd(srtt, self.min_rtt)

    def on_recovered(self) -> None:
        """A recovery is over: RACK's patience with reordering wears off by one."""
        if self.rack.reo_persist > 0:
            self.rack.reo_persist -= 1

    def bear_reordering(self) -> None:
        """A recovery was needless: RACK's patience lasts for one more."""
        self.rack.reo_persist = min(self.rack.reo_persist + 1, REO_PERSIST)
