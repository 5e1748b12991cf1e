"""RACK-TLP and NewReno as dialogues with the scoreboard (RFC 8985, RFC 6582, RFC 2018, RFC 2883)."""

from __future__ import annotations

from ustack.recovery.rack import TIMEOUT_MIN, Rack, TailLossProbe, tlp_timeout
from ustack.recovery.scoreboard import Scoreboard

MSS = 1000
MS = 1_000_000
RTT = 40 * MS


def board_with(segs: int, now: int = 0, apart: int = 0) -> Scoreboard:
    """``segs`` segments out, sent ``apart`` ns from each other."""
    board = Scoreboard(0, MSS)
    for i in range(segs):
        board.sent(i * MSS, (i + 1) * MSS, now + i * apart)
    return board


def sack(board: Scoreboard, now: int, *segs: int, una: int = 0) -> int:
    """One ACK that sacks the segments; the bytes newly lost."""
    board.acked(una * MSS, [(n * MSS, (n + 1) * MSS) for n in segs], now)
    return board.detect_losses(now, RTT, RTT)


def test_without_reordering_the_third_segment_above_a_hole_makes_it_a_loss() -> None:
    board = board_with(10, apart=1000)
    assert sack(board, RTT + 1000, 1) == 0
    assert board.rack_deadline == 0 + RTT + RTT // 4 + TIMEOUT_MIN, "sent at 0, one RTT, the window, the slack"
    assert sack(board, RTT + 2000, 2) == 0
    assert sack(board, RTT + 3000, 3) == MSS
    assert board.next_lost() == (0, MSS)
    assert board.rack_deadline == 0
    assert board.in_flight == 6 * MSS


def test_one_ack_of_a_run_counts_its_segments() -> None:
    board = Scoreboard(0, MSS)
    board.sent(0, 10 * MSS, 0)
    board.acked(0, [(MSS, 10 * MSS)], RTT)
    assert board.detect_losses(RTT, RTT, RTT) == MSS
    assert (board.sacked_segs, board.in_flight) == (9, 0)


def test_two_sacked_segments_wait_for_a_quarter_rtt() -> None:
    board = board_with(3)
    assert sack(board, RTT, 2) == 0
    deadline = board.rack_deadline
    assert deadline == RTT + RTT // 4 + TIMEOUT_MIN
    assert board.detect_losses(deadline - 1, RTT, RTT) == 0
    assert board.detect_losses(deadline, RTT, RTT) == 2 * MSS
    assert board.rack_deadline == 0


def test_reordering_seen_makes_patient_and_forgets_dupthresh() -> None:
    board = board_with(10, apart=1000)
    sack(board, RTT + 1000, 1)
    result = board.acked(0, [(0, 2 * MSS)], RTT + 1100)
    assert not result.dsack
    board = board_with(10, apart=1000)
    sack(board, RTT + 1000, 3)
    result = board.acked(3 * MSS, [(3 * MSS, 4 * MSS)], RTT + 2000)
    assert result.reordered, "three originals fill the hole below what was sacked"
    assert board.reord_seen == 1
    board.acked(4 * MSS, [(5 * MSS, 9 * MSS)], RTT + 9000)
    assert board.sacked_segs == 4
    assert board.detect_losses(RTT + 9000, RTT, RTT) == 0
    assert board.rack_deadline > 0


def test_reordering_distance_raises_the_threshold() -> None:
    board = board_with(40, apart=1000)
    sack(board, RTT, 29)
    board.acked(0, [(5 * MSS, 6 * MSS), (29 * MSS, 30 * MSS)], RTT + 1)
    assert board.reordering == 25
    board.acked(0, [(1 * MSS, 2 * MSS)], RTT + 2)
    assert board.reordering == 29


def test_dsack_widens_the_window_by_steps_and_sixteen_recoveries_narrow_it() -> None:
    rack = Rack()
    assert rack.reo_wnd(RTT, RTT) == RTT // 4
    rack.dsack_seen = True
    rack.adapt(0, 1000)
    assert rack.reo_wnd(RTT, RTT) == RTT // 2
    rack.dsack_seen = True
    rack.adapt(500, 2000)
    assert rack.reo_steps == 2, "at most once per round trip"
    for n in range(1, 10):
        rack.dsack_seen = True
        rack.adapt(n * 10_000, n * 10_000 + 1)
    assert rack.reo_wnd(RTT, RTT) == RTT, "never beyond srtt"
    assert rack.reo_persist == 16
    board = Scoreboard(0, MSS)
    board.rack = rack
    for _ in range(16):
        board.on_recovered()
    rack.adapt(10**6, 10**6)
    assert rack.reo_wnd(RTT, RTT) == RTT // 4


