"""The send buffer, counted as Linux counts it: each buffer of text costs its bytes and its own book-keeping.

SO_SNDBUF and tcp_wmem bound ``truesize``, not text. So that a writer is held up and woken by the same event as on
Linux, the sender remembers where Linux's buffers (sk_buff) would begin and end: a write fills the last one that is not
sent yet, then new ones of ``goal`` bytes; what leaves is cut off from the rest. (``tcp_sendmsg``,
``tcp_sndbuf_expand``, ``sk_stream_is_writeable``.)
"""

from __future__ import annotations

import errno
from bisect import bisect_left, bisect_right
from typing import Final

from ustack.errors import from_errno
from ustack.tcp.constants import DEFAULT_MSS_V4, GSO_MAX
from ustack.tcp.sender import bursts, chrono, idle
from ustack.tcp.sender.state import Sender

MORE_FOLLOWS: Final = 1
"""MSG_MORE: a short segment waits, and carries no PSH."""
ENDS_RECORD: Final = 2
"""MSG_EOR: no segment reaches over the end of what is written."""

OVERHEAD: Final = 832
"""Bytes that Linux counts for each buffer beside its text: struct sk_buff, room for headers, skb_shared_info."""
HEADERS: Final = 256
"""Linux's MAX_TCP_HEADER (x86-64): the largest super-segment is shorter by them and one."""
SHARED_INFO: Final = 320
"""struct skb_shared_info in whole cache lines."""
BUFFER_HEAD: Final = 256
"""struct sk_buff in whole cache lines."""
UNLIMITED_LOWAT: Final = 0xFFFFFFFF


def write(sender: Sender, data: object, how: int, now: int) -> int:
    """Copy what fits into the send buffer (Linux's tcp_sendmsg); how much that was."""
    if sender.unsent() == 0:
        sender.marks.push_now = False
        if sender.scoreboard.is_empty:
            idle.begin_again(sender, now)
    size = len(data) if isinstance(data, bytes) else memoryview(data).nbytes  # type: ignore[arg-type]
    first, goal, further = _room(sender)
    most = first + goal * further
    ring = sender.send_ring
    before = ring.end
    is_whole = size <= most
    taken = 0
    if most:
        taken = _take(sender, data if is_whole else memoryview(data).cast("B")[:most])  # type: ignore[arg-type]
        _fill(sender, before, first, goal)
    if taken < size:
        is_whole = False
        sender.buffer.writer_waits = True
    sender.marks.more = how & MORE_FOLLOWS != 0 and is_whole
    if taken and not sender.marks.more:
        sender.marks.push_at = ring.end
    if how & ENDS_RECORD and is_whole and taken:
        end = sender.iss + 1 + ring.end
        sender.marks.records.append(end)
        if not sender.marks.more:
            sender.marks.pushes.append(end)
    return taken


def _take(sender: Sender, data: object) -> int:
    """Into the ring. Without memory: 0 while an ACK will ask again, else ENOBUFS."""
    ring = sender.send_ring
    try:
        return ring.write(data)
    except MemoryError:
        if ring.end > ring.start:
            sender.buffer.lacks_memory = True
            return 0
        raise from_errno(errno.ENOBUFS) from None


def queued(sender: Sender) -> int:
    """What the buffer holds by Linux's count, bytes (sk_wmem_queued)."""
    ring = sender.send_ring
    return ring.end - ring.start + OVERHEAD * len(sender.buffer.chunks)


def room(sender: Sender) -> int:
    """Bytes of text that a write would take now."""
    first, goal, further = _room(sender)
    return first + goal * further


