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


def after_ack_timer(tcb: Tcb, result: AckResult, now: int) -> None:
    """Something in flight was acknowledged: the loss timer starts again (Linux's tcp_set_xmit_timer).

    A SACK restarts it too, but for one of what left after the head's last sending: else a recovery that goes on would
    put off the timeout for ever.
    """
    board = tcb.board
    if board.is_empty:
        if result.acked:
            tcb.timers.stop_loss()
    elif board.rack_deadline:
        tcb.timers.arm_loss(LossTimer.REORDERING, board.rack_deadline)
    elif (result.acked or result.sack_rtt > now - board.oldest_sent_at) and not schedule_probe(tcb, True, now):
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
    """RACK waited long enough for reordered segments (RFC 8985 section 6.2, step 5; tcp_rack_reo_timeout)."""
    board = tcb.board
    lost = board.detect_losses(now, tcb.rtt.srtt, tcb.rtt.min_rtt)
    if lost and tcb.ca_state != CA_RECOVERY:
        enter_recovery(tcb, False, now)
        control = tcb.congestion
        if control is not None and not control.owns_recovery:
            control.cwnd = tcb.prr.on_ack(tcb.snd_mss, board.in_flight, lost, False)
    board.rack_deadline = 0
    tcb.timers.loss = LossTimer.REORDERING  # the RTO counts from the head's sending
    rearm_rto(tcb, now)


# Entering


def _enter(tcb: Tcb, state: int) -> None:
    """The congestion state changes (Linux's tcp_set_ca_state)."""
    tcb.ca_state = state
    tcb.board.in_recovery = state >= CA_RECOVERY
    tcb.board.in_loss = state == CA_LOSS
    if state <= CA_DISORDER or state == CA_LOSS:
        tcb.prr.leave()


def _reduce(tcb: Tcb, by_ecn: bool, now: int) -> None:
    """One reduction begins (Linux's tcp_init_cwnd_reduction). ``by_ecn``: it can never be undone."""
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
    """A loss is evident: fast recovery (RFC 6675 section 5, RFC 6582; Linux's tcp_enter_recovery).

    In CWR the window was reduced already, and that reduction's end is this recovery's too.
    """
    tcb.env.counters.add("TCPSackRecovery" if tcb.sack_on else "TCPRenoRecovery")
    tcb.undo.start(tcb.snd_una, tcb.snd_nxt, tcb.board.retransmitted_bytes + _probe_bytes(tcb))
    if tcb.ca_state != CA_CWR:
        _reduce(tcb, ece, now)
    _enter(tcb, CA_RECOVERY)


def _probe_bytes(tcb: Tcb) -> int:
    """A probe that resent something may cause a D-SACK later (Linux's tcp_init_undo)."""
    return tcb.snd_mss if tcb.tlp.high_seq >= 0 and tcb.tlp.resend else 0


def enter_cwr(tcb: Tcb, now: int) -> None:
    """ECN-Echo: reduce without resending (RFC 3168 section 6.1.2; Linux's tcp_enter_cwr)."""
    if tcb.ca_state in (CA_OPEN, CA_DISORDER):
        tcb.undo.clear()
        _reduce(tcb, True, now)
        _enter(tcb, CA_CWR)


def enter_loss(tcb: Tcb, now: int) -> None:
    """The RTO fired (RFC 6298 section 5.4 to 5.6, RFC 5681 section 3.1, RFC 5682 step 1; Linux's tcp_enter_loss)."""
    board = tcb.board
    fresh = tcb.ca_state in (CA_OPEN, CA_DISORDER, CA_CWR)
    control = tcb.congestion
    in_flight = board.in_flight
    sacked_segs = board.sacked_segs
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
        tcb.undo.start_loss(tcb.snd_una, tcb.snd_nxt, board.retransmitted_bytes + _probe_bytes(tcb), frto)
    tcb.undo.frto = frto
    if control is not None:
        control.cwnd = board.in_flight + tcb.snd_mss
    usual = tcb.env.settings.tcp_reordering
    if tcb.ca_state <= CA_DISORDER and sacked_segs >= usual:
        board.reordering = min(board.reordering, usual)  # it waited too long for segments that were lost
    tcb.tlp.cancel()
    _enter(tcb, CA_LOSS)
    tcb.high_seq = tcb.undo.high_seq = tcb.snd_nxt
    tcb.ecn_cwr_owed = tcb.ecn_on


# Leaving


def _undo(tcb: Tcb, counter: str, forget: bool, now: int) -> None:
    """The reduction was a mistake: the window is back (RFC 4015, RFC 3522, RFC 5682; tcp_undo_cwnd_reduction).

    ``forget``: nothing that was marked is lost. RACK is to look once more in any case.
    """
    tcb.env.counters.add(counter)
    if forget:
        tcb.board.forget_losses()
    if tcb.congestion is not None:
        tcb.congestion.undo(now)
    tcb.undo.clear()
    tcb.board.rack.advanced = True


