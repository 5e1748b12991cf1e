"""How connections end: FIN acknowledged, reset by the peer, given up, closed or aborted by the application."""

from __future__ import annotations

import errno
from typing import Final

from ustack.events import EventKind
from ustack.tcp.connection.tcb import Tcb
from ustack.tcp.owed import OWE_ACK, OWE_RST, OWE_SYN
from ustack.tcp.sender import buffer
from ustack.tcp.state import Input, State
from ustack.tcp.timers import Timer
from ustack.units import SECOND

SOCK_MIN_SNDBUF: Final = 4608
"""Bytes that an orphan may have to send still, however short memory is (Linux's name)."""
_NEEDS_RST: Final = frozenset(
    {State.ESTABLISHED, State.FIN_WAIT_1, State.FIN_WAIT_2, State.CLOSE_WAIT, State.SYN_RECEIVED}
)
"""An abort tells the peer in these states (RFC 9293 section 3.10.5; Linux's tcp_need_reset)."""


def after_ack(tcb: Tcb, now: int) -> bool:
    """An ACK was taken: if it covers our FIN, the state moves (RFC 9293 section 3.10.7.4, fifth).

    True: a RST answers the segment, as nobody waits for the peer's FIN (TCP_LINGER2 below 0)."""
    if not tcb.sender.fin_queued or tcb.sender.snd_una != tcb.sender.stream_end():
        return False
    if tcb.state is State.FIN_WAIT_1:
        tcb.move(Input.FIN_ACKED, now)
        if tcb.orphan and tcb.options.linger2_s < 0:
            tcb.host.counters.add("TCPAbortOnLinger")
            give_up(tcb, 0, now)
            return True
        if tcb.orphan:
            await_peer(tcb, now)
    elif tcb.state is State.CLOSING:
        tcb.move(Input.FIN_ACKED, now)
    elif tcb.state is State.LAST_ACK:
        tcb.move(Input.FIN_ACKED, now)
        finish(tcb)
    return False


def fin_time(tcb: Tcb) -> int:
    """How long an orphan stays in FIN-WAIT-2, ns (tcp_fin_timeout, TCP_LINGER2; at least 3.5 RTO)."""
    seconds = tcb.options.linger2_s or tcb.host.settings.tcp_fin_timeout
    return max(seconds * SECOND, (tcb.sender.rtt.rto << 2) - (tcb.sender.rtt.rto >> 1))


def await_peer(tcb: Tcb, now: int) -> None:
    """FIN-WAIT-2 of an orphan: nobody will read what comes, so it does not wait for ever."""
    if tcb.options.linger2_s < 0:
        tcb.host.counters.add("TCPAbortOnLinger")
        owe_reset(tcb)
        give_up(tcb, 0, now)
        return
    tcb.timers.arm(Timer.LINGER, now + fin_time(tcb))


def owe_reset(tcb: Tcb) -> None:
    """A RST is the next segment to leave."""
    tcb.owed.add(OWE_RST)
    tcb.host.counters.add("TcpOutRsts")


def finish(tcb: Tcb) -> None:
    """CLOSED: timers stop, what could not be sent is dropped, the holder is told."""
    tcb.timers.stop_all()
    if tcb.fast_open is not None:
        tcb.fast_open.end_handshake()
    tcb.owed.drop(OWE_ACK)
    tcb.owed.drop(OWE_SYN)
    buffer.release(tcb.sender, tcb.sender.send_ring.end)
    tcb.host.tell(EventKind.CLOSED, tcb)


def _break_off(tcb: Tcb, now: int) -> None:
    """The connection goes without a FIN, whoever wants it: the MIB counts (RFC 4022, as Linux)."""
    if tcb.state is State.ESTABLISHED or tcb.state is State.CLOSE_WAIT:
        tcb.host.counters.add("TcpEstabResets")
    elif tcb.state is State.SYN_SENT or tcb.state is State.SYN_RECEIVED:
        tcb.host.counters.add("TcpAttemptFails")
    tcb.move(Input.RESET, now)


def reset(tcb: Tcb, now: int) -> None:
    """The peer's RST counts (RFC 9293 section 3.10.7.4, second): the application learns it (MUST-12)."""
    if tcb.state is State.SYN_SENT:
        tcb.error = errno.ECONNREFUSED
    elif tcb.state is State.CLOSE_WAIT:
        tcb.error = errno.EPIPE
    else:
        tcb.error = errno.ECONNRESET
    _break_off(tcb, now)
    tcb.host.tell(EventKind.RESET, tcb)
    finish(tcb)


