"""What losses do to a connection: the congestion states of Linux (Open, Disorder, CWR, Recovery, Loss).

The scoreboard says what is lost, PRR and the congestion control say how much may be in flight, the undo
record says when it was a mistake; this file is the state machine between them (Linux's
``tcp_fastretrans_alert``), and the loss timer: RFC 6298 (RTO), RFC 8985 (tail-loss probe, reordering).
"""

from __future__ import annotations

from ustack.recovery.rack import tlp_timeout
from ustack.recovery.result import AckResult
from ustack.recovery.undo import LossStep
from ustack.tcp.sender.state import CA_CWR, CA_DISORDER, CA_LOSS, CA_OPEN, CA_RECOVERY, AckNews, Sender
from ustack.tcp.timers import LossTimer
from ustack.units import MILLISECOND

# The loss timer


def rearm_rto(sender: Sender, now: int) -> None:
    """Start the RTO from now, or from the head's sending where a probe's timer ran (RFC 6298 section 5.3)."""
    if sender.scoreboard.is_empty:
        sender.timers.stop_loss()
        return
    at = now + sender.rtt.rto
    if sender.timers.loss in (LossTimer.TAIL_LOSS, LossTimer.REORDERING):
        at = max(sender.scoreboard.oldest_sent_at + sender.rtt.rto, now + MILLISECOND)
    sender.timers.arm_loss(LossTimer.RTO, within_user_timeout(sender, at, now))


def rearm_rto_afresh(sender: Sender, now: int) -> None:
    """Start the RTO from now, whatever the loss timer meant before."""
    sender.timers.take_loss()
    rearm_rto(sender, now)


def within_user_timeout(sender: Sender, at: int, now: int) -> int:
    """TCP_USER_TIMEOUT may end the resends before the RTO does (Linux's tcp_clamp_rto_to_user_timeout)."""
    user_timeout = sender.options.user_timeout_ms * MILLISECOND
    if user_timeout and sender.retrans_since:
        return min(at, max(sender.retrans_since + user_timeout, now + MILLISECOND))
    return at


def schedule_probe(sender: Sender, advancing: bool, now: int) -> bool:
    """Arm a tail-loss probe where one helps: SACK, no recovery, something in flight (RFC 8985 section 7.2)."""
    if sender.host.settings.tcp_early_retrans not in (3, 4) or not sender.agreed.sack_on or sender.scoreboard.is_empty:
        return False
    if sender.ca_state not in (CA_OPEN, CA_CWR):
        return False
    left = sender.rtt.rto
    if not advancing:
        left = sender.scoreboard.oldest_sent_at + sender.rtt.rto - now
    segs = 1 if sender.scoreboard.is_single_segment else 2
    delay = tlp_timeout(sender.rtt.srtt, segs, left, sender.rtt.rto_min)
    sender.timers.arm_loss(LossTimer.TAIL_LOSS, now + delay)
    return True


def after_ack_timer(sender: Sender, result: AckResult, now: int) -> None:
    """Something in flight was acknowledged: the loss timer starts again (Linux's tcp_set_xmit_timer).

    A SACK restarts it too, but for one of what left after the head's last sending: else a recovery that goes on would
    put off the timeout for ever.
    """
    scoreboard = sender.scoreboard
    if scoreboard.is_empty:
        if result.acked:
            sender.timers.stop_loss()
    elif scoreboard.rack_deadline:
        sender.timers.arm_loss(LossTimer.REORDERING, scoreboard.rack_deadline)
    else:
        is_news = result.acked_segs or result.sack_rtt > now - scoreboard.oldest_sent_at
        if is_news and not schedule_probe(sender, True, now):
            rearm_rto_afresh(sender, now)


def after_new_data(sender: Sender, length: int, was_empty: bool, now: int) -> None:
    """A run of ``length`` left for the first time."""
    if sender.prr.active:
        sender.prr.on_sent(length)
    meaning = sender.timers.loss
    if was_empty or meaning is LossTimer.TAIL_LOSS or meaning is LossTimer.NONE:
        if was_empty:
            rearm_rto_afresh(sender, now)
        else:
            rearm_rto(sender, now)
        schedule_probe(sender, False, now)


