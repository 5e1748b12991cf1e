"""What losses do to a connection: the congestion states of Linux (Open, Disorder, CWR, Recovery, Loss).

The scoreboard says what is lost, PRR and the congestion control say how much may be in flight, the undo
record says when it was a mistake; this file is the state machine between them (Linux's
``tcp_fastretrans_alert``), and the loss timer: RFC 6298 (RTO), RFC 8985 (tail-loss probe, reordering),
RFC 9293 section 3.8.6.1 (zero-window probe).
"""

from __future__ import annotations

from ustack.recovery.rack import tlp_timeout
from ustack.recovery.result import AckResult
from ustack.recovery.undo import LossStep
from ustack.tcp.constants import MILLISECOND, MODEL_RTO_MIN
from ustack.tcp.tcb import CA_CWR, CA_DISORDER, CA_LOSS, CA_OPEN, CA_RECOVERY, AckNews, Tcb
from ustack.tcp.timers import LossTimer, Timer

# The loss timer


def rearm_rto(tcb: Tcb, now: int) -> None:
    """Start the RTO from now, or from the head's sending where a probe's timer ran (RFC 6298 section 5.3)."""
    if tcb.board.is_empty:
        tcb.timers.stop_loss()
        return
    at = now + tcb.rtt.rto
    if tcb.timers.loss in (LossTimer.TAIL_LOSS, LossTimer.REORDERING):
        at = max(tcb.board.oldest_sent_at + tcb.rtt.rto, now + MILLISECOND)
    tcb.timers.arm_loss(LossTimer.RTO, within_user_timeout(tcb, at, now))


def within_user_timeout(tcb: Tcb, at: int, now: int) -> int:
    """TCP_USER_TIMEOUT may end the resends before the RTO does (Linux's tcp_clamp_rto_to_user_timeout)."""
    user_timeout = tcb.options.user_timeout_ms * MILLISECOND
    if user_timeout and tcb.retrans_since:
        return min(at, max(tcb.retrans_since + user_timeout, now + MILLISECOND))
    return at


def schedule_probe(tcb: Tcb, advancing: bool, now: int) -> bool:
    """Arm a tail-loss probe where one helps: SACK, no recovery, something in flight (RFC 8985 section 7.2)."""
    if tcb.env.settings.tcp_early_retrans not in (3, 4) or not tcb.sack_on or tcb.board.is_empty:
        return False
    if tcb.ca_state not in (CA_OPEN, CA_CWR):
        return False
    left = tcb.rtt.rto
    if not advancing:
        left = tcb.board.oldest_sent_at + tcb.rtt.rto - now
    segs = 1 if tcb.board.highest_sent - tcb.board.una <= tcb.snd_mss else 2
    delay = tlp_timeout(tcb.rtt.srtt, segs, left, tcb.env.settings.rto_min)
    tcb.timers.arm_loss(LossTimer.TAIL_LOSS, now + delay)
    return True


def after_ack_timer(tcb: Tcb, now: int) -> None:
    """Something in flight was acknowledged: the loss timer starts again."""
    if tcb.board.is_empty:
        tcb.timers.stop_loss()
    elif tcb.board.rack_deadline and tcb.ca_state != CA_LOSS:
        tcb.timers.arm_loss(LossTimer.REORDERING, tcb.board.rack_deadline)
    elif not schedule_probe(tcb, True, now):
        tcb.timers.loss = LossTimer.NONE
        rearm_rto(tcb, now)


def after_new_data(tcb: Tcb, was_empty: bool, now: int) -> None:
    """A run left for the first time."""
    if tcb.prr.active:
        tcb.prr.on_sent(tcb.last_run)
    meaning = tcb.timers.loss
    if was_empty or meaning is LossTimer.TAIL_LOSS or meaning is LossTimer.NONE:
        if was_empty:
            tcb.timers.loss = LossTimer.NONE
        rearm_rto(tcb, now)
        schedule_probe(tcb, False, now)