def give_up(tcb: Tcb, code: int, now: int) -> None:
    """The connection is over without the peer's word; ``code`` is the errno the application gets (0: none)."""
    tcb.error = code
    if tcb.state is not State.CLOSED:
        _break_off(tcb, now)
    if code == errno.ETIMEDOUT:
        tcb.host.tell(EventKind.TIMED_OUT, tcb)
    elif code:
        tcb.host.tell(EventKind.ERROR, tcb)
    finish(tcb)


def time_out(tcb: Tcb, now: int) -> None:
    """R2 is reached (RFC 9293 section 3.8.3): ETIMEDOUT, or the ICMP error that explains the silence."""
    tcb.host.counters.add("TCPAbortOnTimeout")
    give_up(tcb, tcb.sender.soft_error or errno.ETIMEDOUT, now)


def shutdown_write(tcb: Tcb, now: int) -> None:
    """No more text from the application: a FIN takes its place behind the last byte."""
    if tcb.sender.fin_queued:
        return
    if tcb.fast_open is not None and tcb.is_opened_early():
        if not tcb.orphan:  # shutdown() waits for the third ACK, close() does not (Linux)
            tcb.fast_open.ends_after_handshake = True
            return
        buffer.queue_fin(tcb.sender, True)
        tcb.move(Input.FIN_SENT, now)
    elif tcb.state is State.SYN_RECEIVED:
        buffer.queue_fin(tcb.sender, True)  # the state moves when the handshake is complete
    elif tcb.state is State.ESTABLISHED or tcb.state is State.CLOSE_WAIT:
        buffer.queue_fin(tcb.sender, True)
        tcb.move(Input.FIN_SENT, now)


def close(tcb: Tcb, now: int) -> None:
    """The application lets go (RFC 9293 section 3.10.4).

    Orderly, unless text was unread (RFC 2525 section 2.17) or SO_LINGER is 0."""
    if tcb.orphan:
        return
    tcb.orphan = tcb.reads_no_more = True
    if tcb.state is State.CLOSED:
        return
    if tcb.state is State.SYN_SENT:
        tcb.move(Input.RESET, now)
        finish(tcb)
        return
    unread = tcb.receiver.receive_ring.readable()
    if unread and tcb.state is not State.TIME_WAIT:
        tcb.host.counters.add("TCPAbortOnClose")
        abort(tcb, now)
    elif tcb.options.linger_s == 0:
        tcb.host.counters.add("TCPAbortOnData")
        abort(tcb, now)
    elif tcb.state is State.FIN_WAIT_2:
        await_peer(tcb, now)
    else:
        shutdown_write(tcb, now)
        if not may_linger(tcb, 0):
            abort_for_memory(tcb, True, now)


def may_linger(tcb: Tcb, shift: int) -> bool:
    """There are neither too many orphans (each counts 2 ** ``shift`` times), nor is memory short and this one has some
    (Linux's tcp_check_oom)."""
    host = tcb.host
    if host.orphans << shift > host.settings.tcp_max_orphans:
        return False
    return tcb.sender.send_ring.end - tcb.sender.send_ring.start <= SOCK_MIN_SNDBUF or not host.memory.is_out()


def out_of_resources(tcb: Tcb, tell: bool, now: int) -> bool:
    """An orphan's timer: what cannot be afforded ends here (Linux's tcp_out_of_resources).

    ``tell``: the peer seems to be there, and gets a RST."""
    idle = now - tcb.sender.last_sent_at
    shift = 1 if idle > 2 * tcb.host.settings.rto_max or not tell else 0
    if tcb.sender.soft_error:
        shift += 1
    if may_linger(tcb, shift):
        return False
    lately = idle <= tcb.host.settings.tcp_timewait_length * SECOND
    shut = tcb.sender.snd_wnd == 0 and tcb.sender.scoreboard.is_empty
    abort_for_memory(tcb, tell or lately or shut, now)
    return True


def abort_for_memory(tcb: Tcb, tell: bool, now: int) -> None:
    """The orphan is given up; ``tell``: with a RST."""
    tcb.host.counters.add("TCPAbortOnMemory")
    if tell:
        owe_reset(tcb)
    give_up(tcb, 0, now)


def abort(tcb: Tcb, now: int) -> None:
    """ABORT (RFC 9293 section 3.10.5): a RST where the peer must know, and CLOSED at once."""
    tcb.orphan = tcb.reads_no_more = True
    if tcb.is_over():
        return
    if tcb.state in _NEEDS_RST:
        owe_reset(tcb)
    _break_off(tcb, now)
    finish(tcb)
