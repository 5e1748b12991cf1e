"""Whole senders (scoreboard, RTT, PRR, pacing, algorithm) through one bottleneck in virtual time."""

from __future__ import annotations

import heapq
import random

import pytest

from ustack import congestion
from ustack.congestion import AckSample
from ustack.recovery.pacing import Pacer
from ustack.recovery.prr import Prr
from ustack.recovery.rtt import RttEstimator
from ustack.recovery.scoreboard import Scoreboard

MSS = 1448
MS = 1_000_000
SECOND = 1_000_000_000


class Path:
    """A link of ``rate`` bytes a second behind ``buffer`` bytes of queue, then ``delay`` ns each way; random losses."""

    def __init__(self, rate: int, delay: int, buffer: int, loss: float, seed: int) -> None:
        self.rate, self.delay, self.buffer, self.loss = rate, delay, buffer, loss
        self.random = random.Random(seed)
        self.free_at = 0
        self.events: list[tuple[int, int, int, tuple[int, int]]] = []
        self.count = 0
        self.dropped = 0

    def send(self, flow: int, start: int, end: int, now: int) -> None:
        while start < end:
            stop = min(start + MSS, end)
            queued = max(self.free_at - now, 0) * self.rate // SECOND
            if queued + stop - start > self.buffer or self.random.random() < self.loss:
                self.dropped += 1
            else:
                self.free_at = max(self.free_at, now) + (stop - start) * SECOND // self.rate
                self.count += 1
                heapq.heappush(self.events, (self.free_at + 2 * self.delay, self.count, flow, (start, stop)))
            start = stop


class Sender:
    """The least TCP that the algorithms need: endless data, a receiver that SACKs each segment at once."""

    def __init__(self, name: str, flow: int, path: Path) -> None:
        self.flow, self.path = flow, path
        self.board = Scoreboard(0, MSS)
        self.rtt = RttEstimator()
        self.control = congestion.create(name, MSS, 10 * MSS)
        self.prr = Prr(MSS)
        self.pacer = Pacer(MSS)
        self.sample = AckSample()
        self.recovery_end = -1
        self.rto_at = 0
        self.received = 0
        self.held: list[tuple[int, int]] = []
        self.timeouts = 0
        self.resent_while_sacked = 0
        self.limited = True

    def receive(self, start: int, end: int) -> list[tuple[int, int]]:
        """The receiver: what the ACK carries."""
        blocks = sorted([*self.held, (start, end)])
        merged: list[tuple[int, int]] = []
        for low, high in blocks:
            if merged and low <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
            else:
                merged.append((low, high))
        if merged and merged[0][0] <= self.received:
            self.received = max(self.received, merged.pop(0)[1])
        self.held = [b for b in merged if b[1] > self.received]
        recent = [b for b in self.held if b[0] <= start < b[1]]
        return recent + [b for b in reversed(self.held) if b not in recent][: 3 - len(recent)]

    def on_ack(self, una: int, blocks: list[tuple[int, int]], now: int) -> None:
        board, control = self.board, self.control
        result = board.acked(una, blocks, now)
        if result.rtt >= 0:
            self.rtt.sample(result.rtt, now, una, board.highest_sent, result.newest_rtt)
        lost = board.detect_losses(now, self.rtt.srtt, self.rtt.min_rtt)
        if self.recovery_end >= 0 and board.una >= self.recovery_end:
            self.recovery_end = -1
            if self.prr.active:
                control.on_recovered(now)
            self.prr.leave()
            board.in_recovery = False
            board.on_recovered()
        if board.lost_bytes and self.recovery_end < 0:
            self.recovery_end = board.highest_sent
            prior = control.cwnd
            control.on_loss(now, board.in_flight)
            board.in_recovery = True
            if not control.owns_recovery:
                self.prr.enter(board.in_flight, prior, control.ssthresh)
        if self.prr.active:
            cwnd = self.prr.on_ack(result.delivered, board.in_flight, lost, result.acked > 0)
            control.cwnd = max(cwnd, MSS) if cwnd else control.cwnd
        sample = self.sample
        sample.now, sample.acked, sample.delivered, sample.lost = now, result.acked, result.delivered, lost
        sample.in_flight, sample.prior_in_flight = board.in_flight, result.prior_in_flight
        sample.rtt, sample.min_rtt, sample.srtt = result.newest_rtt, self.rtt.min_rtt, self.rtt.srtt
        sample.cwnd_limited, sample.in_recovery = self.limited, self.prr.active
        sample.una, sample.nxt = board.una, board.highest_sent
        sample.delivery_rate, sample.interval = result.delivery_rate, result.interval
        sample.prior_delivered, sample.delivered_total = result.prior_delivered, board.delivered
        if result.any_new and not self.prr.active:
            control.on_ack(sample)
        self.pacer.rate = control.pacing_rate
        if result.any_new:
            self.rto_at = now + self.rtt.rto

    def send(self, now: int) -> None:
        board, control = self.board, self.control
        self.limited = False
        while self.pacer.allowance(now):
            if board.in_flight + MSS > control.cwnd:
                self.limited = True
                return
            hole = board.next_lost()
            if hole is not None:
                start, end = hole[0], min(hole[1], hole[0] + MSS)
                self.resent_while_sacked += any(low < end and start < high for low, high in self.sacked_ranges())
                board.resent(start, end, now)
            else:
                start, end = board.highest_sent, board.highest_sent + MSS
                board.sent(start, end, now)
            self.prr.on_sent(end - start)
            self.pacer.on_sent(end - start, now)
            self.path.send(self.flow, start, end, now)
            if self.rto_at == 0:
                self.rto_at = now + self.rtt.rto

    def sacked_ranges(self) -> list[tuple[int, int]]:
        if self.board.total_retrans > 50:  # enough looked at
            return []
        return [(r.start, r.end) for r in self.board.sent_list.live() if r.sacked]

    def on_timeout(self, now: int) -> None:
        self.timeouts += 1
        self.board.mark_all_lost(now)
        self.control.on_timeout(now, self.board.in_flight)
        self.control.cwnd = self.board.in_flight + MSS
        self.prr.leave()
        self.board.in_recovery = True
        self.recovery_end = self.board.highest_sent
        self.rtt.back_off()
        self.rto_at = now + self.rtt.rto