def _undo_by_dsack(tcb: Tcb, now: int) -> bool:
    """Every resend was reported as a duplicate: none was needed (RFC 3708; Linux's tcp_try_undo_dsack)."""
    if tcb.undo.marker < 0 or tcb.undo.resends != 0:
        return False
    tcb.board.bear_reordering()
    _undo(tcb, "TCPDSACKUndo", False, now)
    return True


def _undo_partial(tcb: Tcb, news: AckNews, now: int) -> bool:
    """A partial ACK that answers an original, not its resend (Linux's tcp_try_undo_partial).

    True: resends are still out, so nothing more is to be marked or resent on this ACK.
    """
    undo = tcb.undo
    if undo.marker < 0 or not undo.was_delayed(news.ts_ecr):
        return False
    board = tcb.board
    board.note_delay(news.prior_una)
    if board.retransmitted_bytes:
        return True
    _undo(tcb, "TCPPartialUndo", True, now)
    _keep_open(tcb)
    return False


def _recovered(tcb: Tcb, now: int, ts_ecr: int) -> bool:
    """All that was out when the episode began is acknowledged (Linux's tcp_try_undo_recovery).

    False: without SACK the episode is held until something *above* its end is acknowledged: duplicate ACKs at its end
    answer resends that were not needed, and show no new loss (RFC 6582 section 3.2).
    """
    if tcb.undo.may_undo(ts_ecr):
        _undo(tcb, "TCPLossUndo" if tcb.ca_state == CA_LOSS else "TCPFullUndo", False, now)
    else:
        tcb.board.on_recovered()
    if _is_held(tcb):
        return False
    _enter(tcb, CA_OPEN)
    tcb.retrans_since = 0
    return True


def _is_held(tcb: Tcb) -> bool:
    """Linux's tcp_is_non_sack_preventing_reopen."""
    return not tcb.board.enable_sack and tcb.snd_una == tcb.high_seq


def _end_reduction(tcb: Tcb, now: int) -> None:
    """The window is what the reduction asked for, unless it was undone (Linux's tcp_end_cwnd_reduction)."""
    control = tcb.congestion
    if control is not None and not control.owns_recovery and (tcb.ca_state == CA_CWR or tcb.undo.marker >= 0):
        control.on_recovered(now)


def _try_to_open(tcb: Tcb, ece: bool, now: int) -> None:
    """No loss is evident (Linux's tcp_try_to_open)."""
    if not tcb.board.any_resent:
        tcb.undo.retrans_stamp = -1
    if ece:
        enter_cwr(tcb, now)
    if tcb.ca_state != CA_CWR:
        _keep_open(tcb)


def _keep_open(tcb: Tcb) -> None:
    """Open, or Disorder while something is sacked, lost or resent (Linux's tcp_try_keep_open)."""
    board = tcb.board
    state = CA_DISORDER if board.sacked_bytes or board.lost_bytes or board.any_resent else CA_OPEN
    if state != tcb.ca_state:
        _enter(tcb, state)
        tcb.high_seq = tcb.snd_nxt


# The step of each ACK


def react(tcb: Tcb, result: AckResult, news: AckNews, now: int) -> bool:
    """Let one ACK move the congestion state (Linux's tcp_fastretrans_alert), and mark what it shows to be lost.

    False: the loss timer is set for good, leave it alone.
    """
    board = tcb.board
    if tcb.tlp.high_seq >= 0:
        _answer_probe(tcb, result, news, now)
    if result.dsack:
        tcb.undo.on_dsack(result.dsack_start, result.dsack_end)
    if tcb.ca_state == CA_OPEN and board.is_clean and not (news.is_duplicate or news.ece or result.dsack):
        return True
    if news.ece and tcb.congestion is not None:
        tcb.congestion.forbid_undo()
    if _expect_reneging(tcb, news, now):
        return False
    if not _end_episode(tcb, news, now):
        return True
    if tcb.ca_state == CA_RECOVERY:
        _in_recovery(tcb, result, news, now)
    elif tcb.ca_state != CA_LOSS or _in_loss(tcb, result, news, now):
        _otherwise(tcb, result, news, now)
    return True


def _end_episode(tcb: Tcb, news: AckNews, now: int) -> bool:
    """What was out when the episode began is acknowledged. False: go no further with this ACK."""
    if tcb.ca_state == CA_CWR and tcb.snd_una > tcb.high_seq:
        # Held until something *above* high_seq is acknowledged: CWR must have reached the receiver.
        _end_reduction(tcb, now)
        _enter(tcb, CA_OPEN)
    elif tcb.ca_state == CA_RECOVERY and tcb.snd_una >= tcb.high_seq:
        if not tcb.board.enable_sack:
            tcb.board.forget_duplicates()
        if not _recovered(tcb, now, news.ts_ecr):
            return False
        _end_reduction(tcb, now)
    return True


def _otherwise(tcb: Tcb, result: AckResult, news: AckNews, now: int) -> None:
    """Open, Disorder, CWR, and Loss where a resend was lost: is there a loss to repair?"""
    if not tcb.board.enable_sack and tcb.snd_una > news.prior_una:
        tcb.board.forget_duplicates()
    _count_duplicate(tcb, result, news, now)
    if tcb.ca_state <= CA_DISORDER:
        _undo_by_dsack(tcb, now)
    _find_losses(tcb, news, now)
    if tcb.board.lost_bytes > 0:
        enter_recovery(tcb, news.ece, now)
    else:
        _try_to_open(tcb, news.ece, now)