def _room(sender: Sender) -> tuple[int, int, int]:
    """Bytes that join the last buffer, the size of new ones, and how many of those there may be."""
    goal = _goal(sender)
    ring = sender.send_ring
    chunks = sender.buffer.chunks
    sent = sender.snd_nxt - sender.iss - 1
    used = queued(sender)
    first = 0
    if (
        chunks
        and chunks[-1] > sent
        and (not sender.marks.records or sender.marks.records[-1] != sender.iss + 1 + ring.end)
    ):
        first = max(goal - (chunks[-1] - max(chunks[-2] if len(chunks) > 1 else 0, ring.start, sent)), 0)
    if first == 0 and _may_begin(sender, used, ring.end - sent):
        first = goal
        used += OVERHEAD
    if first == 0:
        return 0, goal, 0
    leaving = _leaves_meanwhile(sender, ring.end + first - sent)
    if leaving:  # a full buffer is cut into runs that leave, and filled up again
        used += OVERHEAD * -(-leaving // bursts.run_limit(sender))
        first += leaving
    used += first
    further = 0
    if used < sender.buffer.size:
        further = -(-(sender.buffer.size - used) // (goal + OVERHEAD))
        lowat = sender.notsent_lowat()
        if lowat != UNLIMITED_LOWAT:
            unsent = ring.end + first - sent - leaving
            further = min(further, max(-(-(lowat - unsent) // goal), 0))
    return first, goal, further


def _may_begin(sender: Sender, used: int, unsent: int) -> bool:
    """A new buffer is allowed (Linux's sk_stream_memory_free)."""
    return used < sender.buffer.size and unsent < sender.notsent_lowat()


def _goal(sender: Sender) -> int:
    """Bytes of text in a full buffer: whole segments, at most half of the largest window (tcp_xmit_size_goal)."""
    largest = GSO_MAX - HEADERS - 1
    window = sender.max_window
    cutoff = window >> 1 if window > DEFAULT_MSS_V4 else window
    if cutoff and largest > cutoff:
        largest = cutoff
    mss = sender.snd_mss
    return max(largest // mss, 1) * mss


def _leaves_meanwhile(sender: Sender, waiting: int) -> int:
    """Bytes that leave while a long write goes on: what cwnd, the window and the pace let go, in whole segments."""
    scoreboard = sender.scoreboard
    if scoreboard.lost_bytes or (sender.pacer.rate and sender.pacer.next_at > sender.last_sent_at):
        return 0
    usable = min(min(sender.cwnd() - sender.in_flight(), waiting), sender.snd_una + sender.snd_wnd - sender.snd_nxt)
    mss = sender.snd_mss
    return usable // mss * mss if usable > 0 else 0


def _fill(sender: Sender, at: int, first: int, goal: int) -> None:
    """The text from offset ``at`` on was written: note the buffers' ends."""
    end = sender.send_ring.end
    if end == at:
        return
    chunks = sender.buffer.chunks
    upto = min(at + first, end)
    if chunks and chunks[-1] == at and first < goal and at > sender.snd_nxt - sender.iss - 1:
        chunks[-1] = upto
    else:
        chunks.append(upto)
    while upto < end:
        upto = min(upto + goal, end)
        chunks.append(upto)


def cut(sender: Sender, at: int) -> None:
    """What lies below offset ``at`` leaves: a buffer that reaches over it becomes two."""
    chunks = sender.buffer.chunks
    if chunks and at < chunks[-1]:
        index = bisect_left(chunks, at)
        if chunks[index] != at:
            chunks.insert(index, at)


def release(sender: Sender, upto: int) -> None:
    """What lies below offset ``upto`` was acknowledged."""
    sender.send_ring.release(upto)
    sender.buffer.lacks_memory = False
    chunks = sender.buffer.chunks
    if chunks and chunks[0] <= upto:
        if chunks[-1] <= upto:
            chunks.clear()
        else:
            del chunks[: bisect_right(chunks, upto)]


def grow(sender: Sender) -> None:
    """Let the buffer follow the congestion window, within tcp_wmem, unless SO_SNDBUF fixed it (tcp_sndbuf_expand)."""
    if sender.options.sndbuf:
        sender.buffer.size = sender.options.sndbuf
        return
    if sender.host.memory.under_pressure:
        return  # Linux's tcp_should_expand_sndbuf
    control = sender.congestion
    mss = max(sender.agreed.peer_mss, sender.snd_mss)
    per_segment = (1 << (mss + HEADERS + SHARED_INFO - 1).bit_length()) + BUFFER_HEAD
    settings = sender.host.settings
    segs = max(settings.tcp_init_cwnd, sender.cwnd() // sender.snd_mss, sender.scoreboard.reordering + 1)
    factor = control.buffer_factor if control is not None else 2
    wanted = factor * segs * per_segment
    if sender.buffer.size < wanted:
        sender.buffer.size = max(sender.buffer.size, min(wanted, settings.tcp_wmem[2]))


def queue_fin(sender: Sender, joins: bool) -> None:
    """The application wrote its last byte. ``joins``: the FIN shares the PSH of text that still waits."""
    sender.fin_joins = joins and sender.unsent() > 0
    sender.fin_queued = True


def mark_urgent(sender: Sender, length: int) -> None:
    """The last of the next ``length`` bytes written is urgent (RFC 6093)."""
    sender.snd_up = sender.iss + 1 + sender.send_ring.end + length


def push_waiting(sender: Sender, at_once: bool) -> None:
    """Nothing more is waited for (the cork was pulled). ``at_once``: what waits leaves, short or not."""
    sender.marks.more = False
    sender.marks.push_now = at_once


def await_room(sender: Sender) -> None:
    """A writer waits to be told of room."""
    sender.buffer.writer_waits = True


def ask_again(sender: Sender) -> None:
    """There may be room now for the writer that waits, if one does."""
    sender.buffer.may_have_room = sender.buffer.writer_waits


def let_writer_go(sender: Sender, now: int) -> bool:
    """After an ACK, and after what it let go: the writer that waits may go on, or not (Linux's tcp_check_space)."""
    sender.buffer.may_have_room = False
    if not has_room(sender):
        return False
    sender.buffer.writer_waits = False
    if sender.chrono.kind == chrono.BUFFER:
        sender.chrono.move(chrono.BUSY, now)
    return True


def has_room(sender: Sender) -> bool:
    """A write would be taken, by Linux's measure: a third of the buffer is free (sk_stream_is_writeable), and not too
    much waits unsent (TCP_NOTSENT_LOWAT)."""
    used = queued(sender)
    if sender.buffer.size - used < used >> 1 or sender.buffer.lacks_memory:
        return False
    return (sender.iss + 1 + sender.send_ring.end - sender.snd_nxt) << 1 < sender.notsent_lowat()