def before_resend(tcb: Tcb, length: int, now: int) -> None:
    """[start, end) is about to leave again: what undo and PRR must know."""
    stamp = tcb.env.timestamp(tcb.ts_offset, now) if tcb.ts_on else -1
    tcb.undo.on_resent(length, stamp)
    if tcb.prr.active:
        tcb.prr.on_sent(length)


def after_resend(tcb: Tcb, start: int, now: int) -> None:
    """The head left again: the RTO counts from here."""
    meaning = tcb.timers.loss
    if meaning is LossTimer.NONE or (start == tcb.snd_una and meaning is not LossTimer.REORDERING):
        tcb.timers.loss = LossTimer.NONE
        rearm_rto(tcb, now)


def arm_probe_if_stuck(tcb: Tcb, now: int) -> None:
    """Text waits, nothing is in flight, no timer runs: probe the shut window (Linux's tcp_check_probe_timer)."""
    if tcb.board.is_empty and not tcb.timers.is_armed(Timer.RETRANSMIT):
        tcb.timers.arm_loss(LossTimer.PROBE, now + (max(tcb.rtt.rto, MODEL_RTO_MIN) << tcb.backoff))


def reordering_timeout(tcb: Tcb, now: int) -> None:
    """RACK waited long enough for reordered segments (RFC 8985 section 6.2, step 5)."""
    lost = tcb.board.detect_losses(now, tcb.rtt.srtt, tcb.rtt.min_rtt)
    if lost:
        if tcb.ca_state not in (CA_RECOVERY, CA_LOSS):
            enter_recovery(tcb, False, now)
        if tcb.ca_state == CA_RECOVERY and tcb.congestion is not None and not tcb.congestion.owns_recovery:
            tcb.congestion.cwnd = max(tcb.congestion.cwnd, tcb.board.in_flight + tcb.snd_mss)
    if tcb.board.rack_deadline:
        tcb.timers.arm_loss(LossTimer.REORDERING, tcb.board.rack_deadline)
    else:
        rearm_rto(tcb, now)


# Entering


def _reduce(tcb: Tcb, by_ecn: bool, now: int) -> None:
    """One reduction begins (Linux's tcp_init_cwnd_reduction)."""
    tcb.high_seq = tcb.snd_nxt
    tcb.tlp.cancel()
    control = tcb.congestion
    if control is not None:
        prior = control.cwnd
        if by_ecn:
            control.on_ecn(now, tcb.board.in_flight)
        else:
            control.on_loss(now, tcb.board.in_flight)
        if not control.owns_recovery:
            tcb.prr.enter(tcb.board.in_flight, prior, control.ssthresh)
    tcb.ecn_cwr_owed = tcb.ecn_on


def enter_recovery(tcb: Tcb, ece: bool, now: int) -> None:
    """A loss is evident: fast recovery (RFC 6675 section 5, RFC 6582)."""
    tcb.env.counters.add("TCPSackRecovery" if tcb.sack_on else "TCPRenoRecovery")
    tcb.undo.start(tcb.snd_una, tcb.snd_nxt, tcb.board.retransmitted_bytes)
    if tcb.ca_state != CA_CWR:
        _reduce(tcb, False, now)
    else:
        tcb.high_seq = tcb.snd_nxt
    if ece:
        tcb.undo.clear()
    tcb.ca_state = CA_RECOVERY
    tcb.board.in_recovery = True


def enter_cwr(tcb: Tcb, now: int) -> None:
    """ECN-Echo, or a probe that repaired a loss: reduce without resending (RFC 3168 section 6.1.2)."""
    if tcb.ca_state in (CA_OPEN, CA_DISORDER):
        tcb.undo.clear()
        _reduce(tcb, True, now)
        tcb.ca_state = CA_CWR


