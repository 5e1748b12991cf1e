"""The receive window: how much to offer, when to say so, how far it may grow.

RFC 9293 section 3.8.6 with Linux's arithmetic (``__tcp_select_window``, ``tcp_grow_window``,
``tcp_rcv_space_adjust``), so that the same knobs give the same windows. An offered right edge is never taken back.
"""

from __future__ import annotations

from ustack.settings import Settings
from ustack.tcp.constants import MAX_WINDOW, MAX_WSCALE
from ustack.tcp.tcb import Tcb


def initial(settings: Settings, buffer: int, clamp: int, mss: int) -> tuple[int, int]:
    """The first window in bytes and the scale that a SYN offers (Linux's tcp_select_initial_window).

    ``buffer``: SO_RCVBUF; ``clamp``: TCP_WINDOW_CLAMP, 0 for none; ``mss``: ours.
    """
    most = clamp or MAX_WINDOW << MAX_WSCALE
    space = min(buffer >> 1, most)
    if space > mss:
        space -= space % mss
    scale = 0
    if settings.tcp_window_scaling:
        largest = min(max(space, settings.tcp_rmem[2], settings.rmem_max), most)
        scale = min(max(largest.bit_length() - 1 - 15, 0), MAX_WSCALE)
    return space, scale


def open_initial(tcb: Tcb) -> None:
    """Choose the first window and the scale before our SYN leaves."""
    settings = tcb.env.settings
    clamp = tcb.options.window_clamp
    tcb.rcv_wnd, tcb.rcv_wscale = initial(settings, tcb.rcv_buffer, clamp, tcb.advertised_mss)
    tcb.window_clamp = min(clamp or MAX_WINDOW << MAX_WSCALE, MAX_WINDOW << tcb.rcv_wscale)
    tcb.rcv_ssthresh = tcb.rcv_wnd
    tcb.rcv_space = min(tcb.rcv_wnd, 10 * tcb.advertised_mss)
    tcb.receive_ring.resize(tcb.rcv_buffer)


def settle_scale(tcb: Tcb) -> None:
    """The peer did not offer window scaling: ours is off, and no window beyond 65 535 can be told."""
    if not tcb.wscale_on:
        tcb.rcv_wscale = 0
        tcb.snd_wscale = 0
        tcb.window_clamp = min(tcb.window_clamp, MAX_WINDOW)
        tcb.rcv_ssthresh = min(tcb.rcv_ssthresh, tcb.window_clamp)


def _candidate(tcb: Tcb) -> int:
    """The window that would be offered if no edge stood (Linux's __tcp_select_window)."""
    allowed = tcb.buffer_space()
    full = min(tcb.window_clamp, allowed)
    mss = min(tcb.rcv_mss, full)
    if mss <= 0:
        return 0
    free = allowed - tcb.receive_ring.readable()
    scale = tcb.rcv_wscale
    if free < full >> 1:
        tcb.quick_acks = 0
        free = (free >> scale) << scale
        if free < allowed >> 4 or free < mss:
            return 0
    free = min(free, tcb.rcv_ssthresh)
    if scale:
        return -(-free >> scale) << scale
    window = tcb.rcv_wnd
    if window <= free - mss or window > free:
        return free - free % mss
    if mss == full and free > window + (full >> 1):
        return free
    return window


def would_offer_more(tcb: Tcb) -> bool:
    """The right edge would move by at least what has arrived: worth an ACK."""
    return _candidate(tcb) >= tcb.rcv_wnd


def reopens(tcb: Tcb, offered: int) -> bool:
    """A window at least twice as wide as what the peer still may use could be told now."""
    candidate = _candidate(tcb)
    return candidate > 0 and candidate >= 2 * offered


def advertise(tcb: Tcb) -> int:
    """Fix the window of the segment that leaves now; returns the 16-bit field (RFC 9293 section 3.8.6.2.2)."""
    current = tcb.receive_window()
    window = _candidate(tcb)
    scale = tcb.rcv_wscale
    if window < current:
        window = -(-current >> scale) << scale
    limit = MAX_WINDOW << scale
    window = min(window, limit)
    if tcb.rcv_wnd and not window:
        tcb.env.counters.add("TCPToZeroWindowAdv")
    elif window and not tcb.rcv_wnd:
        tcb.env.counters.add("TCPFromZeroWindowAdv")
    tcb.rcv_wnd = window
    tcb.rcv_wup = tcb.rcv_nxt
    return window >> scale


def grow(tcb: Tcb, length: int) -> None:
    """Text of ``length`` bytes arrived: let the offered window follow (Linux's tcp_grow_window)."""
    room = min(tcb.window_clamp, tcb.buffer_space()) - tcb.rcv_ssthresh
    if room > 0:
        tcb.rcv_ssthresh += min(room, max(2 * tcb.advertised_mss, 2 * length))


def measure_rtt(tcb: Tcb, now: int) -> None:
    """Without timestamps: the time in which one whole window arrives bounds the round trip from above."""
    if tcb.rcv_rtt_at == 0:
        tcb.rcv_rtt_at = now
        tcb.rcv_rtt_seq = tcb.rcv_nxt + tcb.rcv_wnd
        return
    if tcb.rcv_nxt < tcb.rcv_rtt_seq:
        return
    _receiver_rtt(tcb, max(now - tcb.rcv_rtt_at, 1000), 1)
    tcb.rcv_rtt_at = now
    tcb.rcv_rtt_seq = tcb.rcv_nxt + tcb.rcv_wnd


def measure_rtt_by_timestamp(tcb: Tcb, elapsed: int) -> None:
    """With timestamps: an echo in a full segment tells the round trip, ns."""
    _receiver_rtt(tcb, max(elapsed, 1000), 8)


def _receiver_rtt(tcb: Tcb, sample: int, weight: int) -> None:
    if tcb.rcv_rtt == 0:
        tcb.rcv_rtt = sample
    elif weight == 1:
        tcb.rcv_rtt = min(tcb.rcv_rtt, sample)
    else:
        tcb.rcv_rtt += (sample - tcb.rcv_rtt) // weight


def adjust_to_reader(tcb: Tcb, now: int) -> None:
    """The application read: give the buffer room for twice what it takes in one round trip (dynamic right-sizing)."""
    if tcb.read_measure_at == 0:
        tcb.read_measure_at = now
        tcb.read_measure_offset = tcb.receive_ring.start
        return
    elapsed = now - tcb.read_measure_at
    if tcb.rcv_rtt == 0 or elapsed < tcb.rcv_rtt:
        return
    copied = tcb.receive_ring.start - tcb.read_measure_offset
    if copied > tcb.rcv_space:
        _enlarge(tcb, copied)
        tcb.rcv_space = copied
    tcb.read_measure_at = now
    tcb.read_measure_offset = tcb.receive_ring.start


def _enlarge(tcb: Tcb, copied: int) -> None:
    settings = tcb.env.settings
    if not settings.tcp_moderate_rcvbuf or tcb.options.rcvbuf:
        return
    window = 2 * copied + 16 * tcb.advertised_mss
    window += 2 * (window * (copied - tcb.rcv_space) // max(tcb.rcv_space, 1))
    buffer = min(2 * window, settings.tcp_rmem[2])
    if buffer > tcb.rcv_buffer:
        tcb.rcv_buffer = buffer
        tcb.window_clamp = min(buffer >> 1, MAX_WINDOW << tcb.rcv_wscale)
        tcb.receive_ring.resize(buffer)