def before_resend(sender: Sender, length: int, now: int) -> None:
    """[start, end) is about to leave again: what undo and PRR must know."""
    stamp = sender.host.timestamp(sender.agreed.ts_offset, now) if sender.agreed.ts_on else -1
    sender.undo.on_resent(length, stamp)
    if sender.prr.active:
        sender.prr.on_sent(length)


def after_resend(sender: Sender, start: int, now: int) -> None:
    """The head left again: the RTO counts from here."""
    meaning = sender.timers.loss
    if meaning is LossTimer.NONE or (start == sender.snd_una and meaning is not LossTimer.REORDERING):
        rearm_rto_afresh(sender, now)


def reordering_timeout(sender: Sender, now: int) -> None:
    """RACK waited long enough for reordered segments (RFC 8985 section 6.2, step 5; tcp_rack_reo_timeout)."""
    scoreboard = sender.scoreboard
    sender.resends_wait = False
    lost = scoreboard.detect_losses(now, sender.rtt.srtt, sender.rtt.min_rtt)
    if lost and sender.ca_state != CA_RECOVERY:
        enter_recovery(sender, False, now)
        control = sender.congestion
        if control is not None and not control.owns_recovery:
            control.cwnd = sender.prr.on_ack(sender.snd_mss, sender.in_flight(), lost, False)
    scoreboard.rack_deadline = 0
    sender.timers.arm_loss(LossTimer.REORDERING, now)  # the RTO counts from the head's sending
    rearm_rto(sender, now)


# Entering


def enter(sender: Sender, state: int) -> None:
    """The congestion state changes (Linux's tcp_set_ca_state)."""
    sender.ca_state = state
    sender.scoreboard.in_recovery = state >= CA_RECOVERY
    sender.scoreboard.in_loss = state == CA_LOSS
    if state <= CA_DISORDER or state == CA_LOSS:
        sender.prr.leave()


def _reduce(sender: Sender, by_ecn: bool, now: int) -> None:
    """One reduction begins (Linux's tcp_init_cwnd_reduction). ``by_ecn``: it can never be undone."""
    sender.high_seq = sender.snd_nxt
    sender.tlp.cancel()
    control = sender.congestion
    if control is not None:
        prior = control.cwnd
        if by_ecn:
            control.on_ecn(now, sender.in_flight())
        else:
            control.on_loss(now, sender.in_flight())
        if not control.owns_recovery:
            sender.prr.enter(sender.in_flight(), prior, control.ssthresh)
    sender.ecn.window_reduced()


def enter_recovery(sender: Sender, ece: bool, now: int) -> None:
    """A loss is evident: fast recovery (RFC 6675 section 5, RFC 6582; Linux's tcp_enter_recovery).

    In CWR the window was reduced already, and that reduction's end is this recovery's too.
    """
    sender.host.counters.add("TCPSackRecovery" if sender.agreed.sack_on else "TCPRenoRecovery")
    sender.undo.start(sender.snd_una, sender.snd_nxt, sender.scoreboard.retransmitted_bytes + _probe_bytes(sender))
    if sender.ca_state != CA_CWR:
        _reduce(sender, ece, now)
    enter(sender, CA_RECOVERY)


def _probe_bytes(sender: Sender) -> int:
    """A probe that resent something may cause a D-SACK later (Linux's tcp_init_undo)."""
    return sender.snd_mss if sender.tlp.high_seq >= 0 and sender.tlp.resend else 0


def enter_cwr(sender: Sender, now: int) -> None:
    """ECN-Echo: reduce without resending (RFC 3168 section 6.1.2; Linux's tcp_enter_cwr)."""
    if sender.ca_state in (CA_OPEN, CA_DISORDER):
        sender.undo.clear()
        _reduce(sender, True, now)
        enter(sender, CA_CWR)


