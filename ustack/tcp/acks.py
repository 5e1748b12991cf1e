"""Fifth step: the ACK field (RFC 9293 section 3.10.7.4), the window, the round trip, the congestion window.

``take_ack`` is Linux's ``tcp_ack`` with names: check, window, scoreboard, RTT, losses, cwnd, timer. It
costs the same for an ACK of one segment and of a run of half a megabyte.
"""

from __future__ import annotations

from bisect import bisect_right

from ustack.drops import Drop
from ustack.recovery.result import AckResult
from ustack.seqnum import unwrap
from ustack.tcp import loss, options, sendbuffer
from ustack.tcp.challenge import challenge
from ustack.tcp.constants import MILLISECOND
from ustack.tcp.events import EventKind
from ustack.tcp.tcb import CA_RECOVERY, AckNews, Tcb
from ustack.tcp.timers import LossTimer
from ustack.wire.frame import Segment
from ustack.wire.tcp import ECE, SYN, TcpOptions


def take_ack(tcb: Tcb, segment: Segment, seq: int, offered: TcpOptions, now: int) -> bool:
    """Take the ACK of an acceptable segment. False: the segment is dropped with it."""
    ack = unwrap(segment.ack, tcb.snd_una)
    prior_una = tcb.snd_una
    if ack > tcb.snd_nxt:
        tcb.env.counters.drop(Drop.ACK_UNSENT)
        challenge(tcb, now)
        return False
    if ack < prior_una:
        if ack < prior_una - min(tcb.max_window, tcb.bytes_acked):
            tcb.env.counters.drop(Drop.ACK_TOO_OLD)
            challenge(tcb, now)
            return False
        if offered.sack and tcb.sack_on:
            tcb.news.is_old = True  # its SACK blocks may be news, but no window moves by it
            _account(tcb, segment, prior_una, offered, now)
            tcb.news.is_old = False
        return True
    changed = _update_window(tcb, segment, seq, ack)
    tcb.ack_at = now
    tcb.probes_out = 0
    tcb.soft_error = 0  # something came through
    news = tcb.news
    if tcb.board.is_empty:
        if offered.sack and tcb.sack_on:
            news.is_duplicate = False
            _account(tcb, segment, ack, offered, now)  # a late D-SACK may undo what is over
        _answer_probe(tcb, now)
        return True
    news.is_duplicate = ack == prior_una and not segment.payload_length and not changed
    if ack == prior_una and not offered.sack and not news.is_duplicate and not segment.flags & ECE:
        return True  # text from the peer that says nothing new about ours
    _account(tcb, segment, ack, offered, now)
    return True


def take_syn_ack(tcb: Tcb, segment: Segment, now: int) -> None:
    """The ACK in the SYN-ACK: our SYN is acknowledged; its window is never scaled (RFC 7323 section 2.2)."""
    tcb.snd_wnd = segment.window
    tcb.max_window = max(tcb.max_window, tcb.snd_wnd)
    tcb.snd_wl2 = tcb.iss + 1
    tcb.ack_at = now
    tcb.news.is_duplicate = False
    _account(tcb, segment, tcb.iss + 1, TcpOptions(), now)


def _update_window(tcb: Tcb, segment: Segment, seq: int, ack: int) -> bool:
    """SND.WND from the newest segment (RFC 9293 section 3.10.7.4; Linux's tcp_may_update_window). True: it changed."""
    window = segment.window << tcb.snd_wscale
    newer = ack > tcb.snd_una or seq > tcb.snd_wl1
    if not newer and not (seq == tcb.snd_wl1 and (window > tcb.snd_wnd or window == 0)):
        return window != tcb.snd_wnd
    tcb.snd_wl1 = seq
    tcb.snd_wl2 = ack
    if window == tcb.snd_wnd:
        return False
    tcb.snd_wnd = window
    if window > tcb.max_window:
        tcb.max_window = window
        options.settle_mss(tcb)
    return True


def _answer_probe(tcb: Tcb, now: int) -> None:
    """Nothing in flight: the ACK answers a probe, or opens the window (Linux's tcp_ack_probe)."""
    waiting = tcb.unsent()
    if waiting <= 0:
        return
    usable = tcb.snd_una + tcb.snd_wnd - tcb.snd_nxt
    if usable >= min(waiting, tcb.snd_mss):
        tcb.backoff = 0
        tcb.probe_since = 0
        if tcb.timers.loss is LossTimer.PROBE:
            tcb.timers.stop_loss()
    elif tcb.timers.loss is not LossTimer.RTO:
        at = min(max(tcb.rtt.rto, tcb.env.settings.rto_min) << tcb.backoff, tcb.env.settings.rto_max)
        tcb.timers.arm_loss(LossTimer.PROBE, now + at)


