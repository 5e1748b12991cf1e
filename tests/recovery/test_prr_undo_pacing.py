"""PRR by the RFC's examples, undo by dialogue, pacing by addition."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ustack.recovery.pacing import MAX_QUANTUM, Pacer, pacing_rate
from ustack.recovery.prr import Prr
from ustack.recovery.undo import LossStep, Undo

MSS = 1000
MS = 1_000_000
SECOND = 1_000_000_000


def recovery(prr: Prr, flight: int, deliveries: list[int], lost: int) -> list[int]:
    """Segments sent on each ACK. ``flight``: before the loss; each ACK delivers so many segments."""
    in_flight = flight * MSS
    sent = []
    for i, segs in enumerate(deliveries):
        in_flight -= segs * MSS
        if i == 0:
            in_flight -= lost * MSS
        cwnd = prr.on_ack(segs * MSS, in_flight, lost * MSS if i == 0 else 0, False)
        n = max(0, (cwnd - in_flight) // MSS)
        prr.on_sent(n * MSS)
        in_flight += n * MSS
        sent.append(n)
    return sent


def test_one_loss_of_twenty_with_half_the_window() -> None:
    """RFC 6937 section 4's shape: a resend at once, then one segment for every second ACK."""
    prr = Prr(MSS)
    prr.enter(20 * MSS, 20 * MSS, 10 * MSS)
    sent = recovery(prr, 20, [1] * 19, 1)
    assert sent[0] == 1
    assert set(sent) <= {0, 1}
    assert sum(sent) == 10
    proportional = [-(-(i + 1) // 2) for i in range(19)]
    assert all(0 <= due - sum(sent[: i + 1]) <= 1 for i, due in enumerate(proportional))


def test_cubic_ratio_rounds_up_to_whole_segments() -> None:
    prr = Prr(MSS)
    prr.enter(10 * MSS, 10 * MSS, 7 * MSS)
    sent = recovery(prr, 10, [1] * 5, 1)
    assert [sum(sent[: i + 1]) for i in range(5)] == [1, 2, 3, 3, 3], "the flight is ssthresh now"


def test_burst_of_losses_is_repaired_by_what_is_delivered() -> None:
    """Flight far below ssthresh: as much leaves as arrives (conservation), one more per ACK while SND.UNA moves."""
    prr = Prr(MSS)
    prr.enter(20 * MSS, 20 * MSS, 10 * MSS)
    sent = recovery(prr, 20, [1, 1, 1, 1], 15)
    assert sent == [1, 1, 1, 1]
    cwnd = prr.on_ack(MSS, 3 * MSS, 0, True)
    assert cwnd == 3 * MSS + 2 * MSS
    cwnd = prr.on_ack(MSS, 3 * MSS, MSS, True)
    assert cwnd <= 3 * MSS + 2 * MSS, "a new loss: no slow start"


def test_without_delivery_nothing_changes() -> None:
    prr = Prr(MSS)
    prr.enter(20 * MSS, 20 * MSS, 10 * MSS)
    assert prr.on_ack(0, 19 * MSS, 0, False) == 0
    prr.leave()
    assert not prr.active


@given(
    st.integers(2, 100),
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4), st.booleans()), max_size=200),
)
def test_prr_never_leaves_more_than_it_may(window: int, acks: list[tuple[int, int, bool]]) -> None:
    ssthresh = max(window // 2, 2) * MSS
    prr = Prr(MSS)
    prr.enter(window * MSS, window * MSS, ssthresh)
    in_flight = window * MSS
    for arrived, lost, advanced in acks:
        delivered = min(arrived * MSS, in_flight)
        in_flight -= delivered
        newly_lost = min(lost * MSS, in_flight)
        in_flight -= newly_lost
        first = prr.out == 0
        cwnd = prr.on_ack(delivered, in_flight, newly_lost, advanced)
        if cwnd == 0:
            continue
        assert cwnd >= in_flight
        n = max(0, cwnd - in_flight)
        if in_flight + n > ssthresh:
            assert first or n <= delivered + MSS
        prr.on_sent(n)
        in_flight += n


def test_dsacks_of_all_resends_undo() -> None:
    undo = Undo()
    undo.start(1000, 9000)
    undo.on_resent(1000, 50)
    undo.on_resent(1000, 51)
    undo.on_dsack(1000, 2000)
    assert not undo.may_undo(60)
    undo.on_dsack(3000, 4000)
    assert undo.may_undo(60)
    undo.clear()
    assert not undo.may_undo(60)


def test_dsack_from_before_the_episode_does_not_count() -> None:
    undo = Undo()
    undo.start(1000, 9000)
    undo.on_resent(1000, 50)
    undo.on_dsack(0, 1000)
    assert not undo.may_undo(60)


def test_eifel_an_old_timestamp_undoes() -> None:
    undo = Undo()
    undo.start(1000, 9000)
    undo.on_resent(1000, 50)
    assert not undo.may_undo(-1), "no timestamps, no evidence"
    assert not undo.may_undo(50)
    assert not undo.may_undo(51)
    assert undo.may_undo(49)
    wrapped = Undo()
    wrapped.start(1000, 9000)
    wrapped.on_resent(1000, 3)
    assert wrapped.may_undo(2**32 - 5)


def test_an_advance_before_any_resend_left_is_no_loss() -> None:
    undo = Undo()
    undo.start(1000, 9000)
    assert undo.may_undo(-1)


def test_a_probe_before_the_episode_counts_but_an_old_stamp_does_not() -> None:
    undo = Undo()
    undo.on_resent(1000, 10)
    undo.start(1000, 9000, 1000)
    undo.on_dsack(8000, 9000)
    assert undo.may_undo(-1)
    undo.on_resent(1000, 10)
    undo.start(1000, 9000, 0)
    assert undo.retrans_stamp == -1


class TestFrto:
    """RFC 5682 section 3.1 in its SACK-enhanced form: high_seq 9000, the head [1000, 2000) resent."""

    def begin(self) -> Undo:
        undo = Undo()
        undo.start_loss(1000, 9000, 0, True)
        undo.on_resent(1000, -1)
        return undo

    def test_originals_arrive_spurious(self) -> None:
        undo = self.begin()
        assert undo.loss_step(2000, 9000, True, False, -1, -1) is LossStep.SEND_NEW
        assert undo.loss_step(3000, 11000, True, False, 2000, -1) is LossStep.SPURIOUS

    def test_one_ack_of_head_and_originals_is_spurious_at_once(self) -> None:
        assert self.begin().loss_step(4000, 9000, True, False, 2000, -1) is LossStep.SPURIOUS

    def test_duplicates_after_new_data_real_loss(self) -> None:
        undo = self.begin()
        assert undo.loss_step(2000, 9000, True, False, -1, -1) is LossStep.SEND_NEW
        # The new data [9000, 10000) is sacked: it lies beyond high_seq.
        assert undo.loss_step(2000, 11000, False, True, 9000, -1) is LossStep.RESEND
        assert not undo.frto

    def test_no_new_data_conventional(self) -> None:
        undo = self.begin()
        assert undo.loss_step(2000, 9000, True, False, -1, -1) is LossStep.SEND_NEW
        undo.frto_off()
        assert undo.loss_step(3000, 9000, True, False, -1, -1) is LossStep.RESEND

    def test_all_acknowledged_recovered(self) -> None:
        assert self.begin().loss_step(9000, 9000, True, False, -1, -1) is LossStep.RECOVERED

    def test_timestamps_say_so_too(self) -> None:
        undo = Undo()
        undo.start_loss(1000, 9000, 0, False)
        undo.on_resent(1000, 500)
        assert undo.loss_step(2000, 9000, True, False, -1, 499) is LossStep.SPURIOUS


def test_unpaced() -> None:
    pacer = Pacer(MSS)
    assert pacer.allowance(0) == MAX_QUANTUM
    pacer.on_sent(MAX_QUANTUM, 0)
    assert pacer.deadline(0) == 0


def test_the_free_segments_are_of_the_size_that_was_agreed_later() -> None:
    pacer = Pacer(MSS)
    pacer.mss = 3 * MSS
    pacer.rate = 1_000_000
    assert pacer.allowance(0) == 30 * MSS
    pacer.on_sent(9 * 3 * MSS, 0)
    assert pacer.allowance(0) == 2 * 3 * MSS
    pacer.on_sent(3 * MSS, 0)
    assert pacer.next_at == 3 * MS


def test_ten_segments_leave_at_once_then_the_rate_holds() -> None:
    pacer = Pacer(MSS)
    pacer.rate = 1_000_000  # a segment per millisecond
    pacer.on_sent(10 * MSS, 0)
    now = 5 * MS
    sent = 0
    begin = now
    while now < SECOND:
        allowed = pacer.allowance(now)
        if allowed == 0:
            now = pacer.deadline(now)
            assert now == pacer.next_at
            continue
        assert allowed == 2 * MSS
        pacer.on_sent(allowed, now)
        sent += allowed
    assert abs(sent - (now - begin) // 1000) <= 2 * 2 * MSS


def test_lateness_is_made_good_by_half_a_gap_at_most() -> None:
    pacer = Pacer(MSS)
    pacer.rate = 1_000_000
    pacer.unpaced_segs = 0
    pacer.next_at = 10 * MS
    pacer.on_sent(2 * MSS, 10 * MS)
    assert pacer.next_at == 12 * MS
    pacer.on_sent(2 * MSS, 12 * MS + 500_000)
    assert pacer.next_at == 14 * MS
    pacer.on_sent(2 * MSS, 100 * MS)
    assert pacer.next_at == 101 * MS


def test_what_a_late_wake_up_lost_is_made_up_for() -> None:
    pacer = Pacer(MSS)
    pacer.rate = 1_000_000
    pacer.unpaced_segs = 0
    pacer.next_at = 10 * MS
    pacer.on_sent(2 * MSS, 10 * MS)
    assert pacer.allowance(10 * MS + 1) == 0
    now = 17 * MS  # five late
    sent = 0
    while allowed := pacer.allowance(now):
        pacer.on_sent(allowed, now)
        sent += allowed
    assert sent == 6 * MSS, "5 ms of the rate, in whole quanta"
    assert pacer.next_at == 18 * MS, "the pace from before"


def test_no_more_than_forty_milliseconds_are_made_up_for() -> None:
    pacer = Pacer(MSS)
    pacer.rate = 1_000_000
    pacer.unpaced_segs = 0
    pacer.on_sent(2 * MSS, 10 * MS)
    assert pacer.allowance(10 * MS + 1) == 0
    pacer.on_sent(2 * MSS, 500 * MS)
    assert pacer.next_at == 462 * MS


def test_a_pause_of_the_application_is_no_lateness() -> None:
    pacer = Pacer(MSS)
    pacer.rate = 1_000_000
    pacer.unpaced_segs = 0
    pacer.on_sent(2 * MSS, 10 * MS)
    assert pacer.allowance(10 * MS + 1) == 0
    pacer.release()
    pacer.on_sent(2 * MSS, 100 * MS)
    assert pacer.next_at == 101 * MS
    pacer.on_sent(2 * MSS, 150 * MS)
    assert pacer.next_at == 151 * MS


def test_quantum_is_a_millisecond_between_two_segments_and_a_run() -> None:
    pacer = Pacer(MSS)
    pacer.rate = 1000
    assert pacer.quantum() == 2 * MSS
    pacer.rate = 100_000_000
    assert pacer.quantum() == 100_000
    pacer.rate = 10**10
    assert pacer.quantum() == MAX_QUANTUM


def test_linux_rate() -> None:
    assert pacing_rate(10 * MSS, 10 * MS, 200) == 2_000_000
    assert pacing_rate(10 * MSS, 10 * MS, 120) == 1_200_000
    assert pacing_rate(10 * MSS, 0, 120) == 0
