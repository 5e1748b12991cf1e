"""Why: the sentence behind each event, read off what a step changed and counted, with the rule's source."""

from __future__ import annotations

from typing import NamedTuple

from ustack.stack.stack import Stack
from ustack.trace.events import span
from ustack.trace.snapshot import Snapshot
from ustack.wire.frame import Frame, Segment, Transmit
from ustack.wire.tcp import ACK, FIN, RST, SYN

Reason = tuple[str, str]
"""A sentence, and where its rule stands."""


class Cause(NamedTuple):
    """What began a step: a ``segment``, a ``timer`` (``name``), or a ``call`` of the application.

    ``was``: the state in which a segment found the connection; ``had_gap``: text was missing before it came.
    """

    kind: str
    name: str
    frame: Frame | None = None
    was: str = ""
    had_gap: bool = False


class Step(NamedTuple):
    """One step of a Stack, and what it changed of one connection."""

    now: int
    key: bytes
    cause: Cause
    before: Snapshot | None
    after: Snapshot | None
    was: str
    state: str
    counts: dict[str, int]
    stack: Stack

    def has_changed(self) -> bool:
        """Anything of the connection is different."""
        return self.before != self.after or self.was != self.state


ARRIVAL = "RFC 9293 section 3.10.7.4"


def why_taken(frame: Frame, step: Step) -> Reason:
    """What a segment that was accepted did."""
    before, after = step.before, step.after
    if not isinstance(frame, Segment):
        return "", ""
    if step.was == "LISTEN" and step.state == "SYN_RECEIVED":
        return (
            "a SYN for a listener: it is kept in the SYN queue and answered with a SYN-ACK",
            "RFC 9293 section 3.10.7.2",
        )
    if step.was == "SYN_RECEIVED" and before is None and after is not None:
        return "the third ACK: the handshake is complete, the connection waits for accept()", ARRIVAL
    if frame.flags & RST:
        return _why_reset_taken(step)
    if before is None or after is None:
        return _why_taken_without_connection(frame, step)
    if step.was == "SYN_SENT":
        what = "it answers our SYN" if frame.flags & ACK else "it crosses our SYN: simultaneous open"
        return what, "RFC 9293 section 3.10.7.3"
    return "; ".join(_changes(frame, before, after)) or "it changes nothing", ARRIVAL


def _changes(frame: Segment, before: Snapshot, after: Snapshot) -> list[str]:
    """What a segment changed of a connection that goes on."""
    parts = []
    if after.rcv_nxt > before.rcv_nxt:
        text = after.rcv_nxt - before.rcv_nxt - (1 if frame.flags & FIN else 0)
        parts.append(f"{text} bytes are next in order" if text > 0 else "the FIN is next in order")
    elif after.beyond > before.beyond:
        parts.append("it is kept out of order: what lies before it is missing")
    if after.snd_una > before.snd_una:
        parts.append(f"it acknowledges up to {after.snd_una}")
    if after.snd_wnd != before.snd_wnd:
        parts.append(f"the peer's window is {after.snd_wnd} bytes now")
    return parts


def _why_reset_taken(step: Step) -> Reason:
    """What a RST did that was not refused."""
    if step.was == step.state == "TIME_WAIT":
        return "a RST does not end TIME-WAIT", "RFC 1337; tcp_rfc1337"
    if step.was == step.state:
        return "a RST for nothing that is here: it changes nothing", "RFC 9293 section 3.10.7.1"
    if step.was == "SYN_SENT":
        return "it refuses our SYN", "RFC 9293 section 3.10.7.3, second"
    if step.was == "TIME_WAIT":
        return "a RST ends TIME-WAIT before its time", "RFC 1337; tcp_rfc1337"
    return "a RST with exactly the next number ends the connection", "RFC 9293 section 3.10.7.4, second; RFC 5961"


