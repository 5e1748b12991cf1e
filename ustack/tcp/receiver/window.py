"""The receive window: how much to offer, when to say so, how far it may grow.

RFC 9293 section 3.8.6 with the arithmetic of Linux 6.18 (``__tcp_select_window``, ``tcp_grow_window``,
``tcp_rcv_space_adjust``), so that the same knobs give the same windows. An offered right edge is never taken back.
"""

from __future__ import annotations

from typing import Final

from ustack.settings import Settings
from ustack.sockopts import SocketOptions
from ustack.tcp.constants import DEFAULT_MSS_V4, MAX_WINDOW, MAX_WSCALE, MIN_MSS
from ustack.tcp.receiver.state import Receiver
from ustack.units import MILLISECOND
from ustack.wire.frame import Segment

INITIAL_SEGMENTS: Final = 10
"""A reader takes at least so many in a round trip (Linux's TCP_INIT_CWND)."""
LEAST_CLAMP: Final = 1152
"""Half of Linux's SOCK_MIN_RCVBUF."""
MAX_ELAPSED: Final = 0x7FFFFFFF // 1000
"""Milliseconds after which an echo tells of no round trip."""


def initial(settings: Settings, options: SocketOptions, mss: int) -> tuple[int, int]:
    """The first window in bytes and the scale that a SYN offers (Linux's tcp_select_initial_window).

    ``mss``: how much text of the peer fits in a segment.
    """
    most = _most(options) or MAX_WINDOW << MAX_WSCALE
    space = min((options.rcvbuf or settings.tcp_rmem[1]) >> 1, most)
    if space > mss:
        space -= space % mss
    scale = 0
    if settings.tcp_window_scaling:
        largest = min(max(space, settings.tcp_rmem[2], settings.rmem_max), most)
        scale = min(max(largest.bit_length() - 1 - 15, 0), MAX_WSCALE)
    return space, scale


def _most(options: SocketOptions) -> int:
    """The least of TCP_WINDOW_CLAMP and what SO_RCVBUF, which fixes the size for good, has room for; 0: no limit."""
    room = options.rcvbuf >> 1
    return min(options.window_clamp or room, room) if room else options.window_clamp


def open_initial(receiver: Receiver, mss: int) -> int:
    """Choose the first window before our SYN leaves, which announces ``mss``. Returns the scale that it offers."""
    settings = receiver.host.settings
    receiver.rcv_mss = min(DEFAULT_MSS_V4, mss)
    receiver.rcv_wnd, scale = initial(settings, receiver.options, mss)
    receiver.window_clamp = min(_most(receiver.options) or MAX_WINDOW << MAX_WSCALE, MAX_WINDOW << scale)
    receiver.rcv_ssthresh = receiver.rcv_wnd
    receiver.sizing.space = min(receiver.rcv_wnd, INITIAL_SEGMENTS * mss)
    receiver.receive_ring.resize(receiver.rcv_buffer)
    return scale


def guess_rcv_mss(receiver: Receiver, snd_mss: int) -> None:
    """The peer's segments will be about as long as ours may be, at first (Linux's tcp_initialize_rcv_mss)."""
    guess = min(receiver.text_of_segment(), snd_mss, receiver.rcv_wnd >> 1, DEFAULT_MSS_V4)
    receiver.rcv_mss = max(guess, MIN_MSS)


def was_offered(receiver: Receiver, window: int) -> None:
    """A listener's SYN-ACK has offered this first window for us."""
    receiver.rcv_wnd = window
    receiver.rcv_ssthresh = min(window, receiver.window_clamp)


def settle_scale(receiver: Receiver) -> None:
    """The peer did not offer window scaling: ours is off, and no window beyond 65 535 can be told."""
    if not receiver.agreed.wscale_on:
        receiver.window_clamp = min(receiver.window_clamp, MAX_WINDOW)
        receiver.rcv_ssthresh = min(receiver.rcv_ssthresh, receiver.window_clamp)


def establish(receiver: Receiver, now: int) -> None:
    """Both SYNs are acknowledged (Linux's tcp_init_buffer_space): one segment of the buffer is never window.

    How fast the application reads is measured from here."""
    mss = receiver.text_of_segment()
    most = receiver.full_space()
    clamp = min(receiver.window_clamp, most)
    if clamp > 2 * mss and clamp + mss > most:
        clamp = max(2 * mss, most - mss)
    receiver.window_clamp = clamp
    receiver.rcv_ssthresh = min(receiver.rcv_ssthresh, clamp)
    receiver.sizing.space = min(receiver.rcv_ssthresh, receiver.rcv_wnd, INITIAL_SEGMENTS * mss)
    receiver.sizing.measured_at = now
    receiver.sizing.measured_from = receiver.receive_ring.start