def run(names: list[str], path: Path, duration: int) -> list[Sender]:
    """All flows from time 1 s on."""
    senders = [Sender(name, i, path) for i, name in enumerate(names)]
    now = SECOND
    end = now + duration
    while now < end:
        for sender in senders:
            sender.send(now)
        times = [s.rto_at for s in senders if s.rto_at]
        times += [s.pacer.next_at for s in senders if s.pacer.next_at > now]
        if path.events:
            times.append(path.events[0][0])
        now = max(min(times), now)
        while path.events and path.events[0][0] <= now:
            _, _, flow, (low, high) = heapq.heappop(path.events)
            blocks = senders[flow].receive(low, high)
            senders[flow].on_ack(senders[flow].received, blocks, now)
        for sender in senders:
            if sender.rto_at and now >= sender.rto_at:
                sender.on_timeout(now)
    return senders


RATE = 1_250_000  # 10 Mbit/s
DELAY = 20 * MS
BDP = RATE * 40 // 1000


@pytest.mark.parametrize("name", ["reno", "cubic", "bbr"])
def test_one_flow_fills_the_link(name: str) -> None:
    path = Path(RATE, DELAY, BDP, 0.0, 1)
    (sender,) = run([name], path, 20 * SECOND)
    assert sender.received > 0.90 * RATE * 20
    assert sender.timeouts == 0
    assert sender.resent_while_sacked == 0
    if name != "bbr":
        assert sender.board.total_retrans == path.dropped, "what was dropped is resent, and nothing else"


@pytest.mark.parametrize(("name", "least"), [("reno", 0.2), ("cubic", 0.3), ("bbr", 0.85)])
def test_one_percent_of_random_loss(name: str, least: float) -> None:
    path = Path(RATE, DELAY, BDP, 0.01, 7)
    (sender,) = run([name], path, 15 * SECOND)
    assert sender.received > least * RATE * 15
    assert sender.timeouts <= 2
    assert 0 <= sender.board.total_retrans - path.dropped + 10 <= 20


def test_bbr_keeps_the_queue_short_where_cubic_fills_it() -> None:
    rtts = {}
    for name in ("cubic", "bbr"):
        (sender,) = run([name], Path(RATE, DELAY, 4 * BDP, 0.0, 1), 15 * SECOND)
        rtts[name] = sender.rtt.srtt
    assert rtts["bbr"] < 40 * MS * 7 // 4
    assert rtts["cubic"] > 40 * MS * 2


def test_bbr_probes_the_rtt_every_ten_seconds() -> None:
    (sender,) = run(["bbr"], Path(RATE, DELAY, BDP, 0.0, 3), 25 * SECOND)
    control = sender.control
    assert isinstance(control, congestion.Bbr)
    assert control.full_bw_reached
    assert abs(control.bandwidth - RATE) < RATE // 20
    assert 40 * MS <= control.path_rtt <= 45 * MS


@pytest.mark.parametrize("names", [["reno", "reno"], ["cubic", "cubic"]])
def test_two_flows_share(names: list[str]) -> None:
    first, second = run(names, Path(RATE, DELAY, BDP, 0.0, 5), 40 * SECOND)
    total = first.received + second.received
    fairness = total**2 / (2 * (first.received**2 + second.received**2))
    assert total > 0.9 * RATE * 40
    assert fairness > 0.9