def enter_loss(sender: Sender, now: int) -> None:
    """The RTO fired (RFC 6298 section 5.4 to 5.6, RFC 5681 section 3.1, RFC 5682 step 1; Linux's tcp_enter_loss)."""
    scoreboard = sender.scoreboard
    sender.resends_wait = False
    fresh = sender.ca_state in (CA_OPEN, CA_DISORDER, CA_CWR)
    control = sender.congestion
    in_flight = sender.in_flight()
    sacked_segs = scoreboard.sacked_segs
    scoreboard.mark_all_lost(now)
    first_of_episode = (
        sender.ca_state in (CA_OPEN, CA_DISORDER)
        or sender.high_seq <= sender.snd_una
        or (sender.ca_state == CA_LOSS and sender.retransmits == 0)
    )
    frto = bool(sender.host.settings.tcp_frto) and (fresh or sender.retransmits > 0)
    if first_of_episode:
        if control is not None:
            control.on_timeout(now, in_flight)
        sender.undo.start_loss(
            sender.snd_una, sender.snd_nxt, scoreboard.retransmitted_bytes + _probe_bytes(sender), frto
        )
    sender.undo.frto = frto
    if control is not None:
        control.cwnd = sender.in_flight() + sender.snd_mss
    usual = sender.host.settings.tcp_reordering
    if sender.ca_state <= CA_DISORDER and sacked_segs >= usual:
        scoreboard.reordering = min(scoreboard.reordering, usual)  # it waited too long for segments that were lost
    sender.tlp.cancel()
    enter(sender, CA_LOSS)
    sender.high_seq = sender.undo.high_seq = sender.snd_nxt
    sender.ecn.window_reduced()


# Leaving


def _undo(sender: Sender, counter: str, forget: bool, now: int) -> None:
    """The reduction was a mistake: the window is back (RFC 4015, RFC 3522, RFC 5682; tcp_undo_cwnd_reduction).

    ``forget``: nothing that was marked is lost. RACK is to look once more in any case.
    """
    sender.host.counters.add(counter)
    if forget:
        sender.scoreboard.forget_losses()
    if sender.congestion is not None:
        sender.congestion.undo(now)
    sender.undo.clear()
    sender.scoreboard.rack.advanced = True


def _undo_by_dsack(sender: Sender, now: int) -> bool:
    """Every resend was reported as a duplicate: none was needed (RFC 3708; Linux's tcp_try_undo_dsack)."""
    if sender.undo.marker < 0 or sender.undo.resends != 0:
        return False
    sender.scoreboard.bear_reordering()
    _undo(sender, "TCPDSACKUndo", False, now)
    return True


def _undo_partial(sender: Sender, news: AckNews, now: int) -> bool:
    """A partial ACK that answers an original, not its resend (Linux's tcp_try_undo_partial).

    True: resends are still out, so nothing more is to be marked or resent on this ACK.
    """
    undo = sender.undo
    if undo.marker < 0 or not undo.was_delayed(news.ts_ecr):
        return False
    scoreboard = sender.scoreboard
    scoreboard.note_delay(news.prior_una)
    if scoreboard.retransmitted_bytes:
        return True
    _undo(sender, "TCPPartialUndo", True, now)
    _keep_open(sender)
    return False


def recovered(sender: Sender, now: int, ts_ecr: int) -> bool:
    """All that was out when the episode began is acknowledged (Linux's tcp_try_undo_recovery).

    False: without SACK the episode is held until something *above* its end is acknowledged: duplicate ACKs at its end
    answer resends that were not needed, and show no new loss (RFC 6582 section 3.2).
    """
    if sender.undo.may_undo(ts_ecr):
        _undo(sender, "TCPLossUndo" if sender.ca_state == CA_LOSS else "TCPFullUndo", False, now)
    else:
        sender.scoreboard.on_recovered()
    if _is_held(sender):
        return False
    enter(sender, CA_OPEN)
    sender.retrans_since = 0
    return True


def _is_held(sender: Sender) -> bool:
    """Linux's tcp_is_non_sack_preventing_reopen."""
    return not sender.scoreboard.enable_sack and sender.snd_una == sender.high_seq


def _end_reduction(sender: Sender, now: int) -> None:
    """The window is what the reduction asked for, unless it was undone (Linux's tcp_end_cwnd_reduction)."""
    control = sender.congestion
    if control is not None and not control.owns_recovery and (sender.ca_state == CA_CWR or sender.undo.marker >= 0):
        control.on_recovered(now)