def _candidate(receiver: Receiver) -> int:
    """The window that would be offered if no edge stood (Linux's __tcp_select_window)."""
    allowed = receiver.full_space()
    full = min(receiver.window_clamp, allowed)
    mss = min(receiver.rcv_mss, full)
    if mss <= 0:
        return 0
    free = receiver.free_space()
    scale = receiver.agreed.rcv_wscale
    if free < full >> 1:
        receiver.acks.quick = 0
        if receiver.host.memory.under_pressure:
            _narrow(receiver)
        free = (free >> scale) << scale
        if free < allowed >> 4 or free < mss:
            return 0
    free = min(free, receiver.rcv_ssthresh)
    if scale:
        return -(-free >> scale) << scale
    window = receiver.rcv_wnd
    if window <= free - mss or window > free:
        return free - free % mss
    if mss == full and free > window + (full >> 1):
        return free
    return window


def would_offer_more(receiver: Receiver) -> bool:
    """The right edge would move by at least what has arrived: worth an ACK."""
    return _candidate(receiver) >= receiver.rcv_wnd


def reopens(receiver: Receiver, offered: int) -> bool:
    """A window at least twice as wide as what the peer still may use could be told now."""
    candidate = _candidate(receiver)
    return candidate > 0 and candidate >= 2 * offered


def advertise(receiver: Receiver) -> int:
    """Fix the window of the segment that leaves now; returns the 16-bit field (RFC 9293 section 3.8.6.2.2).

    What 16 bits cannot say is kept all the same (as the SYN's first window is): by it we judge what the peer sends."""
    if receiver.acks.no_memory:
        return _shut(receiver)
    current = receiver.receive_window()
    window = _candidate(receiver)
    scale = receiver.agreed.rcv_wscale
    if window < current:
        window = -(-current >> scale) << scale
    if receiver.rcv_wnd and not window:
        receiver.host.counters.add("TCPToZeroWindowAdv")
    elif window and not receiver.rcv_wnd:
        receiver.host.counters.add("TCPFromZeroWindowAdv")
    receiver.rcv_wnd = window
    receiver.rcv_wup = receiver.rcv_nxt
    return min(window >> scale, MAX_WINDOW)


def _shut(receiver: Receiver) -> int:
    """No memory: the window is taken back this once, which the RFC discourages and Linux does."""
    receiver.acks.no_memory = False
    if receiver.rcv_wnd:
        receiver.host.counters.add("TCPToZeroWindowAdv")
    receiver.rcv_wnd = 0
    receiver.rcv_wup = receiver.rcv_nxt
    return 0