def test_dsacks_count_only_after_reordering_and_only_for_what_was_resent() -> None:
    board = board_with(10)
    result = board.acked(3 * MSS, [(0, MSS)], RTT)
    assert not result.dsack, "nothing was ever resent: the network's own copy"
    board = board_with(10)
    board.mark_all_lost()
    board.resent(0, 5 * MSS, RTT)
    result = board.acked(5 * MSS, [(0, MSS)], 2 * RTT)
    assert result.dsack
    assert (result.dsack_start, result.dsack_end) == (0, MSS)
    assert not board.rack.dsack_seen
    board.reord_seen = 1
    board.tlp_end = 3 * MSS
    board.acked(5 * MSS, [(2 * MSS, 3 * MSS)], 2 * RTT)
    assert not board.rack.dsack_seen, "the probe's"
    board.tlp_end = -1
    board.rate.prior_at = -1
    board.acked(5 * MSS, [(2 * MSS, 3 * MSS)], 2 * RTT)
    assert board.rack.dsack_seen


def test_dsack_inside_a_sacked_block() -> None:
    board = board_with(10)
    board.mark_all_lost()
    board.resent(0, 10 * MSS, RTT)
    result = board.acked(0, [(3 * MSS, 4 * MSS), (2 * MSS, 6 * MSS)], 2 * RTT)
    assert result.dsack
    assert result.sacked == 4 * MSS
    assert board.sacked_bytes == 4 * MSS


def test_a_lost_resend_is_found_by_rack() -> None:
    board = board_with(10, apart=1000)
    board.in_recovery = True
    assert sack(board, RTT, 1) == MSS
    board.resent(0, MSS, RTT)
    assert board.in_flight == 9 * MSS
    assert sack(board, RTT + 5000, 2) == 0, "sent before the resend: says nothing about it"
    board.sent(10 * MSS, 11 * MSS, RTT + 6000)
    assert sack(board, 2 * RTT + 6000, 10) == MSS + 7 * MSS
    assert board.next_lost() == (0, MSS)
    board.resent(0, MSS, 2 * RTT + 7000)
    assert board.total_retrans == 2


