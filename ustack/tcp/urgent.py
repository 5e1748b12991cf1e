"""Urgent data (RFC 9293 section 3.8.5, RFC 6093), as Linux keeps it: one mark in the stream, one byte beside it."""

from __future__ import annotations

import errno

from ustack.errors import from_errno
from ustack.tcp.events import EventKind
from ustack.tcp.tcb import Tcb
from ustack.wire.frame import Segment


def take_urgent(tcb: Tcb, segment: Segment, seq: int, now: int) -> None:
    """Sixth: the urgent pointer of a segment that begins at ``seq``. It names the byte behind the last urgent one

    (RFC 6093 section 4; with tcp_stdurg the last one itself)."""
    pointer = segment.urgent
    if pointer and not tcb.env.settings.tcp_stdurg:
        pointer -= 1
    mark = seq + pointer
    if mark < tcb.irs + 1 + tcb.receive_ring.start or mark <= tcb.rcv_up:
        return
    tcb.rcv_up = mark
    tcb.oob = -1
    tcb.oob_read = False
    tcb.env.tell(EventKind.URGENT, tcb)


def mark_offset(tcb: Tcb) -> int:
    """Stream offset of the urgent byte that is still to be passed; -1 when there is none."""
    if tcb.rcv_up < 0:
        return -1
    offset = tcb.rcv_up - tcb.irs - 1
    return offset if offset >= tcb.receive_ring.start else -1


def is_readable(tcb: Tcb) -> bool:
    """An urgent byte waits for MSG_OOB."""
    if tcb.rcv_up < 0 or tcb.oob_read or tcb.options.oobinline:
        return False
    return tcb.oob >= 0 or 0 <= mark_offset(tcb) < tcb.receive_ring.end


def read(tcb: Tcb, peek: bool) -> bytes:
    """The urgent byte. Raises EINVAL when there is none or SO_OOBINLINE is set, EAGAIN while it is on its way."""
    if tcb.rcv_up < 0 or tcb.oob_read or tcb.options.oobinline:
        raise from_errno(errno.EINVAL)
    if tcb.oob < 0:
        offset = mark_offset(tcb)
        if not 0 <= offset < tcb.receive_ring.end:
            raise from_errno(errno.EAGAIN)
        tcb.oob = tcb.receive_ring.peek(1, offset - tcb.receive_ring.start)[0]
    if not peek:
        tcb.oob_read = True
    return bytes((tcb.oob,))


def limit_read(tcb: Tcb, wanted: int) -> int:
    """How many bytes a read may take now: it stops at the mark, and passes over the byte unless SO_OOBINLINE."""
    offset = mark_offset(tcb)
    if offset < 0:
        return wanted
    ring = tcb.receive_ring
    if offset > ring.start:
        return min(wanted, offset - ring.start)
    if not tcb.options.oobinline and ring.readable() > 0:
        if tcb.oob < 0:
            tcb.oob = ring.peek(1)[0]
        ring.skip(1)
    return wanted
