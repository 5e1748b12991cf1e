"""How fast, and how much at once: the pacing rate, the longest run, and whether a run had better wait to grow.

Linux's ``tcp_update_pacing_rate``, ``tcp_tso_autosize`` and ``tcp_tso_should_defer``.
"""

from __future__ import annotations

from typing import Final

from ustack.recovery.pacing import pacing_rate
from ustack.sockopts import UNLIMITED
from ustack.tcp.constants import GSO_MAX, MAX_RUN
from ustack.tcp.sender.state import CA_RECOVERY, Sender
from ustack.units import MILLISECOND

MAX_DEFERRED_SEGS: Final = 3
"""Linux's tcp_max_tso_deferred_mss."""


def rate(sender: Sender) -> int:
    """Bytes a second, whether anything is paced by it or not: the algorithm's own rate, else Linux's for those that
    have none. 0: no round trip was measured."""
    control = sender.congestion
    if control is None:
        return 0
    own = control.pacing_rate
    if own == 0:
        settings = sender.host.settings
        is_slow_start = control.cwnd < control.ssthresh >> 1
        ratio = settings.tcp_pacing_ss_ratio if is_slow_start else settings.tcp_pacing_ca_ratio
        own = pacing_rate(max(control.cwnd, sender.snd_nxt - sender.snd_una), sender.rtt.srtt, ratio)
    return min(own, sender.options.max_pacing_rate)


def set_pace(sender: Sender) -> None:
    """Something that the rate depends upon has changed. A sender that was ever paced (by its algorithm or by
    SO_MAX_PACING_RATE) stays so, as on Linux, at the rate that its congestion control has now."""
    pacer = sender.pacer
    control = sender.congestion
    limit = sender.options.max_pacing_rate
    if not pacer.is_needed:
        if limit >= UNLIMITED and (control is None or control.pacing_rate == 0):
            return
        pacer.is_needed = True
    pacer.rate = rate(sender) or (0 if limit >= UNLIMITED else limit)
    pacer.least_segs = least_segs(sender)


def begin(sender: Sender) -> None:
    """Our SYN was acknowledged."""
    control = sender.congestion
    if control is not None and sender.rtt.srtt:
        control.on_open(sender.rtt.srtt)
    set_pace(sender)


def least_segs(sender: Sender) -> int:
    """Segments of a run that is not held back further by a low rate (tcp_min_tso_segs, or the algorithm's own)."""
    control = sender.congestion
    own = control.min_tso_segs() if control is not None else 0
    return max(own or sender.host.settings.tcp_min_tso_segs, 1)


def run_limit(sender: Sender) -> int:
    """The longest run that leaves at once, bytes: a millisecond of the pacing rate, at most half of cwnd.

    Linux's tcp_tso_autosize and tcp_cwnd_test, so that a slow path sees the same small bursts, and never a whole
    window in one; where Linux would fill its largest super-segment the run is ours to choose (house.md: the run is
    the unit of work).
    """
    mss = sender.snd_mss
    size = natural_run(sender)
    control = sender.congestion
    if control is None or sender.ecn.cuts_runs():
        return size
    return max(min(size, (control.cwnd >> 1) // mss * mss), mss)


def natural_run(sender: Sender) -> int:
    """What the rate and the nearness of the peer ask for, whatever cwnd is."""
    if sender.ecn.cuts_runs():
        return sender.snd_mss
    if sender.rtt.srtt == 0:
        return MAX_RUN
    size = (sender.pacer.rate or rate(sender)) >> 10
    halvings = _halvings(sender)
    if halvings < 32:
        size += GSO_MAX >> halvings
    if size >= GSO_MAX:
        return MAX_RUN
    mss = sender.snd_mss
    return max(size // mss, least_segs(sender)) * mss


def _halvings(sender: Sender) -> int:
    """A near peer's runs are longer: their bonus halves with each 2^tcp_tso_rtt_log us of min_rtt (0: no bonus)."""
    log = sender.host.settings.tcp_tso_rtt_log
    return sender.rtt.min_rtt // 1000 >> log if log else 32


def had_better_wait(sender: Sender, waiting: int, is_last: bool, now: int) -> bool:
    """An ACK is due so soon that the run is longer after it. ``waiting``: its bytes; ``is_last``: more may join them.

    Only where text left less than a millisecond ago, and neither a whole run nor a fair share of the window
    (1 / tcp_tso_win_divisor) is free."""
    control = sender.congestion
    if control is None or sender.ca_state >= CA_RECOVERY or now - sender.last_sent_at > MILLISECOND:
        return False
    scoreboard = sender.scoreboard
    mss = sender.snd_mss
    if scoreboard.is_empty or waiting <= mss:
        return False
    if waiting > GSO_MAX:
        waiting, is_last = GSO_MAX, False
    usable = sender.snd_una + sender.snd_wnd - sender.snd_nxt
    room = control.cwnd - sender.in_flight()
    limit = min(usable, room)
    if limit >= min(natural_run(sender), GSO_MAX // mss * mss) or (not is_last and limit >= waiting):
        return False
    divisor = sender.host.settings.tcp_tso_win_divisor
    if divisor:
        if limit >= min(sender.snd_wnd, control.cwnd) // divisor:
            return False
    elif limit > MAX_DEFERRED_SEGS * mss:
        return False
    srtt = sender.rtt.srtt
    if scoreboard.oldest_sent_at + srtt - now > min(srtt >> 1, MILLISECOND):
        return False
    return limit <= waiting or (is_last and not sender.fin_queued)
