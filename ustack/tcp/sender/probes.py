"""The zero-window probe (RFC 9293 section 3.8.6.1; Linux's ``tcp_probe_timer``, ``tcp_ack_probe``).

Two windows of zero want two kinds of probe. Where nothing is in flight and text waits, the probe's own timer asks.
Where the peer shut the window upon text that is already in flight, the resends of its first segment ask, and the
connection lives for as long as they are answered. When to give up: ``connection/timeouts.py``.
"""

from __future__ import annotations

from typing import Final

from ustack.tcp.constants import MODEL_RTO_MIN
from ustack.tcp.owed import OWE_KEEPALIVE, OWE_WINDOW_PROBE
from ustack.tcp.sender.state import Sender
from ustack.tcp.timers import LossTimer, Timer
from ustack.units import MILLISECOND

MOST_DOUBLINGS: Final = 10
"""ilog2(TCP_RTO_MAX / TCP_RTO_MIN) + 1."""
LEAST_WAIT: Final = 2 * MILLISECOND
"""Linux's TCP_TIMEOUT_MIN."""


def interval(sender: Sender) -> int:
    """Until the next probe, ns: one RTO first, then doubling up to TCP_RTO_MAX_MS (Linux's tcp_probe0_when)."""
    first = max(sender.rtt.rto, MODEL_RTO_MIN)
    return min(first << min(sender.probing.backoff, MOST_DOUBLINGS), sender.rtt.rto_max)


def _arm(sender: Sender, now: int) -> None:
    """The next probe; TCP_USER_TIMEOUT may end the probing before it (Linux's tcp_clamp_probe0_to_user_timeout)."""
    wait = interval(sender)
    user_timeout = sender.options.user_timeout_ms * MILLISECOND
    if user_timeout and sender.probing.since:
        wait = min(wait, max(sender.probing.since + user_timeout - now, LEAST_WAIT))
    sender.timers.arm_loss(LossTimer.PROBE, now + wait)


def forget(sender: Sender) -> None:
    """Text leaves again, or none waits."""
    sender.probing.sent = 0
    sender.probing.backoff = 0
    sender.probing.since = 0


def arm_if_stuck(sender: Sender, now: int) -> None:
    """Text waits, nothing is in flight, no timer runs: probe the shut window (Linux's tcp_check_probe_timer)."""
    if sender.scoreboard.is_empty and not sender.timers.is_armed(Timer.RETRANSMIT):
        sender.timers.arm_loss(LossTimer.PROBE, now + max(sender.rtt.rto, MODEL_RTO_MIN))


def on_ack(sender: Sender, now: int) -> None:
    """Nothing in flight: the ACK answers a probe, or opens the window (Linux's tcp_ack_probe)."""
    waiting = sender.unsent()
    if waiting <= 0:
        return
    usable = sender.snd_una + sender.snd_wnd - sender.snd_nxt
    if usable >= min(waiting, sender.snd_mss):
        sender.probing.backoff = 0
        sender.probing.since = 0
        if sender.timers.loss is LossTimer.PROBE:
            sender.timers.stop_loss()
    elif sender.timers.loss is not LossTimer.RTO:
        _arm(sender, now)


def goes_on(sender: Sender, now: int) -> bool:
    """Text waits behind a shut window with nothing in flight. False: there is nothing to probe for."""
    if not sender.scoreboard.is_empty or sender.unsent() <= 0:
        sender.probing.sent = 0
        sender.probing.since = 0
        return False
    if sender.probing.since == 0:
        sender.probing.since = now
    return True


def due(sender: Sender, now: int) -> None:
    """A probe leaves, and the next one is due after twice the time."""
    sender.owed.add(OWE_WINDOW_PROBE)
    sender.probing.sent += 1
    if sender.probing.backoff < sender.host.settings.tcp_retries2:
        sender.probing.backoff += 1
    _arm(sender, now)


def ask_for_life(sender: Sender) -> None:
    """A keepalive leaves (RFC 9293 section 3.8.4)."""
    sender.probing.sent += 1
    sender.owed.add(OWE_KEEPALIVE)


def is_shut_in_flight(sender: Sender) -> bool:
    """The peer took its whole window back while text was on its way: the resends are probes (tcp_retransmit_timer)."""
    return sender.snd_wnd == 0 and not sender.is_opening()


def is_peer_silent(sender: Sender, now: int) -> bool:
    """Resends that are probes go on while the peer answers: not heard for two of the longest RTOs, or
    TCP_USER_TIMEOUT without progress, ends them (Linux's tcp_rtx_probe0_timed_out)."""
    user_timeout = sender.options.user_timeout_ms * MILLISECOND
    resending = now - (sender.retrans_since or sender.scoreboard.oldest_sent_at)
    limit = 2 * sender.rtt.rto_max
    if user_timeout:
        if resending > user_timeout:
            return True
        limit = min(limit, user_timeout)
    return now - sender.ack_at > limit and resending > limit
