"""The receive window: how much to offer, when to say so, how far it may grow.

RFC 9293 section 3.8.6 with Linux's arithmetic (``__tcp_select_window``, ``tcp_grow_window``,
``tcp_rcv_space_adjust``), so that the same knobs give the same windows. An offered right edge is never taken back.
"""

from __future__ import annotations

from ustack.settings import Settings
from ustack.sockopts import SocketOptions
from ustack.tcp.constants import DEFAULT_MSS_V4, MAX_WINDOW, MAX_WSCALE, MIN_MSS
from ustack.tcp.receiver.state import Receiver


def initial(settings: Settings, own: SocketOptions, mss: int) -> tuple[int, int]:
    """The first window in bytes and the scale that a SYN offers (Linux's tcp_select_initial_window).

    ``mss``: how much text of the peer fits in a segment.
    """
    most = _most(own) or MAX_WINDOW << MAX_WSCALE
    space = min((own.rcvbuf or settings.tcp_rmem[1]) >> 1, most)
    if space > mss:
        space -= space % mss
    scale = 0
    if settings.tcp_window_scaling:
        largest = min(max(space, settings.tcp_rmem[2], settings.rmem_max), most)
        scale = min(max(largest.bit_length() - 1 - 15, 0), MAX_WSCALE)
    return space, scale


def _most(own: SocketOptions) -> int:
    """The least of TCP_WINDOW_CLAMP and what SO_RCVBUF, which fixes the size for good, has room for; 0: no limit."""
    room = own.rcvbuf >> 1
    return min(own.window_clamp or room, room) if room else own.window_clamp


def open_initial(receiver: Receiver, mss: int) -> int:
    """Choose the first window before our SYN leaves, which announces ``mss``. Returns the scale that it offers."""
    settings = receiver.host.settings
    receiver.rcv_mss = min(DEFAULT_MSS_V4, mss)
    receiver.rcv_wnd, scale = initial(settings, receiver.options, mss)
    receiver.window_clamp = min(_most(receiver.options) or MAX_WINDOW << MAX_WSCALE, MAX_WINDOW << scale)
    receiver.rcv_ssthresh = receiver.rcv_wnd
    receiver.sizing.space = min(receiver.rcv_wnd, 10 * mss)
    receiver.receive_ring.resize(receiver.rcv_buffer)
    return scale


def guess_rcv_mss(receiver: Receiver, snd_mss: int) -> None:
    """The peer's segments will be about as long as ours may be, at first (Linux's tcp_initialize_rcv_mss)."""
    guess = min(receiver.agreed.advertised_mss, snd_mss, receiver.rcv_wnd >> 1, DEFAULT_MSS_V4)
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


def establish(receiver: Receiver) -> None:
    """Both SYNs are acknowledged: how fast the application reads is measured from here."""
    most = receiver.host.settings.tcp_init_cwnd * receiver.agreed.advertised_mss
    receiver.sizing.space = min(receiver.rcv_wnd, most)


def _candidate(receiver: Receiver) -> int:
    """The window that would be offered if no edge stood (Linux's __tcp_select_window)."""
    allowed = receiver.buffer_space()
    full = min(receiver.window_clamp, allowed)
    mss = min(receiver.rcv_mss, full)
    if mss <= 0:
        return 0
    free = allowed - receiver.receive_ring.readable()
    scale = receiver.agreed.rcv_wscale
    if free < full >> 1:
        receiver.acks.quick = 0
        if receiver.host.memory.under_pressure:
            receiver.rcv_ssthresh = min(receiver.rcv_ssthresh, 4 * receiver.agreed.advertised_mss)
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


def grow(receiver: Receiver, length: int) -> None:
    """Text of ``length`` bytes arrived: let the offered window follow (Linux's tcp_grow_window)."""
    if receiver.host.memory.under_pressure:
        return
    room = min(receiver.window_clamp, receiver.buffer_space()) - receiver.rcv_ssthresh
    if room > 0:
        receiver.rcv_ssthresh += min(room, max(2 * receiver.agreed.advertised_mss, 2 * length))


def measure_rtt(receiver: Receiver, now: int) -> None:
    """Without timestamps: the time in which one whole window arrives bounds the round trip from above."""
    if receiver.sizing.rtt_at == 0:
        receiver.sizing.rtt_at = now
        receiver.sizing.rtt_seq = receiver.rcv_nxt + receiver.rcv_wnd
        return
    if receiver.rcv_nxt < receiver.sizing.rtt_seq:
        return
    _receiver_rtt(receiver, max(now - receiver.sizing.rtt_at, 1000), 1)
    receiver.sizing.rtt_at = now
    receiver.sizing.rtt_seq = receiver.rcv_nxt + receiver.rcv_wnd


def measure_rtt_by_timestamp(receiver: Receiver, elapsed: int) -> None:
    """With timestamps: an echo in a full segment tells the round trip, ns."""
    _receiver_rtt(receiver, max(elapsed, 1000), 8)


def _receiver_rtt(receiver: Receiver, sample: int, weight: int) -> None:
    if receiver.sizing.rtt == 0:
        receiver.sizing.rtt = sample
    elif weight == 1:
        receiver.sizing.rtt = min(receiver.sizing.rtt, sample)
    else:
        receiver.sizing.rtt += (sample - receiver.sizing.rtt) // weight


def adjust_to_reader(receiver: Receiver, now: int) -> None:
    """The application read: give the buffer room for twice what it takes in one round trip (dynamic right-sizing)."""
    if receiver.sizing.measured_at == 0:
        receiver.sizing.measured_at = now
        receiver.sizing.measured_from = receiver.receive_ring.start
        return
    elapsed = now - receiver.sizing.measured_at
    if receiver.sizing.rtt == 0 or elapsed < receiver.sizing.rtt:
        return
    copied = receiver.receive_ring.start - receiver.sizing.measured_from
    if copied > receiver.sizing.space:
        _enlarge(receiver, copied)
        receiver.sizing.space = copied
    receiver.sizing.measured_at = now
    receiver.sizing.measured_from = receiver.receive_ring.start


def _enlarge(receiver: Receiver, copied: int) -> None:
    settings = receiver.host.settings
    if not settings.tcp_moderate_rcvbuf or receiver.options.rcvbuf:
        return
    window = 2 * copied + 16 * receiver.agreed.advertised_mss
    window += 2 * (window * (copied - receiver.sizing.space) // max(receiver.sizing.space, 1))
    buffer = min(2 * window, settings.tcp_rmem[2])
    if buffer > receiver.rcv_buffer:
        receiver.rcv_buffer = buffer
        receiver.window_clamp = min(buffer >> 1, MAX_WINDOW << receiver.agreed.rcv_wscale)
        receiver.receive_ring.resize(buffer)
