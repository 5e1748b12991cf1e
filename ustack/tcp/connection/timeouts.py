"""What each timer does when it is due: it changes state; ``output`` sends.

RFC 6298 section 5 and RFC 9293 section 3.8.3 with Linux's limits (``tcp_write_timeout``, ``tcp_probe_timer``).
"""

from __future__ import annotations

from ustack.events import EventKind
from ustack.tcp.connection import closing, fast_child, fast_open, keepalive
from ustack.tcp.connection.tcb import Tcb
from ustack.tcp.constants import RESOURCE_PROBE_INTERVAL
from ustack.tcp.receiver import ack_policy
from ustack.tcp.sender import loss, probes, timeouts
from ustack.tcp.state import State
from ustack.tcp.timers import LossTimer, Timer
from ustack.units import MILLISECOND


def on_deadline(tcb: Tcb, now: int) -> None:
    """Let every timer that is due act. Early or spurious calls do nothing."""
    while True:
        timer = tcb.timers.take_due(now)
        if timer is None:
            return
        if timer is Timer.RETRANSMIT:
            _loss_timer(tcb, now)
        elif timer is Timer.DELAYED_ACK:
            ack_policy.delayed_ack_due(tcb.receiver)
        elif timer is Timer.KEEPALIVE:
            keepalive.expire(tcb, now)
        elif timer is Timer.LINGER and tcb.state is State.FIN_WAIT_2:
            closing.give_up(tcb, 0, now)
        # PACING and USER only wake output.


def _loss_timer(tcb: Tcb, now: int) -> None:
    meaning = tcb.timers.take_loss()
    if tcb.host.is_device_full and meaning in (LossTimer.RTO, LossTimer.TAIL_LOSS):
        _wait_for_device(tcb, now)
        return
    if meaning is LossTimer.RTO:
        _retransmission_timeout(tcb, now)
    elif meaning is LossTimer.PROBE:
        _probe_timeout(tcb, now)
    elif meaning is LossTimer.TAIL_LOSS:
        timeouts.tail_loss_probe_due(tcb.sender, now)
    elif meaning is LossTimer.REORDERING:
        loss.reordering_timeout(tcb.sender, now)
    elif meaning is LossTimer.SYN_ACK:
        fast_child.syn_ack_due(tcb, now)


def _wait_for_device(tcb: Tcb, now: int) -> None:
    """What would be resent has perhaps not left this host yet: no loss, and no resend (Linux's skb_still_in_host_queue
    and TCP_RESOURCE_PROBE_INTERVAL). Only R2 and TCP_USER_TIMEOUT go on."""
    sender = tcb.sender
    if sender.scoreboard.is_empty:
        return
    waiting = now - (sender.retrans_since or sender.scoreboard.oldest_sent_at)
    limit = tcb.options.user_timeout_ms * MILLISECOND or timeouts.r2(sender)
    if waiting >= limit:
        closing.time_out(tcb, now)
        return
    tcb.host.counters.add("TCPSpuriousRtxHostQueues")
    tcb.timers.arm_loss(LossTimer.RTO, now + RESOURCE_PROBE_INTERVAL)


def _heed_limits(tcb: Tcb, now: int) -> bool:
    """Resending has gone on for a while (RFC 9293 section 3.8.3). True: for too long, R2; the connection ends.

    At R1 IP is told to doubt the path, and the application hears of it; an orphan that costs too much ends here."""
    settings = tcb.host.settings
    user_timeout = tcb.options.user_timeout_ms * MILLISECOND
    if tcb.state is State.SYN_SENT or tcb.state is State.SYN_RECEIVED:
        if tcb.sender.retransmits:
            _advise(tcb)
        retries = tcb.options.syncnt or settings.tcp_syn_retries
        most = retries + (settings.tcp_syn_linear_timeouts if tcb.state is State.SYN_SENT else 0)
        return tcb.sender.retransmits >= most or timeouts.has_timed_out(tcb.sender, most, user_timeout, now)
    if timeouts.has_timed_out(tcb.sender, settings.tcp_retries1, 0, now):
        _advise(tcb)
    retries = settings.tcp_retries2
    if tcb.orphan:
        is_alive = tcb.sender.rtt.rto < tcb.sender.rtt.rto_max
        retries = timeouts.orphan_retries(tcb.sender, is_alive)
        tell = is_alive or not timeouts.has_timed_out(tcb.sender, retries, 0, now)
        if closing.out_of_resources(tcb, tell, now):
            return True
    return timeouts.has_timed_out(tcb.sender, retries, user_timeout, now)


def _advise(tcb: Tcb) -> None:
    """R1 is reached and R2 is not: the Stack takes the advice to IP (Linux's dst_negative_advice)."""
    tcb.host.doubted_paths.append(tcb)
    tcb.host.tell(EventKind.ERROR, tcb)


def _retransmission_timeout(tcb: Tcb, now: int) -> None:
    if tcb.sender.scoreboard.is_empty:
        return
    if probes.is_shut_in_flight(tcb.sender) and not tcb.orphan:  # nobody would wait for an orphan that never ends
        if probes.is_peer_silent(tcb.sender, now):
            closing.time_out(tcb, now)
            return
        tcb.host.doubted_paths.append(tcb)
        timeouts.probe_with_resend(tcb.sender, now)
        return
    gives_up = _heed_limits(tcb, now)
    if tcb.fast_open is not None:
        fast_open.doubt_path(tcb, gives_up, now)
    if gives_up:
        if tcb.state is not State.CLOSED:
            closing.time_out(tcb, now)
        return
    linear = tcb.host.settings.tcp_syn_linear_timeouts if tcb.state is State.SYN_SENT else 0
    timeouts.resend_due(tcb.sender, linear, now)


def _probe_timeout(tcb: Tcb, now: int) -> None:
    """Nothing is in flight, text waits, the window does not let it go (Linux's tcp_probe_timer)."""
    if not probes.goes_on(tcb.sender, now):
        return
    settings = tcb.host.settings
    user_timeout = tcb.options.user_timeout_ms * MILLISECOND
    if user_timeout and now - tcb.sender.probing.since >= user_timeout:
        closing.time_out(tcb, now)
        return
    most = settings.tcp_retries2
    if tcb.orphan:
        is_alive = tcb.sender.rtt.rto << tcb.sender.probing.backoff < tcb.sender.rtt.rto_max
        most = timeouts.orphan_retries(tcb.sender, is_alive)
        if not is_alive and tcb.sender.probing.backoff >= most:
            closing.time_out(tcb, now)
            return
        if closing.out_of_resources(tcb, True, now):
            return
    if tcb.sender.probing.sent >= most:
        closing.time_out(tcb, now)
        return
    probes.due(tcb.sender, now)