def _count_duplicate(tcb: Tcb, result: AckResult, news: AckNews, now: int) -> None:
    """Without SACK a duplicate ACK says that one more segment has arrived (RFC 6582; Linux's tcp_add_reno_sack)."""
    if news.is_duplicate and not tcb.board.enable_sack and not tcb.board.is_empty:
        result.delivered += tcb.board.dupack(now)


def _find_losses(tcb: Tcb, news: AckNews, now: int) -> bool:
    """Mark what is lost (Linux's tcp_identify_packet_loss). True: a resend is among it."""
    before = tcb.board.retransmitted_bytes
    news.lost += tcb.board.detect_losses(now, tcb.rtt.srtt, tcb.rtt.min_rtt)
    return tcb.board.retransmitted_bytes < before


def _expect_reneging(tcb: Tcb, news: AckNews, now: int) -> bool:
    """The peer threw away what it had sacked, it seems: a short RTO will tell (Linux's tcp_check_sack_reneging)."""
    if not tcb.sack_on or tcb.snd_una == news.prior_una or not tcb.board.sacked_bytes or not tcb.board.reneging:
        return False
    tcb.env.counters.add("TCPSACKReneging")
    tcb.timers.arm_loss(LossTimer.RTO, now + max(tcb.rtt.srtt >> 1, 10 * MILLISECOND))
    return True


def _answer_probe(tcb: Tcb, result: AckResult, news: AckNews, now: int) -> None:
    """A loss that a probe repaired: the window is reduced at once, the state stays (Linux's tcp_process_tlp_ack)."""
    dsack = result.dsack and result.dsack_end == tcb.tlp.high_seq
    if tcb.tlp.on_ack(tcb.snd_una, dsack, news.is_duplicate and not result.any_new):
        tcb.env.counters.add("TCPLossProbeRecovery")
        tcb.undo.clear()
        _reduce(tcb, True, now)
        _enter(tcb, CA_CWR)
        _end_reduction(tcb, now)
        _keep_open(tcb)


def _in_recovery(tcb: Tcb, result: AckResult, news: AckNews, now: int) -> None:
    """A partial ACK, or one more SACK or duplicate."""
    if tcb.snd_una == news.prior_una:
        _count_duplicate(tcb, result, news, now)
    elif _undo_partial(tcb, news, now):
        return
    if _undo_by_dsack(tcb, now):
        _try_to_open(tcb, news.ece, now)
    _find_losses(tcb, news, now)
    if tcb.ca_state != CA_RECOVERY and tcb.board.lost_bytes > 0:
        enter_recovery(tcb, news.ece, now)  # undone as reordering, and yet there is a loss


def _in_loss(tcb: Tcb, result: AckResult, news: AckNews, now: int) -> bool:
    """After an RTO. True: the episode is over, or a resend is lost: go on as if nothing had been under way."""
    _process_loss(tcb, result, news, now)
    resend_lost = _find_losses(tcb, news, now)
    return tcb.ca_state == CA_OPEN or resend_lost


def _process_loss(tcb: Tcb, result: AckResult, news: AckNews, now: int) -> None:
    """Linux's tcp_process_loss; F-RTO is RFC 5682 section 3.1."""
    undo = tcb.undo
    board = tcb.board
    advanced = tcb.snd_una > news.prior_una
    duplicate = result.sacked > 0 or news.is_duplicate
    by_frto = not (advanced and undo.may_undo(news.ts_ecr))
    step = undo.loss_step(tcb.snd_una, tcb.snd_nxt, advanced, duplicate, result.original_start, news.ts_ecr)
    if step is LossStep.SPURIOUS:
        _spurious_timeout(tcb, by_frto, now)
    elif step is LossStep.RECOVERED:
        _recovered(tcb, now, news.ts_ecr)
    elif step is LossStep.SEND_NEW:
        tcb.high_seq = undo.high_seq
        if tcb.unsent() > 0 and tcb.snd_una + tcb.snd_wnd > tcb.snd_nxt:
            tcb.send_new_first = True
            return
        undo.frto_off()
    if not board.enable_sack and tcb.ca_state == CA_LOSS and step is not LossStep.SPURIOUS:
        if tcb.snd_nxt > tcb.high_seq and news.is_duplicate:
            _count_duplicate(tcb, result, news, now)
        elif advanced:
            board.forget_duplicates()


def _spurious_timeout(tcb: Tcb, by_frto: bool, now: int) -> None:
    """Linux's tcp_try_undo_loss."""
    if by_frto:
        tcb.env.counters.add("TCPSpuriousRTOs")
    _undo(tcb, "TCPLossUndo", True, now)
    tcb.retransmits = 0
    if not _is_held(tcb) and (by_frto or tcb.sack_on):
        _enter(tcb, CA_OPEN)
        tcb.retrans_since = 0