def _why_taken_without_connection(frame: Segment, step: Step) -> Reason:
    if step.was == "LISTEN" and step.state == "ESTABLISHED":
        return "the third ACK brings our SYN cookie back: the connection is made of it", "RFC 4987 section 3.6"
    if step.was == "LISTEN" and step.state == "LISTEN" and frame.flags & (SYN | ACK) == SYN:
        return (
            "a SYN for a listener: its SYN-ACK is a cookie, and nothing is kept",
            "tcp_syncookies; RFC 4987 section 3.6",
        )
    if step.was == "TIME_WAIT" and step.state == "TIME_WAIT" and frame.flags & FIN:
        return "the peer's FIN again: it has not got our last ACK, so 2 MSL start anew", "RFC 9293 section 3.10.7.4"
    if step.was == "TIME_WAIT" and step.state == "SYN_RECEIVED":
        return (
            "a SYN with newer numbers ends TIME-WAIT and opens a new connection",
            "RFC 6191; RFC 9293 section 3.10.7.4",
        )
    if step.was == "SYN_RECEIVED" and step.state == "LISTEN":
        return "the half-open connection is given up", "RFC 9293 section 3.10.7.4, second"
    return "", ""


def why_moved(step: Step) -> Reason:
    """Why a state changed (RFC 9293 figure 5)."""
    figure = "RFC 9293 section 3.3.2, figure 5"
    if step.state == "CLOSED" and step.after is not None and step.after.error:
        return _why_broken(step)
    if step.cause.kind == "skip":
        if not step.stack.settings.tcp_timewait_length:
            return "TIME-WAIT is skipped: its time is 0", "tcp_timewait_length"
        return "TIME-WAIT is skipped: as many as may wait do so already", "tcp_max_tw_buckets"
    if _by_reset(step):
        return "the peer sent RST", "RFC 9293 section 3.10.7.4, second"
    if step.cause.kind == "call":
        words = {
            "SYN_SENT": "connect()",
            "FIN_WAIT_1": "close() or shutdown() queues our FIN",
            "LAST_ACK": "close() or shutdown() queues our FIN",
            "CLOSED": "close() with SO_LINGER 0, or with text that nobody has read, aborts: RST",
        }
        if step.state == "CLOSED" and step.was not in ("SYN_SENT", "LISTEN", "TIME_WAIT"):
            return "the application lets go of it by a RST, without a FIN", "RFC 9293 section 3.10.5; socket(7)"
        return words.get(step.state, "the application's call"), figure
    changes = {
        ("SYN_SENT", "ESTABLISHED"): "the SYN-ACK acknowledges our SYN",
        ("SYN_SENT", "SYN_RECEIVED"): "a SYN crossed ours: simultaneous open",
        ("LISTEN", "SYN_RECEIVED"): "a SYN came",
        ("LISTEN", "ESTABLISHED"): "the third ACK brings our SYN cookie back",
        ("SYN_RECEIVED", "ESTABLISHED"): "our SYN-ACK is acknowledged",
        ("ESTABLISHED", "CLOSE_WAIT"): "the peer's FIN came",
        ("FIN_WAIT_1", "FIN_WAIT_2"): "our FIN is acknowledged",
        ("FIN_WAIT_1", "CLOSING"): "the peer's FIN came before the ACK of ours: both close at once",
        ("FIN_WAIT_1", "TIME_WAIT"): "the peer's FIN came with the ACK of ours",
        ("FIN_WAIT_2", "TIME_WAIT"): "the peer's FIN came",
        ("CLOSING", "TIME_WAIT"): "our FIN is acknowledged",
        ("LAST_ACK", "CLOSED"): "our FIN is acknowledged",
        ("TIME_WAIT", "CLOSED"): "2 MSL have passed",
        ("TIME_WAIT", "SYN_RECEIVED"): "a SYN that cannot be an old one begins a new connection",
        ("FIN_WAIT_2", "CLOSED"): "tcp_fin_timeout has passed for a connection that nobody holds",
    }
    why = changes.get((step.was, step.state))
    return (why, figure) if why else _why_broken(step)


def _why_broken(step: Step) -> Reason:
    if step.cause.kind == "timer":
        return f"the {step.cause.name} has expired for the last time", "RFC 9293 section 3.8.3"
    if _by_reset(step):
        return "the peer sent RST", "RFC 9293 section 3.10.7.4, second"
    return "", ""


