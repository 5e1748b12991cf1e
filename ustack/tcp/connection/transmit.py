"""What leaves next: a reset, a SYN, text, a probe, and last an ACK by itself, if nothing that left carried it."""

from __future__ import annotations

from typing import Final

from ustack.events import EventKind
from ustack.tcp.connection import fast_child, fast_open
from ustack.tcp.connection.tcb import Tcb
from ustack.tcp.owed import OWE_ACK, OWE_KEEPALIVE, OWE_RST, OWE_SYN, OWE_WINDOW_PROBE
from ustack.tcp.receiver import ack_policy
from ustack.tcp.sender import buffer, chrono, opening, output
from ustack.tcp.state import State
from ustack.tcp.timers import LossTimer, Timer
from ustack.wire.frame import Transmit
from ustack.wire.tcp import ACK, RST, SYN

_SENDING: Final = frozenset(
    {
        State.ESTABLISHED,
        State.CLOSE_WAIT,
        State.FIN_WAIT_1,
        State.CLOSING,
        State.LAST_ACK,
    }
)


def next_transmit(tcb: Tcb, now: int) -> Transmit | None:
    """The next thing to send, or None. What it returns counts as sent."""
    owed = tcb.owed
    if owed.has(OWE_RST | OWE_SYN):
        return _first_of_all(tcb, now)
    if tcb.state in _SENDING or (tcb.fast_open is not None and tcb.is_opened_early()):
        transmit = _next_text(tcb, now)
        if transmit is not None:
            return transmit
    elif tcb.state is State.SYN_RECEIVED and tcb.simultaneous and tcb.orphan:
        transmit = output.new_text(tcb.sender, now)  # close() waits for no answer to our SYN (Linux)
        if transmit is not None:
            return transmit
    elif tcb.sender.chrono.kind != chrono.IDLE:
        tcb.sender.chrono.move(chrono.IDLE, now)
    if owed.has(OWE_WINDOW_PROBE):
        return output.probe(tcb.sender, now)
    if owed.has(OWE_KEEPALIVE):
        return output.keepalive(tcb.sender, now)
    if owed.has(OWE_ACK) and tcb.state is not State.SYN_SENT and tcb.state is not State.CLOSED:
        return _acknowledge(tcb, now)
    return None


def _next_text(tcb: Tcb, now: int) -> Transmit | None:
    """Text; who waits for room in the send buffer is told when there is some."""
    if tcb.fast_open is not None and tcb.fast_open.is_waiting():
        return output.new_text(tcb.sender, now)
    transmit = output.next_text(tcb.sender, now)
    if transmit is None and tcb.sender.buffer.may_have_room and buffer.let_writer_go(tcb.sender, now):
        tcb.host.tell(EventKind.WRITABLE, tcb)
    return transmit


def _first_of_all(tcb: Tcb, now: int) -> Transmit:
    if tcb.owed.has(OWE_RST):
        tcb.owed.drop(OWE_RST)
        return tcb.emitter.segment(tcb.sender.snd_nxt, RST | ACK, now)
    if tcb.fast_open is not None and tcb.fast_open.is_waiting():
        return fast_child.syn_ack(tcb, now)
    return _syn(tcb, now)


def _acknowledge(tcb: Tcb, now: int) -> Transmit:
    """An ACK by itself; duplicate ACKs, which a peer without SACK counts, leave one for one."""
    again = tcb.receiver.acks.duplicates - 1
    transmit = tcb.emitter.segment(tcb.sender.snd_nxt, ACK, now)
    ack_policy.owe_duplicates(tcb.receiver, again)
    return transmit


def _syn(tcb: Tcb, now: int) -> Transmit:
    """A SYN or a SYN-ACK, the first one or again; its sequence number is always ISS."""
    tcb.owed.drop(OWE_SYN)
    fast_open.end_wait(tcb)
    is_answer = tcb.state is State.SYN_RECEIVED
    first = tcb.sender.snd_nxt == tcb.sender.iss
    settings, resends = tcb.host.settings, tcb.sender.retransmits
    flags = SYN | (ACK | tcb.ecn.syn_ack_flags(resends) if is_answer else tcb.ecn.syn_flags(settings, resends))
    if tcb.answers_syn and not first:
        opening.answer_crossing_syn(tcb.sender, now)
    else:
        output.syn_sent(tcb.sender, now)
    if not first and not tcb.answers_syn:
        tcb.syn_resends += 1
    offer = tcb.agreed if is_answer and not tcb.simultaneous else tcb.offer
    with_ecn = is_answer and tcb.ecn.accurate and resends < 2 and settings.tcp_ecn_option != 0
    transmit = tcb.emitter.syn(tcb.sender.iss, flags, offer, with_ecn, now)
    if first and not is_answer and tcb.fast_open is not None:
        fast_open.fill_syn(tcb, transmit, now)
    tcb.answers_syn = False
    if not tcb.timers.is_armed(Timer.RETRANSMIT):
        tcb.timers.arm_loss(LossTimer.RTO, now + tcb.sender.rtt.rto)
    return transmit
