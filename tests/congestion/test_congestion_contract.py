"""One contract, run on every algorithm and on a user's own interpreted class."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ustack import congestion
from ustack.congestion import INFINITE_SSTHRESH, AckSample, CongestionControl

MSS = 1448
MS = 1_000_000


class Timid(CongestionControl):
    """A user's own: one segment per two windows, a quarter off at a loss."""

    name = "timid"

    def on_ack(self, sample: AckSample) -> None:
        if sample.in_recovery or not sample.cwnd_limited:
            return
        left = self.slow_start(sample.acked)
        if left:
            self.avoid(left, 2 * self.cwnd)

    def ssthresh_after_loss(self, now: int, in_flight: int) -> int:
        return self.cwnd * 3 // 4


ALGORITHMS = [*congestion.ALGORITHMS.values(), Timid]
every = pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: a.name)
moving = pytest.mark.parametrize("algorithm", [a for a in ALGORITHMS if a.name != "fixed"], ids=lambda a: a.name)
by_loss = pytest.mark.parametrize("algorithm", [a for a in ALGORITHMS if not a.owns_recovery], ids=lambda a: a.name)


def sample(control: CongestionControl, now: int, acked: int, rtt: int = 40 * MS) -> AckSample:
    s = AckSample()
    s.now = now
    s.acked = s.delivered = acked
    s.prior_in_flight = control.cwnd
    s.in_flight = max(control.cwnd - acked, 0)
    s.rtt = s.min_rtt = s.srtt = rtt
    s.delivery_rate = max(control.cwnd * 1_000_000_000 // rtt, 1)
    s.interval = rtt
    s.una = s.delivered_total = now // rtt * control.cwnd + acked
    s.nxt = s.una + s.in_flight
    s.prior_delivered = max(s.delivered_total - control.cwnd, 0)
    return s


@every
def test_begins_with_the_initial_window(algorithm: type[CongestionControl]) -> None:
    control = algorithm(MSS, 10 * MSS)
    assert (control.cwnd, control.ssthresh) == (10 * MSS, INFINITE_SSTHRESH)
    assert algorithm(MSS, 1).cwnd == MSS


def test_names() -> None:
    for name, algorithm in congestion.ALGORITHMS.items():
        assert algorithm.name == name
        assert isinstance(congestion.create(name, MSS, 10 * MSS), algorithm)
    with pytest.raises(KeyError):
        congestion.create("vegas", MSS, 10 * MSS)


@moving
def test_slow_start_counts_the_bytes_of_a_whole_run(algorithm: type[CongestionControl]) -> None:
    control = algorithm(MSS, 10 * MSS)
    control.on_ack(sample(control, 1000 * MS, 10 * MSS))
    assert control.cwnd == 20 * MSS


@by_loss
def test_no_growth_while_the_window_is_not_used_or_in_recovery(algorithm: type[CongestionControl]) -> None:
    control = algorithm(MSS, 10 * MSS)
    idle = sample(control, 1000 * MS, 10 * MSS)
    idle.cwnd_limited = False
    control.on_ack(idle)
    hurt = sample(control, 1040 * MS, 10 * MSS)
    hurt.in_recovery = True
    control.on_ack(hurt)
    assert control.cwnd == 10 * MSS


@pytest.mark.rfc9293("MAY-18")
@by_loss
def test_a_loss_sets_ssthresh_only_and_undo_restores(algorithm: type[CongestionControl]) -> None:
    control = algorithm(MSS, 100 * MSS)
    control.on_loss(1000 * MS, 100 * MSS)
    assert control.cwnd == 100 * MSS
    assert 2 * MSS <= control.ssthresh < 100 * MSS
    assert control.ssthresh % MSS == 0
    control.cwnd = 40 * MSS  # PRR's doing
    control.undo(1010 * MS)
    assert control.cwnd == 100 * MSS
    assert control.ssthresh == INFINITE_SSTHRESH
    control.cwnd = 50 * MSS
    control.undo(1020 * MS)
    assert control.cwnd == 50 * MSS, "a reduction is undone once"


@by_loss
def test_recovered_means_ssthresh(algorithm: type[CongestionControl]) -> None:
    control = algorithm(MSS, 100 * MSS)
    control.on_loss(1000 * MS, 100 * MSS)
    control.on_recovered(1100 * MS)
    assert control.cwnd == control.ssthresh


@pytest.mark.rfc9293("MAY-18")
@moving
def test_timeout_leaves_one_segment_and_undo_restores(algorithm: type[CongestionControl]) -> None:
    control = algorithm(MSS, 100 * MSS)
    control.on_timeout(1000 * MS, 100 * MSS)
    assert control.cwnd == MSS
    control.undo(1010 * MS)
    assert control.cwnd == 100 * MSS


@pytest.mark.rfc9293("MAY-18")
@by_loss
def test_ecn_is_never_undone(algorithm: type[CongestionControl]) -> None:
    control = algorithm(MSS, 100 * MSS)
    control.on_ecn(1000 * MS, 100 * MSS)
    ssthresh = control.ssthresh
    assert ssthresh < 100 * MSS
    control.undo(1010 * MS)
    assert control.ssthresh == ssthresh


@by_loss
def test_a_tiny_window_keeps_two_segments_of_ssthresh(algorithm: type[CongestionControl]) -> None:
    control = algorithm(MSS, MSS)
    control.on_loss(1000 * MS, MSS)
    assert control.ssthresh == 2 * MSS


@by_loss
def test_idle_halves_per_rto_down_to_the_initial_window(algorithm: type[CongestionControl]) -> None:
    control = algorithm(MSS, 10 * MSS)
    control.cwnd = 100 * MSS
    control.on_idle(1000 * MS, 200 * MS, 200 * MS)
    assert control.cwnd == 100 * MSS
    control.on_idle(1000 * MS, 201 * MS, 200 * MS)
    assert control.cwnd == 50 * MSS
    assert control.ssthresh == INFINITE_SSTHRESH
    control.on_idle(9000 * MS, 8000 * MS, 200 * MS)
    assert control.cwnd == 10 * MSS


@by_loss
def test_a_smaller_mss_keeps_the_count_of_segments(algorithm: type[CongestionControl]) -> None:
    control = algorithm(MSS, 100 * MSS)
    control.on_loss(1000 * MS, 100 * MSS)
    before = control.ssthresh // MSS
    control.on_mss(500)
    assert control.cwnd == 100 * 500
    assert control.ssthresh // 500 == before


events = st.lists(
    st.tuples(
        st.sampled_from(["ack", "ack", "ack", "loss", "recovered", "timeout", "ecn", "idle", "undo", "mss"]),
        st.integers(1, 3_000_000),
        st.integers(1, 5_000_000_000),
    ),
    max_size=60,
)


@every
@given(events=events)
@settings(max_examples=100, deadline=None)
def test_whatever_happens_the_windows_stay_sane(
    algorithm: type[CongestionControl], events: list[tuple[str, int, int]]
) -> None:
    control = algorithm(MSS, 10 * MSS)
    now = 1000 * MS
    for name, size, pause in events:
        now += pause
        if name == "ack":
            s = sample(control, now, size, rtt=1 + pause % (300 * MS))
            s.in_recovery = size % 7 == 0
            s.app_limited = size % 5 == 0
            control.on_ack(s)
        elif name == "loss":
            control.on_loss(now, size)
        elif name == "recovered":
            control.on_recovered(now)
        elif name == "timeout":
            control.on_timeout(now, size)
        elif name == "ecn":
            control.on_ecn(now, size)
        elif name == "idle":
            control.on_idle(now, pause, 200 * MS)
        elif name == "undo":
            control.undo(now)
        else:
            control.on_mss(536 + size % 8000)
        assert control.mss <= control.cwnd < 2**32
        assert 2 * control.mss <= control.ssthresh <= INFINITE_SSTHRESH
        assert control.pacing_rate >= 0
        assert type(control.cwnd) is int
        assert type(control.ssthresh) is int
        assert type(control.pacing_rate) is int