def _by_reset(step: Step) -> bool:
    """A RST of the peer's ended it."""
    frame = step.cause.frame
    return step.state == "CLOSED" and isinstance(frame, Segment) and bool(frame.flags & RST)


def calls_seen(step: Step) -> list[tuple[str, str]]:
    """The application's calls since the last step, as far as they left a mark, with what they moved."""
    before, after = step.before, step.after
    if after is None:
        return []
    if before is None:
        return [("connect()", "")] if after.state == "SYN_SENT" else []
    calls = []
    if after.unsent - after.fin_queued > before.unsent - before.fin_queued:
        calls.append(("send()", f"{after.unsent - after.fin_queued - before.unsent + before.fin_queued} bytes"))
    if after.unread < before.unread:
        calls.append(("recv()", f"{before.unread - after.unread} bytes"))
    if after.orphan and not before.orphan:
        calls.append(("close()", ""))
    elif after.fin_queued and not before.fin_queued:
        calls.append(("shutdown()", ""))
    return calls


def why_congestion_state(step: Step) -> Reason:
    """Why the sender entered another of Linux's congestion states."""
    after = step.after
    assert after is not None
    for name, why in _UNDONE.items():
        if name in step.counts:
            return why, "RFC 4015; Linux tcp_undo_cwnd_reduction"
    words = {
        "Open": ("all that was in flight when the trouble began is acknowledged", "RFC 6675 section 5"),
        "Disorder": ("the peer reports text beyond a gap", "RFC 6675; Linux tcp_fastretrans_alert"),
        "CWR": ("the window is reduced without a loss", "RFC 3168 section 6.1.2"),
        "Recovery": ("a segment counts as lost: fast recovery begins", "RFC 6675 section 5; RFC 8985"),
        "Loss": ("the retransmission timer expired: everything in flight counts as lost", "RFC 5681 section 3.1"),
    }
    return words[after.ca_state]


_UNDONE = {
    "TCPFullUndo": "everything arrived after all: the reduction is undone",
    "TCPPartialUndo": "what arrived was only late: the reduction is undone",
    "TCPDSACKUndo": "the peer had it twice (D-SACK): the reduction is undone",
    "TCPLossUndo": "the timeout was spurious: the reduction is undone",
}


def what_is_lost(after: Snapshot) -> str:
    """The name of the one sequence number that is lost, where that is no text."""
    if after.snd_nxt - after.snd_una != 1:
        return ""
    if after.state in ("SYN_SENT", "SYN_RECEIVED"):
        return "the SYN"
    return "the FIN" if after.state in ("FIN_WAIT_1", "CLOSING", "LAST_ACK") else ""


def why_lost(step: Step) -> Reason:
    """Why bytes in flight count as lost."""
    if step.cause.kind == "timer" and step.cause.name == "retransmission timer":
        return "the retransmission timer expired", "RFC 6298 section 5; RFC 8985 section 6.3"
    return "later segments were delivered, and the time for reordering has passed", "RFC 8985 section 6.2 (RACK)"


def why_number(name: str, step: Step) -> Reason:
    """Who changed a variable."""
    before, after = step.before, step.after
    assert before is not None
    assert after is not None
    if name == "snd_wnd":
        return "the peer says so in its segment", "RFC 9293 section 3.10.7.4, fifth"
    if name == "rto":
        if step.cause.kind == "timer":
            return f"the timer fired, so the RTO doubles: {rto_text(after)}", "RFC 6298 section 5.5"
        return f"a round trip was measured: {rto_text(after)}", "RFC 6298 section 2.3"
    for count, why in _UNDONE.items():
        if count in step.counts:
            return why, "RFC 4015; Linux tcp_undo_cwnd_reduction"
    control = after.control or "congestion control"
    if name == "ssthresh":
        return _why_ssthresh(control, step)
    return _why_cwnd(control, before, after, step)


def _why_ssthresh(control: str, step: Step) -> Reason:
    if any(name.startswith("TCPHystart") for name in step.counts):
        return f"{control}: round trips grow, so slow start ends before a loss (HyStart)", "RFC 9406"
    return f"{control} answers congestion", "RFC 5681 section 3.1" if control == "reno" else "RFC 9438 section 4.6"


