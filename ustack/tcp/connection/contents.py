"""Steps seven and eight of an arrival (RFC 9293 section 3.10.7.4): text and FIN, and what their holder is told."""

from __future__ import annotations

from ustack.events import EventKind
from ustack.tcp.connection.tcb import Tcb
from ustack.tcp.owed import OWE_ACK
from ustack.tcp.receiver import segments, window
from ustack.tcp.state import Input, State
from ustack.wire.frame import Segment


def take_text(tcb: Tcb, segment: Segment, seq: int, now: int) -> bool:
    """The text of a segment whose first byte has sequence number ``seq``. False: it was refused."""
    before = tcb.receiver.rcv_nxt
    taken = segments.take_text(tcb.receiver, segment, seq, now)
    if tcb.receiver.rcv_nxt == before:
        if taken and seq > before and not tcb.in_accept_queue and not tcb.orphan:
            window.make_room_beyond(tcb.receiver)
    else:
        tcb.host.tell(EventKind.READABLE, tcb)
    return taken


def take_fin(tcb: Tcb, fin_seq: int, now: int) -> None:
    """The peer's FIN has sequence number ``fin_seq``."""
    segments.take_fin(tcb.receiver, fin_seq, now)
    _end_if_due(tcb, now)


def fin_if_due(tcb: Tcb, now: int) -> None:
    """Text came, and the peer's FIN had come before: it may be due now. Then the gap is filled: an ACK at once."""
    if _end_if_due(tcb, now):
        tcb.owed.add(OWE_ACK)


def _end_if_due(tcb: Tcb, now: int) -> bool:
    """All before the peer's FIN is here: the state moves."""
    if not segments.take_end(tcb.receiver, tcb.state is State.ESTABLISHED):
        return False
    tcb.move(Input.FIN_RECEIVED, now)
    tcb.host.tell(EventKind.PEER_CLOSED, tcb)
    return True