def _account(tcb: Tcb, segment: Segment, ack: int, offered: TcpOptions, now: int) -> None:
    """Scoreboard, RTT, losses, cwnd, timer: all that an ACK with news moves."""
    board = tcb.board
    news = tcb.news
    news.prior_una = tcb.snd_una
    news.ts_ecr = segment.ts_ecr if segment.has_ts and tcb.ts_on and segment.ts_ecr else -1
    news.ece = tcb.ecn_on and segment.flags & (ECE | SYN) == ECE  # on a SYN-ACK it only agrees to ECN
    news.lost = 0
    blocks: list[tuple[int, int]] = []
    if offered.sack and tcb.sack_on:
        for left, right in offered.sack:
            start = unwrap(left, tcb.snd_una)
            blocks.append((start, unwrap(right, start)))
    result = board.acked(ack, blocks, now, _echo_instant(tcb, news.ts_ecr, now))
    if ack > tcb.snd_una:
        _release(tcb, ack)
        tcb.bytes_acked += result.acked
        tcb.retransmits = 0
        tcb.retrans_since = 0
    _measure(tcb, result, news, now)
    may_set_timer = loss.react(tcb, result, news, now)
    if (result.delivered or news.ece) and not news.is_old:
        _control(tcb, result, news, now)
    if may_set_timer:
        loss.after_ack_timer(tcb, result, now)


def _echo_instant(tcb: Tcb, ts_ecr: int, now: int) -> int:
    """The last instant at which our clock showed ``ts_ecr``; -1 without timestamps or need."""
    if ts_ecr < 0 or tcb.board.is_certain:
        return -1
    elapsed = (tcb.env.timestamp(tcb.ts_offset, now) - ts_ecr) & 0xFFFFFFFF
    if elapsed > 0x7FFFFFFF:
        return -1
    return (now // MILLISECOND - elapsed + 1) * MILLISECOND - 1


def _release(tcb: Tcb, ack: int) -> None:
    """What is acknowledged leaves the send ring; a writer may have room now."""
    tcb.snd_una = ack
    ring = tcb.send_ring
    upto = ack - tcb.iss - 1
    upto = min(upto, ring.end)  # the FIN has no place in the ring
    if upto > ring.start:
        was_full = ring.free() == 0 or tcb.writer_waits
        ring.release(upto)
        if was_full and tcb.has_room():
            tcb.writer_waits = False
            tcb.env.tell(EventKind.WRITABLE, tcb)
    pushes = tcb.pushes
    if pushes and pushes[0] <= ack:
        del pushes[: bisect_right(pushes, ack)]
    if tcb.urgent_out and ack >= tcb.snd_up:
        tcb.urgent_out = False


def _measure(tcb: Tcb, result: AckResult, news: AckNews, now: int) -> None:
    """One RTT sample: of what was never resent (Karn), else by the echoed timestamp (RFC 7323 section 4.1)."""
    news.rtt = result.newest_rtt
    rtt = result.rtt
    if rtt < 0 and result.acked and news.ts_ecr >= 0:
        elapsed = (tcb.env.timestamp(tcb.ts_offset, now) - news.ts_ecr) & 0xFFFFFFFF
        if elapsed < 0x7FFFFFFF:
            rtt = max(elapsed, 1) * MILLISECOND
            news.rtt = rtt
    if rtt >= 0:
        tcb.rtt.sample(rtt, now, tcb.snd_una, tcb.snd_nxt, news.rtt)


def _control(tcb: Tcb, result: AckResult, news: AckNews, now: int) -> None:
    """Let the congestion window move (Linux's tcp_cong_control)."""
    control = tcb.congestion
    if control is None:
        return
    board = tcb.board
    in_flight = board.in_flight
    if tcb.prr.active:
        cwnd = tcb.prr.on_ack(result.delivered, in_flight, news.lost, tcb.snd_una > news.prior_una)
        if cwnd:
            control.cwnd = max(cwnd, tcb.snd_mss)
        return
    sample = tcb.env.sample
    sample.now = now
    sample.acked = result.acked
    sample.delivered = result.delivered
    sample.lost = news.lost
    sample.in_flight = in_flight
    sample.prior_in_flight = result.prior_in_flight
    sample.rtt = news.rtt
    sample.min_rtt = tcb.rtt.min_rtt
    sample.srtt = tcb.rtt.srtt
    sample.ece = news.ece
    sample.app_limited = result.app_limited
    sample.cwnd_limited = _may_raise(tcb, result) and is_cwnd_limited(tcb)
    sample.in_recovery = tcb.ca_state == CA_RECOVERY
    sample.una = tcb.snd_una
    sample.nxt = tcb.snd_nxt
    sample.delivery_rate = result.delivery_rate
    sample.interval = result.interval
    sample.prior_delivered = result.prior_delivered
    sample.delivered_total = board.delivered
    control.on_ack(sample)
    if control.pacing_rate:
        tcb.pacer.rate = min(control.pacing_rate, tcb.options.max_pacing_rate)
    sendbuffer.grow(tcb)


def _may_raise(tcb: Tcb, result: AckResult) -> bool:
    """Only what arrives in order lets the window grow, unless the path is known to reorder (tcp_may_raise_cwnd)."""
    if tcb.board.reordering > tcb.env.settings.tcp_reordering:
        return result.any_new
    return result.acked > 0


def is_cwnd_limited(tcb: Tcb) -> bool:
    """The window was used in the last round trip: only then may it grow (Linux's tcp_is_cwnd_limited)."""
    if tcb.cwnd_limited:
        return True
    control = tcb.congestion
    return control is not None and control.in_slow_start() and control.cwnd < 2 * tcb.max_flight
