"""Keepalive (RFC 9293 section 3.8.4; off by default, MUST-25) with Linux's knobs and rules."""

from __future__ import annotations

from ustack.tcp.connection import closing
from ustack.tcp.connection.tcb import Tcb
from ustack.tcp.constants import RESOURCE_PROBE_INTERVAL
from ustack.tcp.sender import probes
from ustack.tcp.state import State
from ustack.tcp.timers import Timer
from ustack.units import MILLISECOND, SECOND


def idle_time(tcb: Tcb) -> int:
    """Silence before the first probe, ns (TCP_KEEPIDLE, tcp_keepalive_time)."""
    return (tcb.options.keepidle_s or tcb.host.settings.tcp_keepalive_time) * SECOND


def interval(tcb: Tcb) -> int:
    """Between two probes, ns (TCP_KEEPINTVL, tcp_keepalive_intvl)."""
    return (tcb.options.keepintvl_s or tcb.host.settings.tcp_keepalive_intvl) * SECOND


def restart(tcb: Tcb, now: int) -> None:
    """The option was switched, a time was changed, or the connection began: arm the timer anew, or stop it."""
    if tcb.options.keepalive and tcb.state not in (State.CLOSED, State.LISTEN, State.SYN_SENT, State.TIME_WAIT):
        tcb.timers.arm(Timer.KEEPALIVE, now + max(idle_time(tcb) - _silence(tcb, now), 0))
    else:
        tcb.timers.stop(Timer.KEEPALIVE)


def _silence(tcb: Tcb, now: int) -> int:
    """Time since the peer last gave a sign of life."""
    return now - max(tcb.sender.ack_at, tcb.receiver.last_text_at)


def expire(tcb: Tcb, now: int) -> None:
    """The keepalive timer fired: probe, give up, or wait on (Linux's tcp_keepalive_timer)."""
    if not tcb.options.keepalive or tcb.state in (State.CLOSED, State.SYN_SENT, State.TIME_WAIT):
        return
    if not tcb.sender.scoreboard.is_empty or tcb.sender.unsent() > 0:
        tcb.timers.arm(Timer.KEEPALIVE, now + idle_time(tcb))  # data in flight asks the same question
        return
    silence = _silence(tcb, now)
    if silence < idle_time(tcb):
        tcb.timers.arm(Timer.KEEPALIVE, now + idle_time(tcb) - silence)
        return
    user_timeout = tcb.options.user_timeout_ms * MILLISECOND
    most = tcb.options.keepcnt or tcb.host.settings.tcp_keepalive_probes
    is_dead = tcb.sender.probing.sent >= most
    if user_timeout:
        is_dead = silence >= user_timeout and tcb.sender.probing.sent > 0
    if is_dead:
        closing.owe_reset(tcb)
        closing.time_out(tcb, now)
        return
    probes.ask_for_life(tcb.sender)
    tcb.host.counters.add("TCPKeepAlive")
    tcb.timers.arm(Timer.KEEPALIVE, now + max(interval(tcb), RESOURCE_PROBE_INTERVAL))