def _why_cwnd(control: str, before: Snapshot, after: Snapshot, step: Step) -> Reason:
    if step.was == "SYN_SENT":
        return f"the initial window: tcp_init_cwnd segments of the MSS {after.mss}", "RFC 6928"
    if before.ca_state in ("Recovery", "CWR") and after.ca_state in ("Open", "Disorder"):
        return "the reduction is complete: cwnd is ssthresh", "RFC 6937; Linux tcp_end_cwnd_reduction"
    if after.ca_state == "Recovery":
        return "proportional rate reduction spreads the reduction over a round trip", "RFC 6937"
    if after.cwnd < before.cwnd:
        return f"{control}: the window is reduced", "RFC 5681 section 3.1"
    phase = "slow start" if after.ssthresh < 0 or after.cwnd < after.ssthresh else "congestion avoidance"
    return f"{control}, {phase}: an ACK grows the window", "RFC 5681 section 3.1"


def rto_text(after: Snapshot) -> str:
    """How the RTO was computed."""
    if not after.srtt:
        base = "1 s before anything is measured"
    else:
        base = f"SRTT {span(after.srtt)} + {span(after.rttvar)} (the deviation, at least tcp_rto_min)"
    return base + doubled(after.backoff)


def doubled(times: int) -> str:
    """How often a wait was doubled."""
    if not times:
        return ""
    return ", doubled once" if times == 1 else f", doubled {times} times"


def why_offered(step: Step) -> Reason:
    """Why our window changed by itself."""
    return "the application read, or the buffer grew", "RFC 9293 section 3.8.6.2.2"


# What leaves


def why_sent(transmit: Transmit, step: Step) -> tuple[str, str, str]:
    """The reason of a segment, its source, and the rule's short name."""
    flags = transmit.flags
    if flags & RST:
        return (*_why_reset(step), "rst")
    if flags & SYN:
        return (*_why_syn(flags, step), "syn")
    before = step.before
    if before is None or step.after is None:
        return (*_why_bare_ack(step), "ack")
    start = _relative(transmit, step)
    if not transmit.length and not flags & FIN:
        if start < before.snd_una:
            return (*_why_probe(step), "probe")
        return (*_why_ack(step), "ack")
    if start < before.snd_nxt:
        return (*_why_resent(step), "resent")
    why = "new text, within cwnd and the peer's window" if transmit.length else "our FIN: the application has closed"
    source = "RFC 9293 section 3.8.6.2.1; RFC 5681 section 3.1" if transmit.length else "RFC 9293 section 3.10.4"
    if "TCPLossProbes" in step.counts:
        why, source = "a tail loss probe: one new segment, to get an ACK", "RFC 8985 section 7.3"
    if flags & FIN and transmit.length:
        why += "; the FIN rides on it"
    return why, source, "fin" if not transmit.length else "new"


def _relative(transmit: Transmit, step: Step) -> int:
    connection = step.stack.tcp.connections.get(step.key)
    if connection is None or step.after is None:
        return 0
    distance = (connection.sender.snd_nxt - transmit.seq) & 0xFFFFFFFF
    if distance >= 1 << 31:
        distance -= 1 << 32
    return step.after.snd_nxt - distance


def _why_reset(step: Step) -> Reason:
    frame = step.cause.frame
    if step.cause.kind == "segment" and isinstance(frame, Segment):
        if step.was in ("CLOSED", "") and step.state == "CLOSED":
            return "nobody has this address and port", "RFC 9293 section 3.10.7.1"
        if step.cause.was == "SYN_SENT":
            return "its ACK does not acknowledge our SYN", "RFC 9293 section 3.10.7.3, first"
        if "Drop.ACCEPT_QUEUE_FULL" in step.counts:
            return "the accept queue is full", "tcp_abort_on_overflow"
        return "the segment is not acceptable here", "RFC 9293 section 3.10.7"
    if step.cause.kind == "timer":
        return "the connection is given up, and the peer is told", "Linux tcp_out_of_resources"
    return (
        "the application let go of a connection with unread text, or with SO_LINGER 0",
        "RFC 2525 section 2.17; socket(7)",
    )


