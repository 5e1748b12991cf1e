"""How much the application may write ahead: twice cwnd, within tcp_wmem (Linux's tcp_sndbuf_expand)."""

from __future__ import annotations

import errno
from typing import Final

from ustack.errors import from_errno
from ustack.ring import SendRing
from ustack.tcp.sender import idle
from ustack.tcp.sender.state import Sender

MORE_FOLLOWS: Final = 1
"""MSG_MORE: a short segment waits, and carries no PSH."""
ENDS_RECORD: Final = 2
"""MSG_EOR: no segment reaches over the end of what is written."""


def write(sender: Sender, data: object, how: int, now: int) -> int:
    """Copy what fits into the send buffer (Linux's tcp_sendmsg); how much that was."""
    if sender.unsent() == 0:
        sender.push_now = False
        if sender.scoreboard.is_empty:
            idle.begin_again(sender, now)
    ring = sender.send_ring
    size = len(memoryview(data).cast("B")) if how else 0  # type: ignore[arg-type]
    taken = _take(ring, data)
    if taken == 0 or ring.free() == 0:
        sender.writer_waits = True
    is_whole = not how or taken == size
    sender.more = how & MORE_FOLLOWS != 0 and is_whole
    if taken and not sender.more:
        sender.push_at = ring.end
    if how & ENDS_RECORD and is_whole and taken:
        end = sender.iss + 1 + ring.end
        sender.records.append(end)
        if not sender.more:
            sender.pushes.append(end)
    return taken


def _take(ring: SendRing, data: object) -> int:
    """Into the ring. Without memory: 0 while an ACK will ask again, else ENOBUFS."""
    try:
        return ring.write(data)
    except MemoryError:
        if ring.end > ring.start:
            return 0
        raise from_errno(errno.ENOBUFS) from None


def grow(sender: Sender) -> None:
    """Let the send buffer follow the congestion window, unless SO_SNDBUF fixed it."""
    if sender.options.sndbuf:
        if sender.send_ring.capacity != sender.options.sndbuf:
            sender.send_ring.resize(sender.options.sndbuf)
        return
    if sender.host.memory.under_pressure:
        return  # Linux's tcp_should_expand_sndbuf
    most = sender.host.settings.tcp_wmem[2]
    capacity = sender.send_ring.capacity
    if capacity < most:
        wanted = 2 * max(sender.cwnd(), 10 * sender.snd_mss)
        if wanted > capacity:
            sender.send_ring.resize(min(wanted, most))
