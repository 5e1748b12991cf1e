"""Is the congestion window used at all (RFC 7661)? One that is not says nothing of the path."""

from __future__ import annotations

from ustack.tcp.tcb import CA_OPEN, Tcb


def validate_cwnd(tcb: Tcb, limited: bool) -> None:
    """Remember for one window whether cwnd was the limit (Linux's tcp_cwnd_validate)."""
    flight = tcb.board.highest_sent - tcb.board.una
    if tcb.snd_una >= tcb.usage_seq or limited or (not tcb.cwnd_limited and flight > tcb.max_flight):
        tcb.cwnd_limited = limited
        tcb.max_flight = flight
        tcb.usage_seq = tcb.snd_nxt


def after_idle(tcb: Tcb, now: int) -> None:
    """Text is about to leave after a pause: longer than an RTO, and cwnd shrinks (RFC 5681 section 4.1)."""
    control = tcb.congestion
    if control is not None and tcb.last_sent_at and tcb.env.settings.tcp_slow_start_after_idle:
        idle = now - tcb.last_sent_at
        if idle > tcb.rtt.rto and tcb.ca_state == CA_OPEN:
            control.on_idle(now, idle, tcb.rtt.rto)
            tcb.last_sent_at = now