def test_an_answer_sooner_than_the_smallest_rtt_is_the_originals() -> None:
    board = board_with(4)
    board.detect_losses(0, RTT, RTT)
    board.mark_all_lost()
    board.resent(0, MSS, 10 * RTT)
    result = board.acked(MSS, [], 10 * RTT + RTT // 2)
    assert result.spurious
    assert result.rtt == -1
    assert not board.rack.advanced


def test_an_old_echo_is_the_originals() -> None:
    board = board_with(4)
    board.mark_all_lost()
    board.resent(0, 2 * MSS, 10 * RTT)
    assert board.acked(MSS, [], 12 * RTT, 9 * RTT).spurious
    assert not board.acked(2 * MSS, [], 12 * RTT, 10 * RTT).spurious
    assert board.rack.sent_at == 10 * RTT


def test_reneging_is_seen_and_forgotten_on_the_timeout() -> None:
    board = board_with(5)
    sack(board, RTT, 1, 2)
    board.acked(MSS, [], 2 * RTT)
    assert board.reneging
    assert board.mark_all_lost(100 * RTT) == 4 * MSS
    assert not board.reneging
    assert (board.sacked_bytes, board.lost_bytes, board.in_flight) == (0, 4 * MSS, 0)
    assert board.renegings == 1
    assert board.next_lost() == (MSS, 3 * MSS) or board.next_lost() == (MSS, 5 * MSS)


def test_illegal_blocks_are_counted_and_change_nothing() -> None:
    board = board_with(5)
    result = board.acked(0, [(4 * MSS, 6 * MSS), (3 * MSS, 3 * MSS), (3 * MSS, 2 * MSS)], RTT)
    assert not result.any_new
    assert board.illegal_blocks == 3
    assert board.in_flight == 5 * MSS


def test_blocks_that_cut_segments_count_for_whole_segments_only() -> None:
    board = Scoreboard(0, MSS)
    board.sent(0, 10 * MSS + 300, 0)
    board.acked(0, [(2 * MSS - 1, 3 * MSS + 1), (5 * MSS + 1, 5 * MSS + 2), (9 * MSS, 10 * MSS + 300)], RTT)
    assert [(r.start, r.end) for r in board.sent_list.live() if r.sacked] == [
        (2 * MSS, 3 * MSS),
        (9 * MSS, 10 * MSS + 300),
    ]
    for n in range(0, 10 * MSS, 2):
        board.acked(0, [(n, n + 1)], RTT)
    assert len(board.sent_list) == 4, "a peer that sacks single bytes makes no records"


def test_acknowledgments_never_go_beyond_what_was_sent() -> None:
    board = board_with(2)
    board.acked(5 * MSS, [], RTT)
    assert board.una == 2 * MSS
    assert board.is_empty


def test_the_timeout_spares_what_left_less_than_an_rtt_ago() -> None:
    board = board_with(4, apart=100 * MS)
    board.acked(MSS, [], RTT)
    assert board.mark_all_lost(310 * MS) == 2 * MSS
    assert board.in_flight == MSS


def test_after_an_undo_nothing_resent_is_measured() -> None:
    board = board_with(4)
    board.mark_all_lost()
    board.resent(0, 2 * MSS, 5 * RTT)
    board.mark_all_lost()
    board.forget_losses()
    assert board.is_clean
    assert board.in_flight == 4 * MSS
    assert board.acked(MSS, [], 6 * RTT).rtt == -1
    assert board.acked(3 * MSS, [], 6 * RTT).rtt == -1
    assert board.acked(4 * MSS, [], 6 * RTT).rtt == 6 * RTT
    board.sent(4 * MSS, 5 * MSS, 7 * RTT)
    assert board.acked(5 * MSS, [], 8 * RTT).rtt == RTT


def test_probe_times() -> None:
    assert tlp_timeout(RTT, 2, 500 * MS) == 2 * RTT + 2 * MS
    assert tlp_timeout(RTT, 1, 500 * MS) == 2 * RTT + 200 * MS
    assert tlp_timeout(RTT, 1, 240 * MS) == 240 * MS, "never later than the RTO"
    assert tlp_timeout(0, 2, 3000 * MS) == 1000 * MS


def test_probe_that_repaired_a_loss_reduces() -> None:
    probe = TailLossProbe()
    assert not probe.on_ack(10_000, False, False)
    probe.sent(10_000, True)
    assert not probe.on_ack(9_000, False, False)
    assert not probe.on_ack(10_000, False, False), "data to the end: no verdict yet"
    assert probe.on_ack(11_000, False, False), "beyond the end without a duplicate: the original was lost"
    assert not probe.on_ack(12_000, False, False)


def test_probe_that_was_needless_does_not() -> None:
    probe = TailLossProbe()
    probe.sent(10_000, True)
    assert not probe.on_ack(10_000, True, False)
    assert probe.high_seq == -1
    probe.sent(10_000, True)
    assert not probe.on_ack(10_000, False, True)
    assert probe.high_seq == -1
    probe.sent(10_000, False)
    assert not probe.on_ack(11_000, False, False)
    probe.sent(10_000, True)
    probe.cancel()
    assert not probe.on_ack(11_000, False, False)


def newreno(segs: int) -> Scoreboard:
    board = board_with(segs)
    board.enable_sack = False
    return board


def duplicate(board: Scoreboard, now: int) -> int:
    result = board.acked(board.una, [], now)
    assert not result.any_new
    board.dupack(now)
    return board.detect_losses(now, RTT, RTT)


def test_newreno_three_duplicates_then_partial_acks() -> None:
    board = newreno(10)
    assert [duplicate(board, RTT + n) for n in range(3)] == [0, 0, MSS]
    assert board.in_flight == 10 * MSS - 3 * MSS - MSS
    board.in_recovery = True
    assert board.next_lost() == (0, MSS)
    board.resent(0, MSS, RTT + 3)
    for n in range(4):
        assert duplicate(board, RTT + 4 + n) == 0
    assert board.in_flight == 10 * MSS - 7 * MSS - MSS + MSS
    # A partial acknowledgment: the hole at 5 is next, at once (RFC 6582 section 3.2 step 3).
    result = board.acked(5 * MSS, [], 2 * RTT)
    assert result.acked == 5 * MSS
    assert result.rtt == -1, "Karn"
    assert board.detect_losses(2 * RTT, RTT, RTT) == MSS
    assert board.next_lost() == (5 * MSS, 6 * MSS)
    board.resent(5 * MSS, 6 * MSS, 2 * RTT)
    board.acked(10 * MSS, [], 3 * RTT)
    assert board.is_empty
    assert board.in_flight == 0
    assert board.is_clean


def test_newreno_duplicates_never_exceed_what_is_out() -> None:
    board = newreno(3)
    for n in range(20):
        duplicate(board, RTT + n)
        assert board.in_flight >= 0
    assert board.sacked_bytes == 2 * MSS


def test_newreno_timeout_forgets_the_duplicates() -> None:
    board = newreno(5)
    duplicate(board, RTT)
    assert board.mark_all_lost(100 * RTT) == 5 * MSS
    assert board.in_flight == 0


def test_delivery_rate_of_a_steady_flow() -> None:
    board = Scoreboard(0, MSS)
    sent = acked = 0
    rate = 0
    for tick in range(200):
        now = tick * MS
        board.sent(sent, sent + MSS, now)
        sent += MSS
        if tick >= 40:
            acked += MSS
            rate = board.acked(acked, [], now).delivery_rate
    assert rate == 1_000_000
    assert board.delivered == acked


def test_delivery_rate_does_not_trust_compressed_acks() -> None:
    """Sent over 10 ms, acknowledged within 1 us: the rate is that of the sending."""
    board = Scoreboard(0, MSS)
    for n in range(11):
        board.sent(n * MSS, (n + 1) * MSS, n * MS)
    board.acked(MSS, [], 50 * MS)
    result = board.acked(11 * MSS, [], 50 * MS + 1000)
    assert result.delivery_rate <= 11 * MSS * 1_000_000_000 // (10 * MS)


def test_app_limited_samples_say_so() -> None:
    board = Scoreboard(0, MSS)
    board.sent(0, MSS, 0, True)
    board.sent(MSS, 2 * MSS, 1 * MS)
    assert not board.acked(MSS, [], RTT).app_limited, "left before the bubble"
    assert board.acked(2 * MSS, [], RTT + MS).app_limited
    board.sent(2 * MSS, 3 * MSS, 2 * RTT)
    board.sent(3 * MSS, 4 * MSS, 2 * RTT + 1)
    assert not board.acked(4 * MSS, [], 3 * RTT).app_limited


def test_a_smaller_path_mtu_loses_what_was_too_large() -> None:
    board = board_with(3)
    board.sent(3 * MSS, 3 * MSS + 200, 1)
    sack(board, RTT, 1)
    board.mss = 500
    assert board.mark_oversized([]) == 2 * MSS
    assert board.mark_oversized([]) == 0
    assert board.next_lost() == (0, MSS)
    board.resent(0, MSS, RTT + 1)
    assert board.total_retrans == 2, "cut anew"
    board.acked(0, [(500, 2000)], 2 * RTT + 1)
    assert board.sacked_bytes == 1500


def test_many_records_stay_cheap() -> None:
    """A 6 MiB window of single segments, every second lost: work is counted in records looked at, not in time."""
    board = Scoreboard(0, 1448)
    count = 4500
    for n in range(count):
        board.sent(n * 1448, (n + 1) * 1448, n * 1000)
    looked = 0
    find = board.sent_list.find
    for n in range(1, count, 2):
        now = count * 1000 + RTT + n * 1000
        at = find(n * 1448)
        looked += board.sent_list.records[at].start == n * 1448
        board.acked(0, [(n * 1448, (n + 1) * 1448)], now)
        board.in_recovery = True
        board.detect_losses(now, RTT, RTT)
        while (hole := board.next_lost()) is not None:
            board.resent(hole[0], hole[1], now)
    assert looked == count // 2
    assert board.sacked_bytes == count // 2 * 1448
    assert len(board.sent_list) <= count
    board.acked(count * 1448, [], 10**10)
    assert board.is_empty
    assert len(board.sent_list) == 0
    assert board.sent_list.oldest is None
    assert board.sent_list.newest is None
