"""Urgent data (RFC 9293 section 3.8.5, RFC 6093), as Linux keeps it: one mark in the stream, one byte beside it."""

from __future__ import annotations

import errno

from ustack.errors import from_errno
from ustack.tcp.receiver.state import Receiver
from ustack.wire.frame import Segment


def take_urgent(receiver: Receiver, segment: Segment, seq: int) -> bool:
    """Sixth: the urgent pointer of a segment that begins at ``seq``. True: it is news.

    It names the byte behind the last urgent one

    (RFC 6093 section 4; with tcp_stdurg the last one itself)."""
    pointer = segment.urgent
    if pointer and not receiver.host.settings.tcp_stdurg:
        pointer -= 1
    mark = seq + pointer
    if mark < receiver.irs + 1 + receiver.receive_ring.start or mark <= receiver.rcv_up:
        return False
    ring = receiver.receive_ring
    if at_mark(receiver) and not receiver.options.oobinline and ring.readable() > 0:
        ring.skip(1)  # the byte of an older mark that was next: nobody can read it any more (tcp_check_urg)
    receiver.rcv_up = mark
    receiver.oob = -1
    receiver.oob_read = False
    return True


def mark_offset(receiver: Receiver) -> int:
    """Stream offset of the urgent byte that is still to be passed; -1 when there is none."""
    if receiver.rcv_up < 0:
        return -1
    offset = receiver.rcv_up - receiver.irs - 1
    return offset if offset >= receiver.receive_ring.start else -1


def at_mark(receiver: Receiver, ahead: int = 0) -> bool:
    """The next byte to be read is the urgent one (SIOCATMARK); with ``ahead`` the one behind so many."""
    return mark_offset(receiver) == receiver.receive_ring.start + ahead


def is_readable(receiver: Receiver) -> bool:
    """An urgent byte waits for MSG_OOB."""
    if mark_offset(receiver) < 0 or receiver.oob_read or receiver.options.oobinline:
        return False
    return receiver.oob >= 0 or 0 <= mark_offset(receiver) < receiver.receive_ring.end


def read(receiver: Receiver, peek: bool) -> bytes:
    """The urgent byte. Raises EINVAL when there is none (it is lost when text behind it was read) or SO_OOBINLINE is
    set, EAGAIN while it is on its way."""
    if mark_offset(receiver) < 0 or receiver.oob_read or receiver.options.oobinline:
        raise from_errno(errno.EINVAL)
    if receiver.oob < 0:
        offset = mark_offset(receiver)
        if not 0 <= offset < receiver.receive_ring.end:
            raise from_errno(errno.EAGAIN)
        receiver.oob = receiver.receive_ring.peek(1, offset - receiver.receive_ring.start)[0]
    if not peek:
        receiver.oob_read = True
    return bytes((receiver.oob,))


def begin_read(receiver: Receiver, wanted: int) -> int:
    """A read of ``wanted`` bytes begins: it passes over the urgent byte when that is next, unless SO_OOBINLINE, and
    stops before it when it is not. How many bytes it may take."""
    offset = mark_offset(receiver)
    if offset < 0:
        return wanted
    ring = receiver.receive_ring
    if offset > ring.start:
        return min(wanted, offset - ring.start)
    if not receiver.options.oobinline and ring.readable() > 0:
        if receiver.oob < 0:
            receiver.oob = ring.peek(1)[0]
        ring.skip(1)
    return wanted


def peek(receiver: Receiver, wanted: int) -> bytes:
    """What a read of ``wanted`` bytes would take now, left where it is."""
    ring = receiver.receive_ring
    offset = mark_offset(receiver)
    if offset > ring.start:
        return ring.peek(min(wanted, offset - ring.start))
    passed = offset == ring.start and not receiver.options.oobinline
    return ring.peek(wanted, int(passed))
