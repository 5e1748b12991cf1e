"""The scoreboard against sets of ints: a real receiver behind a network that loses, reorders and repeats."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ustack.recovery.scoreboard import Scoreboard
from ustack.recovery.sent import segments_of

MSS = 10
MS = 1_000_000


class Receiver:
    """What arrived, as a set of ints, and the ACK that a SACK receiver would send."""

    def __init__(self, start: int) -> None:
        self.next = start
        self.held: set[int] = set()
        self.recent: list[int] = []

    def take(self, start: int, end: int) -> tuple[int, list[tuple[int, int]]]:
        blocks: list[tuple[int, int]] = []
        new = {n for n in range(start, end) if n >= self.next} - self.held
        if len(new) < end - start:
            blocks.append((start, end) if not new else (start, min(new)) if min(new) > start else (max(new) + 1, end))
            if blocks[0][0] >= blocks[0][1]:
                blocks.clear()
        self.held |= new
        while self.next in self.held:
            self.held.discard(self.next)
            self.next += 1
        self.recent = [start, *[n for n in self.recent if n != start]]
        for n in self.recent:
            if n in self.held:
                low = high = n
                while low - 1 in self.held:
                    low -= 1
                while high in self.held:
                    high += 1
                if (low, high) not in blocks[-4:]:
                    blocks.append((low, high))
        return self.next, blocks[:4]


class ScoreboardMachine(RuleBasedStateMachine):
    @initialize(start=st.sampled_from([0, 1, 2**32 - 25]))
    def begin(self, start: int) -> None:
        self.now = 1000 * MS
        self.board = Scoreboard(start, MSS)
        self.receiver = Receiver(start)
        self.wire: list[tuple[int, int]] = []
        self.acks: list[tuple[int, list[tuple[int, int]]]] = []
        # The model: one int per byte.
        self.una = start
        self.nxt = start
        self.sacked: set[int] = set()
        self.lost: set[int] = set()
        self.resent: set[int] = set()
        self.ever: set[int] = set()
        self.sent_at: dict[int, int] = {}
        self.delivered = 0
        self.total_lost = 0

    def cut(self, start: int, end: int) -> None:
        while start < end:
            stop = min(start + MSS, end)
            self.wire.append((start, stop))
            start = stop

    @rule(length=st.integers(1, 12 * MSS))
    def send(self, length: int) -> None:
        start, end = self.nxt, self.nxt + length
        self.board.sent(start, end, self.now)
        self.nxt = end
        for n in range(start, end):
            self.sent_at[n] = self.now
        self.cut(start, end)

    @rule(whole=st.booleans(), segs=st.integers(1, 5))
    def resend_lost(self, whole: bool, segs: int) -> None:
        offered = self.board.next_lost()
        missing = sorted(self.lost - self.resent)
        if offered is None:
            assert not missing
            return
        start, end = offered
        assert start == missing[0]
        assert set(range(start, end)) <= set(missing)
        if not whole:
            end = min(end, start + segs * MSS)
        self.resend(start, end)

    def resend(self, start: int, end: int) -> None:
        self.now += 1  # RACK cannot order what left in one instant
        self.board.resent(start, end, self.now)
        again = set(range(start, end)) - self.sacked
        self.resent |= again
        self.ever |= again
        for n in again:
            self.sent_at[n] = self.now
        self.cut(start, end)

    @precondition(lambda self: self.nxt > self.una)
    @rule()
    def probe(self) -> None:
        start, end = self.board.last_segment()
        assert self.una <= start < end == self.nxt <= start + MSS
        if not set(range(start, end)) & (self.lost | self.sacked):
            self.resend(start, end)

    @precondition(lambda self: self.wire)
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, min(len(self.wire) - 1, 6)))
        start, end = self.wire.pop(index)
        self.acks.append(self.receiver.take(start, end))

    @precondition(lambda self: self.wire)
    @rule(data=st.data(), count=st.integers(1, 4))
    def drop(self, data: st.DataObject, count: int) -> None:
        index = data.draw(st.integers(0, len(self.wire) - 1))
        del self.wire[index : index + count]

    @precondition(lambda self: self.acks)
    @rule(data=st.data(), keep=st.booleans(), detect=st.booleans())
    def ack(self, data: st.DataObject, keep: bool, detect: bool) -> None:
        index = data.draw(st.integers(0, len(self.acks) - 1))
        una, blocks = self.acks[index] if keep else self.acks.pop(index)
        prior = self.una
        prior_in_flight = self.board.in_flight
        result = self.board.acked(una, blocks, self.now)
        newly_sacked: set[int] = set()
        for start, end in blocks:
            if end > max(una, prior):
                newly_sacked |= {n for n in range(start, end) if n >= prior and n not in self.sacked}
        newly_acked = set(range(prior, max(una, prior)))
        arrived = newly_sacked | (newly_acked - self.sacked)
        assert result.prior_in_flight == prior_in_flight
        assert result.acked == len(newly_acked)
        assert result.sacked == len(newly_sacked)
        assert result.any_new == bool(newly_acked or newly_sacked)
        if not result.dsack:
            assert result.delivered == len(arrived)
        originals = arrived - self.ever
        assert (result.original_start >= 0) == bool(originals)
        if originals:
            assert result.original_start == min(originals)
            if not (newly_acked & self.ever) and not newly_sacked:
                assert result.rtt == self.now - self.sent_at[min(originals)]
        else:
            assert result.rtt == -1
        if arrived:
            assert result.newest_sent_at == max(self.sent_at[n] for n in arrived)
        self.una = max(una, prior)
        self.sacked = {n for n in self.sacked | newly_sacked if n >= self.una}
        self.lost = {n for n in self.lost - self.sacked if n >= self.una}
        self.resent = {n for n in self.resent - self.sacked if n >= self.una}
        if detect:
            self.detect()

    @rule()
    def detect(self) -> None:
        board = self.board
        may = board.rack.advanced or (board.rack_deadline and self.now >= board.rack_deadline)
        newly = board.detect_losses(self.now, 20 * MS, 8 * MS)
        expected = set()
        if may:
            patience = board.rack.rtt + (0 if newly < 0 else board._reo_wnd(20 * MS))
            for n in range(self.una, self.nxt):
                if n in self.sacked or (n in self.lost and n not in self.resent):
                    continue
                if (self.sent_at[n], n + 1) <= (board.rack.sent_at, board.rack.end) and (
                    self.sent_at[n] + patience <= self.now
                ):
                    expected.add(n)
        assert newly == len(expected)
        self.lost |= expected
        self.resent -= expected

    @precondition(lambda self: self.nxt > self.una)
    @rule(spare=st.booleans())
    def timeout(self, spare: bool) -> None:
        board = self.board
        spared: set[int] = set()
        first = board.sent_list.first()
        assert first is not None
        assert not board.reneging
        if spare:
            spared = {n for n in range(first.end, self.nxt) if self.sent_at[n] + board.rack.rtt > self.now}
        newly = board.mark_all_lost(self.now if spare else -1)
        expected = set(range(self.una, self.nxt)) - self.sacked - (self.lost - self.resent) - spared
        assert newly == len(expected)
        self.lost |= expected
        self.resent -= expected

    @rule()
    def undo(self) -> None:
        self.board.forget_losses()
        self.lost.clear()

    @rule(on=st.booleans())
    def recovery(self, on: bool) -> None:
        self.board.in_recovery = on

    @rule(step=st.sampled_from([1, MS, 5 * MS, 30 * MS]))
    def wait(self, step: int) -> None:
        self.now += step

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "board"):
            return
        board = self.board
        assert (board.una, board.highest_sent) == (self.una, self.nxt)
        seen: dict[str, set[int]] = {"sacked": set(), "lost": set(), "resent": set()}
        at = self.una
        before_sacked = False
        in_order = []
        for record in board.sent_list.live():
            assert record.start == at < record.end
            at = record.end
            assert not (before_sacked and record.sacked), "sacked neighbours are one"
            before_sacked = record.sacked
            for name, members in seen.items():
                if getattr(record, name):
                    members |= set(range(record.start, record.end))
            assert record.linked == (not record.sacked and not (record.lost and not record.resent))
            if record.linked:
                in_order.append(record)
                assert {self.sent_at[n] for n in range(record.start, record.end)} == {record.sent_at}
        assert at == self.nxt
        assert seen == {"sacked": self.sacked, "lost": self.lost, "resent": self.resent}
        assert board.sacked_bytes == len(self.sacked)
        assert board.lost_bytes == len(self.lost)
        assert board.retransmitted_bytes == len(self.resent)
        assert board.in_flight == self.nxt - self.una - len(self.sacked) - len(self.lost) + len(self.resent)
        assert board.sacked_segs == sum(r.segs for r in board.sent_list.live() if r.sacked)
        live = board.sent_list.live()
        assert board.out_segs == sum(segments_of(r) for r in live)
        assert board.lost_segs == sum(segments_of(r) for r in live if r.lost)
        assert board.retrans_segs == sum(segments_of(r) for r in live if r.resent)
        assert board.segs_in_flight == board.out_segs - board.sacked_segs - board.lost_segs + board.retrans_segs >= 0
        assert board.is_empty == (self.una == self.nxt)
        by_time = []
        record_or_none = board.sent_list.oldest
        while record_or_none is not None:
            by_time.append(record_or_none)
            record_or_none = record_or_none.newer
        assert len(by_time) == len(in_order)
        assert {id(r) for r in by_time} == {id(r) for r in in_order}
        assert [r.sent_at for r in by_time] == sorted(r.sent_at for r in by_time)
        missing = sorted(self.lost - self.resent)
        offered = board.next_lost()
        assert (offered[0] if offered else None) == (missing[0] if missing else None)


TestScoreboard = ScoreboardMachine.TestCase
TestScoreboard.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
