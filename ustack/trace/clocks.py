"""Why a timer was set, fired or stopped, and how its time was computed."""

from __future__ import annotations

from ustack.tcp.requests import Request
from ustack.trace.events import span
from ustack.trace.reasons import Reason, Step, doubled, rto_text
from ustack.trace.snapshot import Snapshot
from ustack.units import MILLISECOND
from ustack.wire.frame import Segment
from ustack.wire.tcp import RST


def why_fired(name: str, step: Step) -> Reason:
    """What a timer means that fired."""
    if name != "FIN-WAIT-2 timer" and (step.state == "CLOSED" or (step.after is not None and step.after.error)):
        source = _limit_of(step) if name == "retransmission timer" else "RFC 9293 section 3.8.3"
        return "it has waited for as long as it may: the connection is given up", source
    if name == "keepalive timer" and "TCPKeepAlive" not in step.counts:
        return "something came since it was set: it waits on", "Linux tcp_keepalive_timer"
    meanings = {
        "retransmission timer": ("the SYN is not answered yet" if step.was == "SYN_SENT" else
                                 "no ACK came for a whole RTO", "RFC 6298 section 5.4"),
        "zero-window probe timer": ("the peer's window is closed: ask whether it is still", "RFC 9293 section 3.8.6.1"),
        "tail loss probe timer": ("no ACK came in its time: one segment is sent to get one", "RFC 8985 section 7"),
        "reordering timer": ("reordered segments would have come by now: what is missing is lost",
                             "RFC 8985 section 6.2"),
        "delayed ACK timer": ("no text came for the ACK to ride on", "RFC 9293 section 3.8.6.3"),
        "keepalive timer": ("the connection was silent for this long", "RFC 9293 section 3.8.4"),
        "FIN-WAIT-2 timer": ("the peer's FIN did not come", "tcp_fin_timeout"),
        "pacing timer": ("the next segment may leave", "Linux TCP pacing"),
        "user timeout": ("TCP_USER_TIMEOUT", "RFC 5482"),
    }  # fmt: skip
    return meanings.get(name, ("", ""))


def why_syn_ack_timer(request: Request | None) -> Reason:
    """What it means that a half connection (None: it is gone) was due."""
    if request is not None and request.acked:
        return "the third ACK was not taken: the SYN-ACK again, to get another", "Linux reqsk_timer_handler"
    if request is not None:
        return "no third ACK came: the SYN-ACK again", "tcp_synack_retries; RFC 6298 section 5"
    return "the last SYN-ACK was not answered either: the half connection is forgotten", "tcp_synack_retries"


TIME_WAIT_OVER: Reason = ("2 MSL have passed", "RFC 9293 section 3.10.8; tcp_timewait_length")


def why_time_wait(is_new: bool) -> Reason:
    """Why a connection waits, or waits anew."""
    if is_new:
        return "2 MSL, so that the last ACK can be repeated and old segments die out", "RFC 9293 section 3.6.1"
    return "a segment of the old connection came: 2 MSL begin anew", "RFC 9293 section 3.10.7.4, eighth"


def why_time_wait_ends(step: Step) -> Reason:
    """Why the wait is over before its time."""
    frame = step.cause.frame
    if step.cause.kind == "call":
        return "connect() takes the port over", "tcp_tw_reuse"
    if isinstance(frame, Segment) and frame.flags & RST:
        return "a RST ended it: TIME-WAIT assassination", "RFC 1337; tcp_rfc1337"
    return "a SYN that cannot be an old one begins a new connection", "RFC 6191; RFC 9293 section 3.10.7.4"


def _limit_of(step: Step) -> str:
    """The knob that bounds how long a segment is resent."""
    if step.was == "SYN_SENT":
        return "tcp_syn_retries"
    return "tcp_orphan_retries" if step.before is not None and step.before.orphan else "tcp_retries2"