def _try_to_open(sender: Sender, ece: bool, now: int) -> None:
    """No loss is evident (Linux's tcp_try_to_open)."""
    if not sender.scoreboard.any_resent:
        sender.undo.retrans_stamp = -1
    if ece:
        enter_cwr(sender, now)
    if sender.ca_state != CA_CWR:
        _keep_open(sender)


def _keep_open(sender: Sender) -> None:
    """Open, or Disorder while something is sacked, lost or resent (Linux's tcp_try_keep_open)."""
    scoreboard = sender.scoreboard
    state = CA_DISORDER if scoreboard.sacked_bytes or scoreboard.lost_bytes or scoreboard.any_resent else CA_OPEN
    if state != sender.ca_state:
        enter(sender, state)
        sender.high_seq = sender.snd_nxt


# The step of each ACK


def react(sender: Sender, result: AckResult, news: AckNews, now: int) -> bool:
    """Let one ACK move the congestion state (Linux's tcp_fastretrans_alert), and mark what it shows to be lost.

    False: the loss timer is set for good, leave it alone.
    """
    scoreboard = sender.scoreboard
    sender.resends_wait = False
    if sender.tlp.high_seq >= 0:
        _answer_probe(sender, result, news, now)
    if result.dsack:
        sender.undo.on_dsack(result.dsack_start, result.dsack_end)
    if sender.ca_state == CA_OPEN and scoreboard.is_clean and not (news.is_duplicate or news.ece or result.dsack):
        return True
    if news.ece and sender.congestion is not None:
        sender.congestion.forbid_undo()
    if _expect_reneging(sender, news, now):
        return False
    if not _end_episode(sender, news, now):
        return True
    if sender.ca_state == CA_RECOVERY:
        _in_recovery(sender, result, news, now)
    elif sender.ca_state != CA_LOSS or _in_loss(sender, result, news, now):
        _otherwise(sender, result, news, now)
    return True


def _end_episode(sender: Sender, news: AckNews, now: int) -> bool:
    """What was out when the episode began is acknowledged. False: go no further with this ACK."""
    if sender.ca_state == CA_CWR and sender.snd_una > sender.high_seq:
        # Held until something *above* high_seq is acknowledged: CWR must have reached the receiver.
        _end_reduction(sender, now)
        enter(sender, CA_OPEN)
    elif sender.ca_state == CA_RECOVERY and sender.snd_una >= sender.high_seq:
        if not sender.scoreboard.enable_sack:
            sender.scoreboard.forget_duplicates()
        if not recovered(sender, now, news.ts_ecr):
            return False
        _end_reduction(sender, now)
    return True


def _otherwise(sender: Sender, result: AckResult, news: AckNews, now: int) -> None:
    """Open, Disorder, CWR, and Loss where a resend was lost: is there a loss to repair?"""
    if not sender.scoreboard.enable_sack and sender.snd_una > news.prior_una:
        sender.scoreboard.forget_duplicates()
    _count_duplicate(sender, result, news, now)
    if sender.ca_state <= CA_DISORDER:
        _undo_by_dsack(sender, now)
    _find_losses(sender, news, now)
    if sender.scoreboard.lost_bytes > 0:
        enter_recovery(sender, news.ece, now)
    else:
        _try_to_open(sender, news.ece, now)


def _count_duplicate(sender: Sender, result: AckResult, news: AckNews, now: int) -> None:
    """Without SACK a duplicate ACK says that one more segment has arrived (RFC 6582; Linux's tcp_add_reno_sack)."""
    if news.is_duplicate and not sender.scoreboard.enable_sack and not sender.scoreboard.is_empty:
        result.delivered += sender.scoreboard.dupack(now)


def _find_losses(sender: Sender, news: AckNews, now: int) -> bool:
    """Mark what is lost (Linux's tcp_identify_packet_loss). True: a resend is among it."""
    before = sender.scoreboard.retransmitted_bytes
    news.lost += sender.scoreboard.detect_losses(now, sender.rtt.srtt, sender.rtt.min_rtt)
    return sender.scoreboard.retransmitted_bytes < before