def enter_loss(tcb: Tcb, now: int) -> None:
    """The RTO fired (RFC 6298 section 5.4 to 5.6, RFC 5681 section 3.1, RFC 5682 step 1)."""
    board = tcb.board
    fresh = tcb.ca_state in (CA_OPEN, CA_DISORDER, CA_CWR)
    control = tcb.congestion
    in_flight = board.in_flight
    board.mark_all_lost(now)
    first_of_episode = (
        tcb.ca_state in (CA_OPEN, CA_DISORDER)
        or tcb.high_seq <= tcb.snd_una
        or (tcb.ca_state == CA_LOSS and tcb.retransmits == 0)
    )
    frto = bool(tcb.env.settings.tcp_frto) and (fresh or tcb.retransmits > 0)
    if first_of_episode:
        if control is not None:
            control.on_timeout(now, in_flight)
        tcb.undo.start_loss(tcb.snd_una, tcb.snd_nxt, board.retransmitted_bytes, frto)
    tcb.undo.frto = frto
    if control is not None:
        control.cwnd = board.in_flight + tcb.snd_mss
    tcb.prr.leave()
    tcb.tlp.cancel()
    tcb.ca_state = CA_LOSS
    board.in_recovery = True
    tcb.high_seq = tcb.snd_nxt
    tcb.ecn_cwr_owed = tcb.ecn_on


# Leaving


def _open(tcb: Tcb) -> None:
    tcb.ca_state = CA_OPEN
    tcb.board.in_recovery = False
    tcb.prr.leave()
    tcb.retrans_since = 0
    tcb.undo.clear()


def _undo(tcb: Tcb, forget: bool, now: int) -> None:
    """The reduction was a mistake: the window is back (RFC 4015, RFC 3522, RFC 5682 step 3b)."""
    tcb.env.counters.add("TCPFullUndo")
    if forget:
        tcb.board.forget_losses()
    if tcb.congestion is not None:
        tcb.congestion.undo(now)
    tcb.prr.leave()
    tcb.undo.clear()


def _recovered(tcb: Tcb, now: int, ts_ecr: int) -> None:
    """All that was out when the episode began is acknowledged."""
    may_undo = tcb.undo.may_undo(ts_ecr)
    if not tcb.board.enable_sack:
        tcb.board.forget_duplicates()
    if may_undo:
        _undo(tcb, False, now)
    if _is_held(tcb):
        return
    if not may_undo and tcb.ca_state != CA_LOSS and tcb.congestion is not None and not tcb.congestion.owns_recovery:
        tcb.congestion.on_recovered(now)
    tcb.board.on_recovered()
    _open(tcb)


def _is_held(tcb: Tcb) -> bool:
    """Without SACK an episode ends when something *above* its end is acknowledged.

    Duplicate ACKs at its end answer resends that were not needed, and show no new loss (RFC 6582 section 3.2; Linux's
    tcp_is_non_sack_preventing_reopen)."""
    return not tcb.board.enable_sack and tcb.snd_una == tcb.high_seq


# The step of each ACK


def react(tcb: Tcb, result: AckResult, news: AckNews, now: int) -> None:
    """Let one ACK move the congestion state (Linux's tcp_fastretrans_alert), and mark what it shows to be lost."""
    board = tcb.board
    if tcb.tlp.high_seq >= 0:
        _answer_probe(tcb, result, news, now)
    if result.dsack:
        tcb.undo.on_dsack(result.dsack_start, result.dsack_end)
    if tcb.ca_state == CA_OPEN and board.is_clean and not news.is_duplicate and not news.ece:
        return
    _expect_reneging(tcb, now)
    _count_duplicates(tcb, news, now)
    _go_on(tcb, result, news, now)
    if tcb.ca_state in (CA_RECOVERY, CA_LOSS):
        _find_more_losses(tcb, news, now)
        return
    if tcb.undo.marker >= 0 and tcb.undo.resends == 0 and tcb.ca_state <= CA_DISORDER:
        _undo(tcb, False, now)
    news.lost += board.detect_losses(now, tcb.rtt.srtt, tcb.rtt.min_rtt)
    if board.lost_bytes > 0:
        enter_recovery(tcb, news.ece, now)
    elif news.ece:
        enter_cwr(tcb, now)
    elif tcb.ca_state != CA_CWR:
        tcb.ca_state = CA_OPEN if board.is_clean else CA_DISORDER