def why_set(name: str, step: Step) -> Reason:
    """How the time of a timer was computed."""
    after = step.after
    if after is None:
        return "", ""
    if name == "retransmission timer" and after.state == "SYN_SENT" and step.cause.kind == "segment":
        return "an ACK of another connection came: once that is reset, the SYN may succeed", "Linux TCP_TIMEOUT_MIN"
    if name == "retransmission timer":
        return f"RTO = {rto_text(after)}{_counted_from(name, step)}", "RFC 6298 section 2"
    if name == "tail loss probe timer":
        return _why_probe_after(after, step), "RFC 8985 section 7.2"
    if name == "zero-window probe timer":
        return f"RTO {span(after.rto)}{doubled(after.backoff)}", "RFC 9293 section 3.8.6.1"
    if name == "pacing timer":
        return f"{after.pacing_rate * 8 / 1e6:.3g} Mbit/s: the next segment waits its turn", "Linux TCP pacing"
    return _WHY_SET.get(name, ("", ""))


_WHY_SET: dict[str, Reason] = {
    "reordering timer": (
        "later segments were delivered: those before them get the reordering window more, "
        "at first a quarter of the least round trip",
        "RFC 8985 section 6.2",
    ),
    "delayed ACK timer": ("the ACK may ride on text, or on the next segment's", "RFC 9293 section 3.8.6.3"),
    "keepalive timer": ("SO_KEEPALIVE: tcp_keepalive_time, then tcp_keepalive_intvl", "RFC 9293 section 3.8.4"),
    "FIN-WAIT-2 timer": ("the socket is closed: the peer's FIN is waited for so long", "tcp_fin_timeout"),
}


def _counted_from(name: str, step: Step) -> str:
    """An RTO that takes the place of a probe's timer is not begun anew."""
    after = step.after
    assert after is not None
    is_part = not after.backoff and after.srtt and after.timers[name] - step.now < after.rto - MILLISECOND
    return ", counted from when the oldest segment in flight left" if is_part else ""


_JIFFIES = 2 * MILLISECOND
"""What Linux adds to two round trips (TCP_TIMEOUT_MIN)."""


def _why_probe_after(after: Snapshot, step: Step) -> str:
    """Two round trips, and 200 ms where one segment's ACK may be delayed; never later than the RTO."""
    wait = after.timers["tail loss probe timer"] - step.now
    if not after.srtt:
        return "nothing is measured yet"
    for several, more in ((False, ""), (True, " and 200 ms for the delayed ACK of a single segment")):
        longest = 2 * after.srtt + (step.stack.settings.tcp_rto_min_us * 1000 if several else _JIFFIES)
        if abs(wait - longest) < MILLISECOND:
            return f"two round trips: 2 x SRTT {span(after.srtt)}{more}"
    return f"the RTO, {span(after.rto)} from when the oldest segment left: it would come before the probe's own time"


def why_stopped(name: str, step: Step) -> Reason:
    """Why a timer does not run any more."""
    after = step.after
    if name == "FIN-WAIT-2 timer" and step.state != "CLOSED":
        return "the peer's FIN came", "RFC 9293 section 3.10.7.4, eighth"
    if after is None or after.state in ("CLOSED", "TIME_WAIT"):
        return "the connection is over", ""
    if name == "delayed ACK timer":
        return "the ACK has left", "RFC 9293 section 3.8.6.3"
    if name == "zero-window probe timer" and after.snd_wnd:
        return "the peer's window is open again", "RFC 9293 section 3.8.6.1"
    if name in _LOSS_TIMERS and _LOSS_TIMERS & after.timers.keys():
        return "another loss timer takes its place", "Linux icsk_pending"
    if name in _LOSS_TIMERS and after.snd_una == after.snd_nxt:
        return "all that was sent is acknowledged", "RFC 6298 section 5.2"
    return "", ""


_LOSS_TIMERS = {"retransmission timer", "tail loss probe timer", "reordering timer", "zero-window probe timer"}