def grow(receiver: Receiver, segment: Segment, charge: int) -> None:
    """Text arrived whose buffer takes ``charge`` bytes: let the offered window follow (Linux's tcp_grow_window).

    Each segment of a run counts."""
    room = min(receiver.window_clamp, receiver.free_space()) - receiver.rcv_ssthresh
    if room <= 0:
        return
    if receiver.host.memory.under_pressure:
        _narrow(receiver)
        return
    length = segment.payload_length
    if receiver.window_from(charge) <= length:
        step = 2 * receiver.text_of_segment()
    else:
        step = _step_of_short(receiver, length // segment.segs, charge // segment.segs)
    if step:
        receiver.rcv_ssthresh += min(room, max(step * segment.segs, 2 * length))
        receiver.acks.quick |= 1


def _step_of_short(receiver: Receiver, length: int, charge: int) -> int:
    """Short segments waste the buffer: they raise the window while it is far from its most (__tcp_grow_window)."""
    share = receiver.window_from(charge) >> 1
    most = receiver.window_from(receiver.host.settings.tcp_rmem[2]) >> 1
    while receiver.rcv_ssthresh <= most:
        if share <= length:
            return 2 * receiver.rcv_mss
        share >>= 1
        most >>= 1
    return 0


def _narrow(receiver: Receiver) -> None:
    """Memory is short (Linux's tcp_adjust_rcv_ssthresh)."""
    receiver.rcv_ssthresh = min(receiver.rcv_ssthresh, 4 * receiver.text_of_segment())


def measure_ratio(receiver: Receiver, length: int, charge: int) -> None:
    """The peer's full segments have another length now: so much of the buffer is text (Linux's tcp_measure_rcv_mss)."""
    ratio = min((length << 8) // charge, 255) or 1
    if ratio == receiver.scaling_ratio:
        return
    receiver.scaling_ratio = ratio
    set_clamp(receiver, receiver.full_space())
    receiver.sizing.space = min(receiver.sizing.space, receiver.window_clamp)


def set_clamp(receiver: Receiver, clamp: int) -> None:
    """No window is wider from now on (Linux's tcp_set_window_clamp)."""
    clamp = max(clamp, LEAST_CLAMP)
    before = receiver.window_clamp
    receiver.window_clamp = clamp
    if clamp < before:
        receiver.rcv_ssthresh = min(receiver.rcv_ssthresh, clamp)
    elif clamp > before:
        receiver.rcv_ssthresh = max(receiver.rcv_ssthresh, min(receiver.rcv_wnd, clamp))


def overrun(receiver: Receiver) -> None:
    """More came than the buffer holds: it grows to what is held, if it may; else the window narrows
    (Linux's tcp_clamp_window)."""
    memory = receiver.host.memory
    receiver.acks.quick = 0
    most = receiver.host.settings.tcp_rmem[2]
    charged = receiver.queue.charged
    if receiver.rcv_buffer < most and not receiver.options.rcvbuf and not memory.under_pressure:
        resize(receiver, min(charged, most))
    if charged > receiver.rcv_buffer:
        receiver.rcv_ssthresh = min(receiver.window_clamp, 2 * receiver.text_of_segment())


def resize(receiver: Receiver, buffer: int) -> None:
    """The receive buffer has another size. What was offered still fits."""
    receiver.rcv_buffer = buffer
    ring = receiver.receive_ring
    ring.resize(max(buffer, ring.readable() + receiver.receive_window()))


def measure_rtt(receiver: Receiver, now: int) -> None:
    """Without timestamps: the time in which one whole window arrives bounds the round trip from above."""
    if receiver.sizing.rtt_at == 0:
        receiver.sizing.rtt_at = now
        receiver.sizing.rtt_seq = receiver.rcv_nxt + receiver.rcv_wnd
        return
    if receiver.rcv_nxt < receiver.sizing.rtt_seq:
        return
    _receiver_rtt(receiver, max(now - receiver.sizing.rtt_at, 1000), False)
    receiver.sizing.rtt_at = now
    receiver.sizing.rtt_seq = receiver.rcv_nxt + receiver.rcv_wnd


def measure_rtt_by_timestamp(receiver: Receiver, segment: Segment, now: int) -> None:
    """With timestamps: the first echo of each kind in a full segment tells the round trip, unless text waits."""
    if segment.ts_ecr == receiver.sizing.ts_ecr:
        return
    receiver.sizing.ts_ecr = segment.ts_ecr
    elapsed = (receiver.host.timestamp(receiver.agreed.ts_offset, now) - segment.ts_ecr) & 0xFFFFFFFF
    if segment.payload_length >= receiver.rcv_mss and 0 < elapsed < MAX_ELAPSED:
        may_smooth = receiver.receive_ring.readable() <= segment.payload_length
        _receiver_rtt(receiver, elapsed * MILLISECOND, may_smooth)


def _receiver_rtt(receiver: Receiver, sample: int, may_smooth: bool) -> None:
    """The least sample counts; a longer one moves the estimate where ``may_smooth`` (Linux's tcp_rcv_rtt_update)."""
    sizing = receiver.sizing
    if sizing.rtt == 0 or sample < sizing.rtt:
        sizing.rtt = sample
    elif may_smooth:
        sizing.rtt += (sample - sizing.rtt) >> 3


def adjust_to_reader(receiver: Receiver, now: int) -> None:
    """The application read: give the buffer room for twice what it takes in one round trip (dynamic right-sizing)."""
    sizing = receiver.sizing
    if sizing.rtt == 0 or now - sizing.measured_at < sizing.rtt:
        return
    ring = receiver.receive_ring
    copied = ring.start - sizing.measured_from - ring.readable()
    if copied > sizing.space:
        _enlarge(receiver, copied)
    sizing.measured_at = now
    sizing.measured_from = ring.start


def make_room_beyond(receiver: Receiver) -> None:
    """Text came out of order, and a reader waits: what lies beyond the gap shall not narrow the window."""
    _enlarge(receiver, receiver.sizing.space)


def _enlarge(receiver: Receiver, copied: int) -> None:
    """The application took ``copied`` bytes in a round trip (Linux's tcp_rcvbuf_grow)."""
    settings = receiver.host.settings
    before = receiver.sizing.space
    receiver.sizing.space = copied
    if not settings.tcp_moderate_rcvbuf or receiver.options.rcvbuf:
        return
    window = 2 * copied
    window += 2 * (window * (copied - before) // max(before, 1))
    ring = receiver.receive_ring
    if ring.has_gap():
        window += ring.top() - ring.end
    buffer = min((window << 8) // receiver.scaling_ratio, settings.tcp_rmem[2])
    if buffer > receiver.rcv_buffer:
        resize(receiver, buffer)
        receiver.window_clamp = receiver.full_space()
