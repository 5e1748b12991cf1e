"""Sending after a pause (RFC 5681 section 4.1)."""

from __future__ import annotations

from ustack.tcp.sender.state import Sender


def begin_again(sender: Sender, now: int) -> None:
    """Nothing is in flight, and text is about to leave: a pause longer than an RTO shrinks cwnd.

    Linux's tcp_slow_start_after_idle_check. It is asked where text joins the queue and where the peer's window changes
    while text waits, not where text leaves: the probes of a shut window change nothing."""
    control = sender.congestion
    if control is not None and sender.last_sent_at and sender.host.settings.tcp_slow_start_after_idle:
        idle = now - sender.last_sent_at
        if idle > sender.rtt.rto:
            control.on_idle(now, idle, sender.rtt.rto)
