"""Reno and CUBIC against closed forms: on an ideal link in virtual time, one round trip at a time."""

from __future__ import annotations

import itertools
import math

import pytest

from ustack.congestion import AckSample, CongestionControl, Cubic, Reno
from ustack.congestion.hystart import HyStart

MSS = 1000
MS = 1_000_000
SECOND = 1_000_000_000


def ack(now: int, acked: int, rtt: int, una: int = 0, nxt: int = 0) -> AckSample:
    sample = AckSample()
    sample.now, sample.acked, sample.delivered, sample.rtt = now, acked, acked, rtt
    sample.srtt = sample.min_rtt = rtt
    sample.una, sample.nxt = una, nxt
    return sample


def bottleneck(control: CongestionControl, capacity: int, rtt: int, rounds: int) -> list[int]:
    """cwnd (segments) at the end of each round trip; a round with more than ``capacity`` segments loses one."""
    now = SECOND
    una = 0
    history = []
    for _ in range(rounds):
        window = control.cwnd // MSS
        if window > capacity:
            control.on_loss(now, control.cwnd)
            now += rtt
            una += window * MSS
            control.on_recovered(now)
        else:
            for i in range(window):
                una += MSS
                control.on_ack(ack(now + rtt * (i + 1) // window, MSS, rtt, una, una + window * MSS))
            now += rtt
        history.append(control.cwnd // MSS)
    return history


def test_reno_grows_one_segment_a_round_whatever_the_size_of_the_acks() -> None:
    for run in (1, 3, 50, 100):
        control = Reno(MSS, 100 * MSS)
        control.ssthresh = 100 * MSS
        acked = 0
        rounds = 0
        left = control.cwnd
        while rounds < 10:
            n = min(run * MSS, left)
            control.on_ack(ack(SECOND, n, 40 * MS))
            acked += n
            left -= n
            if left == 0:
                rounds += 1
                left = control.cwnd
        assert 109 <= control.cwnd // MSS <= 110


def test_reno_sawtooth() -> None:
    control = Reno(MSS, 10 * MSS)
    history = bottleneck(control, 100, 40 * MS, 400)[50:]
    assert max(history) in (101, 102)
    assert min(history) == 50
    peaks = [i for i in range(1, len(history)) if history[i] < history[i - 1]]
    periods = {b - a for a, b in itertools.pairwise(peaks)}
    # From 50 to 101 at one segment per round, and the round of the loss.
    assert periods <= {51, 52, 53}
    assert math.isclose(sum(history) / len(history), 75, rel_tol=0.03)


@pytest.mark.parametrize("rtt", [10 * MS, 100 * MS])
def test_cubic_follows_the_cubic(rtt: int) -> None:
    """max(C (t - K)^3 + W_max, W_est(t)), K = cbrt(W_max * (1 - beta) / C), in floats and seconds."""
    control = Cubic(MSS, 1000 * MSS)
    control.hystart = False
    control.delay_min = rtt
    start = 10 * SECOND
    control.on_loss(start, control.cwnd)
    control.on_recovered(start)
    first = control.cwnd / MSS
    assert first == 1000 * 717 // 1024
    k = ((1000 - first) / 0.4) ** (1 / 3)
    now = start
    una = 0
    origin = None
    while now < start + 14 * SECOND:
        window = control.cwnd // MSS
        steps = 10
        for i in range(steps):
            una += window * MSS // steps
            at = now + rtt * (i + 1) // steps
            origin = origin or at
            control.on_ack(ack(at, window * MSS // steps, rtt, una, una))
        now += rtt
        t = (now - origin) / SECOND
        cubic = 0.4 * (t - k) ** 3 + 1000
        reno = first + 8 / 15 * t * SECOND / rtt
        expected = max(cubic, reno)
        # Integer segments, and a window that trails its target by a round trip.
        slope = 1.2 * (t - k) ** 2 * rtt / SECOND
        assert abs(control.cwnd / MSS - expected) < 3 + 2.5 * slope + 0.004 * expected, (t, k)
    assert control.cwnd > 1000 * MSS


def test_cubic_is_no_slower_than_reno_on_short_paths() -> None:
    """RTT 1 ms, 50 segments: the cubic hardly moves in a second, Reno's share of growth is 0.53 a round."""
    control = Cubic(MSS, 50 * MSS)
    control.hystart = False
    control.on_loss(SECOND, control.cwnd)
    control.on_recovered(SECOND)
    begin = control.cwnd // MSS
    history = bottleneck(control, 10_000, MS, 100)
    assert begin == 35
    assert 35 + 0.4 * 100 < history[-1] < 35 + 0.65 * 100


def test_cubic_fast_convergence() -> None:
    control = Cubic(MSS, 1000 * MSS)
    control.on_loss(SECOND, control.cwnd)
    assert control.last_max == 1000 * MSS
    control.on_recovered(SECOND)
    control.cwnd = 800 * MSS
    control.on_loss(2 * SECOND, control.cwnd)
    assert control.last_max == 800 * (1024 + 717) // 2048 * MSS


def test_cubic_timeout_forgets_the_plateau() -> None:
    control = Cubic(MSS, 1000 * MSS)
    control.on_timeout(SECOND, control.cwnd)
    assert (control.cwnd, control.ssthresh, control.last_max) == (MSS, 700 * MSS, 0)


def test_cubic_clock_stands_still_while_idle() -> None:
    control = Cubic(MSS, 100 * MSS)
    control.on_loss(SECOND, control.cwnd)
    control.on_recovered(SECOND)
    control.on_ack(ack(2 * SECOND, MSS, 10 * MS))
    began = control.epoch_start
    control.on_idle(5 * SECOND, 150 * MS, 200 * MS)
    assert control.epoch_start == began + 150 * MS
    control.on_idle(5 * SECOND, 100 * SECOND, 200 * SECOND)
    assert control.epoch_start == 5 * SECOND


def test_first_growth_of_cubic_is_five_percent_a_round() -> None:
    control = Cubic(MSS, 100 * MSS)
    control.hystart = False
    control.ssthresh = 100 * MSS
    history = bottleneck(control, 10_000, 10 * MS, 10)
    assert 100 * 1.05**9 < history[-1] <= 100 * 1.05**10 + 2


def test_hystart_leaves_when_the_queue_delays() -> None:
    control = Cubic(MSS, 10 * MSS)
    now, una, base = SECOND, 0, 40 * MS
    left_at = 0
    for _ in range(12):
        window = control.cwnd // MSS
        rtt = base + max(0, window - 100) * MS // 2  # a queue behind 100 segments
        nxt = una + window * MSS
        for i in range(window):
            una += MSS
            nxt += 2 * MSS
            control.on_ack(ack(now + 3 * MS * i, MSS, rtt, una, nxt))
        now += rtt + 3 * MS * window
        if not control.in_slow_start():
            left_at = control.cwnd // MSS
            break
    assert 100 < left_at < 260


def test_hystart_leaves_when_the_ack_train_fills_half_the_rtt() -> None:
    exit_ = HyStart()
    base = 40 * MS
    now = SECOND
    left = False
    for i in range(60):
        sample = ack(now + i * MS, MSS, base, una=1 + i, nxt=1000)
        sample.srtt = MS
        left = left or exit_.on_ack(sample, base, 100 * MSS, MSS)
        if left:
            assert 20 <= i <= 22
            break
    assert left
    assert not exit_.on_ack(ack(now + 100 * MS, MSS, base, una=2000, nxt=3000), base, 100 * MSS, MSS), "only once"


def test_hystart_keeps_out_of_small_windows() -> None:
    exit_ = HyStart()
    for i in range(100):
        sample = ack(SECOND + i * MS, MSS, 400 * MS, una=1 + i, nxt=1000)
        assert not exit_.on_ack(sample, MS, 15 * MSS, MSS)
