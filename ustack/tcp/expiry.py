"""What each timer does when it is due: it changes state; ``output.py`` sends.

RFC 6298 section 5 and RFC 9293 section 3.8.3 with Linux's limits (``tcp_write_timeout``, ``tcp_probe_timer``).
"""

from __future__ import annotations

from typing import Final

from ustack.tcp import ending, keepalive, loss
from ustack.tcp.constants import (
    ATO_MIN,
    MILLISECOND,
    MODEL_RTO_MIN,
    ORPHAN_RETRIES,
    SECOND,
)
from ustack.tcp.events import EventKind
from ustack.tcp.state import State
from ustack.tcp.tcb import Tcb
from ustack.tcp.timers import LossTimer, Timer

THIN_LINEAR_RETRIES: Final = 6
"""Linux's TCP_THIN_LINEAR_RETRIES."""


def on_deadline(tcb: Tcb, now: int) -> None:
    """Let every timer that is due act. Early or spurious calls do nothing."""
    while True:
        timer = tcb.timers.take_due(now)
        if timer is None:
            return
        if timer is Timer.RETRANSMIT:
            _loss_timer(tcb, now)
        elif timer is Timer.DELAYED_ACK:
            _delayed_ack(tcb, now)
        elif timer is Timer.KEEPALIVE:
            keepalive.expire(tcb, now)
        elif timer is Timer.LINGER and tcb.state is State.FIN_WAIT_2:
            ending.give_up(tcb, 0, now)
        # PACING and USER only wake output.


def _loss_timer(tcb: Tcb, now: int) -> None:
    meaning = tcb.timers.loss
    tcb.timers.loss = LossTimer.NONE
    if meaning is LossTimer.RTO:
        _retransmission_timeout(tcb, now)
    elif meaning is LossTimer.PROBE:
        _probe_timeout(tcb, now)
    elif meaning is LossTimer.TAIL_LOSS:
        tcb.tlp_owed = not tcb.board.is_empty
        if not tcb.tlp_owed:
            loss.rearm_rto(tcb, now)
    elif meaning is LossTimer.REORDERING:
        loss.reordering_timeout(tcb, now)


def _delayed_ack(tcb: Tcb, now: int) -> None:
    """The ACK may wait no longer; the next ones wait less or more (Linux's tcp_delack_timer_handler)."""
    if not tcb.ack_scheduled:
        return
    if tcb.in_pingpong():
        tcb.pingpong = 0
        tcb.ato = ATO_MIN
    else:
        tcb.ato = min(tcb.ato << 1, tcb.rtt.rto)
    tcb.env.counters.add("DelayedACKs")
    tcb.ack_now = True