def _count_duplicates(tcb: Tcb, news: AckNews, now: int) -> None:
    """Without SACK duplicate ACKs are counted (RFC 6582); those before SND.UNA moved say nothing about what follows."""
    board = tcb.board
    if board.enable_sack:
        return
    if tcb.snd_una > news.prior_una:
        if tcb.ca_state != CA_RECOVERY:
            board.forget_duplicates()
    elif news.is_duplicate and not board.is_empty and (tcb.ca_state != CA_LOSS or tcb.snd_nxt > tcb.high_seq):
        board.dupack(now)


def _find_more_losses(tcb: Tcb, news: AckNews, now: int) -> None:
    if not _is_held(tcb):
        news.lost += tcb.board.detect_losses(now, tcb.rtt.srtt, tcb.rtt.min_rtt)


def _expect_reneging(tcb: Tcb, now: int) -> None:
    """The peer threw away what it had sacked, it seems: a short RTO will tell (Linux's tcp_check_sack_reneging)."""
    if not (tcb.sack_on and tcb.board.sacked_bytes and tcb.board.reneging):
        return
    tcb.env.counters.add("TCPSACKReneging")
    tcb.timers.arm_loss(LossTimer.RTO, now + max(tcb.rtt.srtt >> 1, 10 * MILLISECOND))


def _go_on(tcb: Tcb, result: AckResult, news: AckNews, now: int) -> None:
    """An episode ends, or goes on. CWR is held until something *above* high_seq is acknowledged."""
    if (tcb.ca_state == CA_CWR and tcb.snd_una > tcb.high_seq) or (
        tcb.ca_state == CA_RECOVERY and tcb.snd_una >= tcb.high_seq
    ):
        _recovered(tcb, now, news.ts_ecr)
    elif tcb.ca_state == CA_RECOVERY:
        _in_recovery(tcb, news, now)
    elif tcb.ca_state == CA_LOSS:
        _in_loss(tcb, result, news, now)


def _answer_probe(tcb: Tcb, result: AckResult, news: AckNews, now: int) -> None:
    dsack = result.dsack and result.dsack_end == tcb.tlp.high_seq
    if tcb.tlp.on_ack(tcb.snd_una, dsack, news.is_duplicate and not result.any_new):
        tcb.env.counters.add("TCPLossProbeRecovery")
        enter_cwr(tcb, now)


def _in_recovery(tcb: Tcb, news: AckNews, now: int) -> None:
    """A partial ACK, or one more SACK."""
    undo = tcb.undo
    if tcb.snd_una > news.prior_una and undo.marker >= 0 and undo.was_delayed(news.ts_ecr):
        tcb.board.note_delay(news.prior_una, tcb.env.settings.tcp_max_reordering)
        if tcb.board.retransmitted_bytes == 0:
            _undo(tcb, True, now)
            _keep_open(tcb)
    elif undo.marker >= 0 and undo.resends == 0:
        _undo(tcb, False, now)
        _keep_open(tcb)


def _keep_open(tcb: Tcb) -> None:
    tcb.board.in_recovery = False
    tcb.ca_state = CA_OPEN if tcb.board.is_clean else CA_DISORDER


def _in_loss(tcb: Tcb, result: AckResult, news: AckNews, now: int) -> None:
    """After an RTO (Linux's tcp_process_loss; F-RTO is RFC 5682 section 3.1)."""
    undo = tcb.undo
    advanced = tcb.snd_una > news.prior_una
    duplicate = result.sacked > 0 or (news.is_duplicate and not tcb.sack_on)
    was_frto = undo.frto
    step = undo.loss_step(tcb.snd_una, tcb.snd_nxt, advanced, duplicate, result.original_start, news.ts_ecr)
    if step is LossStep.SPURIOUS:
        if was_frto:
            tcb.env.counters.add("TCPSpuriousRTOs")
        _undo(tcb, True, now)
        _open(tcb)
    elif step is LossStep.SEND_NEW:
        if tcb.unsent() > 0 and tcb.snd_una + tcb.snd_wnd > tcb.snd_nxt:
            tcb.send_new_first = True
        else:
            undo.frto_off()
        tcb.high_seq = undo.high_seq
    elif step is LossStep.RECOVERED:
        _recovered(tcb, now, news.ts_ecr)