def _why_syn(flags: int, step: Step) -> Reason:
    if flags & ACK:
        if step.cause.kind == "timer":
            return "no third ACK came: the SYN-ACK again", "tcp_synack_retries"
        return "it answers the SYN", "RFC 9293 section 3.10.7.2"
    if step.cause.kind == "timer":
        return "no answer came: the same SYN again", "tcp_syn_retries; RFC 6298 section 5"
    return "connect()", "RFC 9293 section 3.10.1"


def _why_probe(step: Step) -> Reason:
    if step.cause.name == "keepalive timer":
        return (
            "keepalive: a number that the peer has already, without text, so that it must answer",
            "RFC 9293 section 3.8.4",
        )
    return (
        "is the window still closed? A number that the peer has already, without text, makes it answer",
        "RFC 9293 section 3.8.6.1",
    )


def _why_resent(step: Step) -> Reason:
    if "TCPLossProbes" in step.counts:
        return "a tail loss probe: the last segment again, to get an ACK", "RFC 8985 section 7.3"
    after = step.after
    assert after is not None
    if after.ca_state == "Loss" or step.cause.name == "retransmission timer":
        return f"the retransmission timer expired (RTO {span(after.rto)} now)", "RFC 6298 section 5"
    return "it counts as lost: fast retransmit", "RFC 6675 section 5; RFC 8985"


def _why_bare_ack(step: Step) -> Reason:
    if step.was == "TIME_WAIT":
        return (
            "the peer did not get our last ACK, or an old segment came: TIME-WAIT answers",
            "RFC 9293 section 3.10.7.4",
        )
    return "it acknowledges the SYN", "RFC 9293 section 3.10.7"


def _why_ack(step: Step) -> Reason:
    cause, counts = step.cause, step.counts
    frame = cause.frame
    if "DelayedACKs" in counts or cause.name == "delayed ACK timer":
        return "the delayed ACK is due", "RFC 9293 section 3.8.6.3"
    if "TCPChallengeACK" in counts:
        return "a challenge ACK", "RFC 5961"
    if cause.kind == "call":
        if step.before is not None and step.before.unacked:
            return "the application has read what came: its ACK waits no longer", "Linux tcp_cleanup_rbuf"
        return "the application read: the window opens again", "RFC 9293 section 3.8.6.2.2"
    if isinstance(frame, Segment):
        if frame.flags & SYN:
            if cause.was != "SYN_SENT":
                return "the peer's SYN came once more: its ACK at once", "RFC 2883; Linux tcp_send_dupack"
            return "the third segment of the handshake", "RFC 9293 section 3.5"
        if frame.flags & FIN:
            return "the peer's FIN is acknowledged at once", "RFC 9293 section 3.10.7.4, eighth"
        return _why_ack_of_text(frame, step)
    return "an ACK is due", "RFC 5681 section 4.2"


def _why_ack_of_text(frame: Segment, step: Step) -> Reason:
    before, after = step.before, step.after
    assert before is not None
    assert after is not None
    if not frame.payload_length:
        return "a segment that is not acceptable is answered with an ACK", "RFC 9293 section 3.10.7.4, first"
    if any(name.startswith("Drop.") for name in step.counts):
        return "its text cannot be taken, or was here already: an ACK says what is awaited", ARRIVAL + ", first"
    if after.beyond > after.rcv_nxt:
        return "text is missing: a duplicate ACK at once, so that the sender learns of it", "RFC 5681 section 4.2"
    if step.cause.had_gap:
        return "a gap is filled: an ACK at once", "RFC 5681 section 4.2"
    if before.unacked > before.rcv_mss:
        return "more than one full segment came since the last ACK: an ACK at once", "RFC 5681 section 4.2"
    if before.quick_acks:
        return (
            "quick ACKs: the first segments of a connection are acknowledged at once, and those after trouble",
            "Linux tcp_enter_quickack_mode",
        )
    return "an ACK was waiting already, and is due", "RFC 5681 section 4.2"