def model_timeout(tcb: Tcb, retries: int, base: int) -> int:
    """The time that ``retries`` doublings from ``base`` take, ns: tcp_retries2 = 15 means 924.6 s, whatever the RTO."""
    most = tcb.env.settings.rto_max
    doublings = (most // base).bit_length() - 1
    if retries <= doublings:
        return ((2 << retries) - 1) * base
    return ((2 << doublings) - 1) * base + (retries - doublings) * most


def has_timed_out(tcb: Tcb, retries: int, user_timeout: int, now: int) -> bool:
    """Retransmission has gone on for as long as ``retries`` (or TCP_USER_TIMEOUT, ns) allow."""
    if tcb.retransmits == 0:
        return False
    limit = user_timeout
    if limit == 0:
        base = SECOND if tcb.state in (State.SYN_SENT, State.SYN_RECEIVED) else MODEL_RTO_MIN
        limit = model_timeout(tcb, retries, base)
    return now - tcb.retrans_since >= limit


def _is_at_limit(tcb: Tcb, now: int) -> bool:
    """R2; and R1, at which IP is told to doubt the path and the application hears of it (RFC 9293 section 3.8.3)."""
    settings = tcb.env.settings
    user_timeout = tcb.options.user_timeout_ms * MILLISECOND
    if tcb.state is State.SYN_SENT or tcb.state is State.SYN_RECEIVED:
        if tcb.retransmits:
            _advise(tcb)
        retries = tcb.options.syncnt or settings.tcp_syn_retries
        most = retries + (settings.tcp_syn_linear_timeouts if tcb.state is State.SYN_SENT else 0)
        return tcb.retransmits >= most or has_timed_out(tcb, most, user_timeout, now)
    if has_timed_out(tcb, settings.tcp_retries1, 0, now):
        _advise(tcb)
    retries = settings.tcp_retries2
    if tcb.orphan:
        is_alive = tcb.rtt.rto < settings.rto_max
        retries = orphan_retries(tcb, is_alive)
        if tcb.env.orphans > settings.tcp_max_orphans:
            ending.owe_reset(tcb)
            return True
    return has_timed_out(tcb, retries, user_timeout, now)


def _advise(tcb: Tcb) -> None:
    """R1 is reached and R2 is not: the Stack takes the advice to IP (Linux's dst_negative_advice)."""
    tcb.negative_advice = True
    tcb.env.tell(EventKind.ERROR, tcb)


def orphan_retries(tcb: Tcb, is_alive: bool) -> int:
    """How often an orphan's data and FIN are resent (tcp_orphan_retries; 0 means 8, none after an ICMP error)."""
    if tcb.soft_error and not is_alive:
        return 0
    return tcb.env.settings.tcp_orphan_retries or ORPHAN_RETRIES


def _retransmission_timeout(tcb: Tcb, now: int) -> None:
    if tcb.board.is_empty:
        return
    if _is_at_limit(tcb, now):
        ending.time_out(tcb, now)
        return
    tcb.env.counters.add("TCPTimeouts")
    tcb.total_rto += 1
    if tcb.retransmits == 0:
        tcb.total_rto_recoveries += 1
    if tcb.retrans_since == 0:
        tcb.retrans_since = now
    if tcb.state is State.SYN_SENT or tcb.state is State.SYN_RECEIVED:
        tcb.board.mark_all_lost()
        tcb.syn_owed = True
    else:
        loss.enter_loss(tcb, now)
    tcb.retransmits += 1
    _back_off(tcb)
    tcb.timers.arm_loss(LossTimer.RTO, loss.within_user_timeout(tcb, now + tcb.rtt.rto, now))


def _back_off(tcb: Tcb) -> None:
    """RFC 6298 section 5.5; a SYN waits the same for the first ones (tcp_syn_linear_timeouts)."""
    settings = tcb.env.settings
    if tcb.state is State.SYN_SENT and tcb.retransmits <= settings.tcp_syn_linear_timeouts:
        return
    if _is_thin(tcb) and tcb.retransmits <= THIN_LINEAR_RETRIES:
        tcb.rtt.reset_backoff()
        return
    tcb.rtt.back_off()


def _is_thin(tcb: Tcb) -> bool:
    """Fewer than four segments in flight, and asked to be patient with such (tcp_thin_linear_timeouts)."""
    if not (tcb.options.thin_linear_timeouts or tcb.env.settings.tcp_thin_linear_timeouts):
        return False
    return tcb.state not in (State.SYN_SENT, State.SYN_RECEIVED) and tcb.snd_nxt - tcb.snd_una < 4 * tcb.snd_mss


def probe_interval(tcb: Tcb) -> int:
    """Until the next zero-window probe, ns (RFC 9293 section 3.8.6.1: one RTO first, then doubling)."""
    return min(max(tcb.rtt.rto, MODEL_RTO_MIN) << tcb.backoff, tcb.env.settings.rto_max)


def _probe_timeout(tcb: Tcb, now: int) -> None:
    """Nothing is in flight, text waits, the window does not let it go (Linux's tcp_probe_timer)."""
    if not tcb.board.is_empty or tcb.unsent() <= 0:
        tcb.probes_out = 0
        tcb.probe_since = 0
        return
    settings = tcb.env.settings
    user_timeout = tcb.options.user_timeout_ms * MILLISECOND
    if tcb.probe_since == 0:
        tcb.probe_since = now
    elif user_timeout and now - tcb.probe_since >= user_timeout:
        ending.time_out(tcb, now)
        return
    most = settings.tcp_retries2
    if tcb.orphan:
        is_alive = probe_interval(tcb) < settings.rto_max
        most = orphan_retries(tcb, is_alive)
        if not is_alive and tcb.backoff >= most:
            ending.time_out(tcb, now)
            return
    if tcb.probes_out >= most:
        ending.time_out(tcb, now)
        return
    tcb.probe_owed = True
    tcb.probes_out += 1
    if tcb.backoff < settings.tcp_retries2:
        tcb.backoff += 1
    at = now + probe_interval(tcb)
    if user_timeout:
        at = min(at, max(tcb.probe_since + user_timeout, now + MILLISECOND))
    tcb.timers.arm_loss(LossTimer.PROBE, at)