def _expect_reneging(sender: Sender, news: AckNews, now: int) -> bool:
    """The peer threw away what it had sacked, it seems: a short RTO will tell (Linux's tcp_check_sack_reneging)."""
    if (
        not sender.agreed.sack_on
        or sender.snd_una == news.prior_una
        or not sender.scoreboard.sacked_bytes
        or not sender.scoreboard.reneging
    ):
        return False
    sender.host.counters.add("TCPSACKReneging")
    sender.timers.arm_loss(LossTimer.RTO, now + max(sender.rtt.srtt >> 1, 10 * MILLISECOND))
    return True


def _answer_probe(sender: Sender, result: AckResult, news: AckNews, now: int) -> None:
    """A loss that a probe repaired: the window is reduced at once, the state stays (Linux's tcp_process_tlp_ack)."""
    dsack = result.dsack and result.dsack_end == sender.tlp.high_seq
    if sender.tlp.on_ack(sender.snd_una, dsack, news.is_duplicate and not result.any_new):
        sender.host.counters.add("TCPLossProbeRecovery")
        sender.undo.clear()
        _reduce(sender, True, now)
        enter(sender, CA_CWR)
        _end_reduction(sender, now)
        _keep_open(sender)


def _in_recovery(sender: Sender, result: AckResult, news: AckNews, now: int) -> None:
    """A partial ACK, or one more SACK or duplicate."""
    if sender.snd_una == news.prior_una:
        _count_duplicate(sender, result, news, now)
    elif _undo_partial(sender, news, now):
        sender.resends_wait = True
        return
    if _undo_by_dsack(sender, now):
        _try_to_open(sender, news.ece, now)
    _find_losses(sender, news, now)
    if sender.ca_state != CA_RECOVERY and sender.scoreboard.lost_bytes > 0:
        enter_recovery(sender, news.ece, now)  # undone as reordering, and yet there is a loss


def _in_loss(sender: Sender, result: AckResult, news: AckNews, now: int) -> bool:
    """After an RTO. True: the episode is over, or a resend is lost: go on as if nothing had been under way."""
    _process_loss(sender, result, news, now)
    resend_lost = _find_losses(sender, news, now)
    return sender.ca_state == CA_OPEN or resend_lost


def _process_loss(sender: Sender, result: AckResult, news: AckNews, now: int) -> None:
    """Linux's tcp_process_loss; F-RTO is RFC 5682 section 3.1."""
    undo = sender.undo
    scoreboard = sender.scoreboard
    advanced = sender.snd_una > news.prior_una
    duplicate = result.sacked > 0 or news.is_duplicate
    by_frto = not (advanced and undo.may_undo(news.ts_ecr))
    step = undo.loss_step(sender.snd_una, sender.snd_nxt, advanced, duplicate, result.original_start, news.ts_ecr)
    if step is LossStep.SPURIOUS:
        _spurious_timeout(sender, by_frto, now)
    elif step is LossStep.RECOVERED:
        recovered(sender, now, news.ts_ecr)
    elif step is LossStep.SEND_NEW:
        sender.high_seq = undo.high_seq
        if sender.unsent() > 0 and sender.snd_una + sender.snd_wnd > sender.snd_nxt:
            sender.send_new_first = True
            return
        undo.frto_off()
    if not scoreboard.enable_sack and sender.ca_state == CA_LOSS and step is not LossStep.SPURIOUS:
        if sender.snd_nxt > sender.high_seq and news.is_duplicate:
            _count_duplicate(sender, result, news, now)
        elif advanced:
            scoreboard.forget_duplicates()


def _spurious_timeout(sender: Sender, by_frto: bool, now: int) -> None:
    """Linux's tcp_try_undo_loss."""
    if by_frto:
        sender.host.counters.add("TCPSpuriousRTOs")
    _undo(sender, "TCPLossUndo", True, now)
    sender.retransmits = 0
    if not _is_held(sender) and (by_frto or sender.agreed.sack_on):
        enter(sender, CA_OPEN)
        sender.retrans_since = 0
