"""RTT estimation and timeouts, computed by hand after Linux's tcp_rtt_estimator."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from ustack.recovery.rtt import RttEstimator
from ustack.windowed import WindowedMin

MS = 1_000_000
SECOND = 1_000_000_000


def test_before_a_sample_one_second() -> None:
    rtt = RttEstimator()
    assert (rtt.rto, rtt.srtt, rtt.min_rtt) == (SECOND, 0, 0)


def test_first_sample() -> None:
    rtt = RttEstimator()
    rtt.sample(100 * MS, 0, 1, 1)
    assert rtt.srtt == 100 * MS
    assert rtt.mdev == 50 * MS
    assert rtt.rttvar == 200 * MS
    assert rtt.rto == 300 * MS, "srtt + max(4 * rtt / 2, rto_min)"
    slow = RttEstimator()
    slow.sample(400 * MS, 0, 1, 1)
    assert slow.rto == 400 * MS + 800 * MS


def test_deviation_of_a_round_rises_at_once_and_decays_by_a_quarter() -> None:
    rtt = RttEstimator()
    rtt.sample(400 * MS, 0, 1, 100)
    assert rtt.rttvar == 800 * MS
    # Equal samples within the first round: mdev shrinks, rttvar does not.
    rtt.sample(400 * MS, 0, 50, 200)
    assert rtt.mdev4 == 600 * MS
    assert rtt.rttvar == 800 * MS
    # The round ends (una passes 100), and its largest deviation was 800: nothing decays yet.
    rtt.sample(400 * MS, 0, 101, 300)
    assert rtt.mdev4 == 450 * MS
    assert rtt.rttvar == 800 * MS
    assert rtt.mdev_max == 200 * MS, "the next round starts at rto_min"
    rtt.sample(400 * MS, 0, 301, 400)
    assert rtt.mdev4 == 450 * MS - 450 * MS // 4
    assert rtt.mdev_max == 200 * MS
    assert rtt.rttvar == 800 * MS - (800 * MS - rtt_max(450 * MS - 450 * MS // 4, 200 * MS)) // 4


def rtt_max(deviation: int, floor: int) -> int:
    return max(deviation, floor)


def test_a_sudden_fall_raises_the_deviation_by_an_eighth_only() -> None:
    rtt = RttEstimator()
    rtt.sample(400 * MS, 0, 1, 100)
    rtt.sample(10 * MS, 0, 2, 100)
    # error -390, mdev/4 is 200: (390 - 200) / 8
    assert rtt.mdev4 == 800 * MS + 190 * MS // 8
    assert rtt.srtt8 == 8 * 400 * MS - 390 * MS


def test_steady_rtt_ends_at_rtt_plus_rto_min() -> None:
    rtt = RttEstimator()
    for i in range(200):
        rtt.sample(50 * MS, i * 50 * MS, i * 10, i * 10 + 10)
    assert rtt.srtt == 50 * MS
    assert 250 * MS <= rtt.rto < 251 * MS


def test_backoff_doubles_to_the_limit_and_a_sample_ends_it() -> None:
    rtt = RttEstimator()
    rtt.sample(1 * MS, 0, 1, 1)
    assert rtt.rto == 201 * MS
    seen = []
    for _ in range(12):
        rtt.back_off()
        seen.append(rtt.rto)
    assert seen == [min(201 * MS << n, 120 * SECOND) for n in range(1, 13)]
    assert rtt.backoff == 12
    rtt.reset_backoff()
    assert (rtt.rto, rtt.backoff) == (201 * MS, 0)
    rtt.back_off()
    rtt.sample(1 * MS, 0, 1, 1)
    assert rtt.backoff == 0
    assert rtt.rto == 201 * MS


def test_backoff_without_a_sample() -> None:
    rtt = RttEstimator()
    for expected in (2, 4, 8, 16, 32, 64, 120, 120):
        rtt.back_off()
        assert rtt.rto == expected * SECOND
    rtt.reset_backoff()
    assert rtt.rto == SECOND
    rtt.fall_back()
    assert rtt.rto == 3 * SECOND, "RFC 6298 section 5.7"
    rtt.sample(MS, 0, 1, 1)
    rtt.fall_back()
    assert rtt.rto == 201 * MS


def test_an_rto_minimum_of_ones_own() -> None:
    rtt = RttEstimator(rto_min=5 * MS, rto_max=SECOND)
    rtt.sample(1 * MS, 0, 1, 1)
    assert rtt.rto == 6 * MS
    for _ in range(20):
        rtt.back_off()
    assert rtt.rto == SECOND


def test_newest_rtt_feeds_min_rtt_only() -> None:
    rtt = RttEstimator()
    rtt.sample(100 * MS, 0, 1, 1, 40 * MS)
    assert (rtt.srtt, rtt.min_rtt) == (100 * MS, 40 * MS)
    rtt.sample(0, 0, 1, 1)
    assert rtt.min_rtt == 1


@given(st.lists(st.tuples(st.integers(1, 1000), st.integers(0, 60)), min_size=1, max_size=100))
def test_windowed_min_is_the_minimum_of_about_a_window(samples: list[tuple[int, int]]) -> None:
    """Three samples approximate: never below the true minimum of the window, never one that left it, and exact
    while everything is young."""
    window = 100
    filter_ = WindowedMin(window)
    seen: deque[tuple[int, int]] = deque()
    now = 0
    for value, pause in samples:
        now += pause
        filter_.sample(value, now)
        seen.append((value, now))
        inside = [v for v, at in seen if now - at <= window]
        assert filter_.best >= min(inside)
        assert filter_.best in inside
        if now <= window:
            assert filter_.best == min(v for v, _ in seen)


@given(st.lists(st.integers(0, 10**10), min_size=1, max_size=60))
def test_whatever_the_samples_the_timeout_is_sane(samples: list[int]) -> None:
    rtt = RttEstimator()
    for i, value in enumerate(samples):
        rtt.sample(value, i, i, i + 5)
        assert rtt.srtt8 > 0
        assert rtt.mdev4 >= 0
        assert rtt.rttvar >= 200 * MS
        assert min(rtt.srtt + 200 * MS, 120 * SECOND) <= rtt.rto <= 120 * SECOND
