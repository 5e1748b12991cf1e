"""Fifth step: the ACK field (RFC 9293 section 3.10.7.4), the window, the round trip, the congestion window.

``take_ack`` is Linux's ``tcp_ack`` with names: check, window, scoreboard, RTT, losses, cwnd, timer. It
costs the same for an ACK of one segment and of a run of half a megabyte.
"""

from __future__ import annotations

from ustack.drops import Drop
from ustack.recovery.result import AckResult
from ustack.seqnum import unwrap
from ustack.tcp.ecn import CE
from ustack.tcp.sender import buffer, bursts, idle, loss, probes
from ustack.tcp.sender.mss import settle_mss
from ustack.tcp.sender.state import CA_RECOVERY, AckNews, Sender
from ustack.units import MILLISECOND
from ustack.wire.frame import Segment
from ustack.wire.tcp import ECE, FIN, SYN, TcpOptions


def take_ack(sender: Sender, segment: Segment, seq: int, offered: TcpOptions, now: int) -> bool:
    """Take the ACK of an acceptable segment. False: the segment is dropped, and challenged (RFC 5961 section 5)."""
    ack = unwrap(segment.ack, sender.snd_una)
    prior_una = sender.snd_una
    if ack > sender.snd_nxt:
        sender.host.counters.drop(Drop.ACK_UNSENT)
        return False
    if ack < prior_una - max(min(sender.max_window, sender.totals.bytes_acked), 0):
        sender.host.counters.drop(Drop.ACK_TOO_OLD)
        return False
    sender.buffer.may_have_room = sender.buffer.writer_waits
    if ack != prior_una or not segment.payload_length:
        sender.marks.more = False  # what MSG_MORE held back leaves with the next ACK (Linux's tcp_data_snd_check)
    if ack < prior_una:
        if offered.sack and sender.agreed.sack_on:
            sender.news.is_old = True  # its SACK blocks may be news, and what they let resend is paid for
            _account(sender, segment, prior_una, offered, now)
            sender.news.is_old = False
        return True
    window = segment.window << sender.agreed.snd_wscale
    says_window = may_update_window(sender, window, seq, ack)
    if says_window:
        _update_window(sender, window, seq, now)
    sender.ack_at = now
    sender.probing.sent = 0
    sender.soft_error = 0  # something came through
    news = sender.news
    if sender.scoreboard.is_empty:
        if offered.sack and sender.agreed.sack_on:
            news.is_duplicate = False
            _account(sender, segment, ack, offered, now)  # a late D-SACK may undo what is over
        probes.on_ack(sender, now)
        return True
    news.is_duplicate = ack == prior_una and not (segment.payload_length or segment.flags & FIN) and not says_window
    if ack == prior_una and not offered.sack and not news.is_duplicate and not (sender.ecn.on and segment.flags & ECE):
        return True  # text from the peer that says nothing new about ours
    _account(sender, segment, ack, offered, now)
    return True


def take_syn_ack(sender: Sender, segment: Segment, now: int) -> None:
    """The ACK in the SYN-ACK: our SYN is acknowledged."""
    take_first_window(sender, segment.window)
    sender.ack_at = now
    sender.news.is_duplicate = False
    _account(sender, segment, unwrap(segment.ack, sender.snd_una), TcpOptions(), now)


def take_first_window(sender: Sender, window: int) -> None:
    """The window of the peer's SYN, which is never scaled (RFC 7323 section 2.2)."""
    sender.snd_wnd = window
    sender.max_window = max(sender.max_window, window)


def expect_window_of(sender: Sender, seq: int) -> None:
    """A segment with ``seq`` or later tells the window."""
    sender.snd_wl1 = seq


def may_update_window(sender: Sender, window: int, seq: int, ack: int) -> bool:
    """Whether ``window``, bytes, counts: SND.WND is of the newest segment (RFC 9293 section 3.10.7.4).

    Linux's tcp_may_update_window.
    A smaller window of the same age is no news: a peer without SACK whose buffer fills still sends duplicate ACKs."""
    if ack > sender.snd_una or seq > sender.snd_wl1:
        return True
    return seq == sender.snd_wl1 and (window > sender.snd_wnd or window == 0)


def _update_window(sender: Sender, window: int, seq: int, now: int) -> None:
    sender.snd_wl1 = seq
    if window == sender.snd_wnd:
        return
    sender.snd_wnd = window
    if sender.scoreboard.is_empty and sender.unsent() > 0:
        idle.begin_again(sender, now)
    if window > sender.max_window:
        sender.max_window = window
        settle_mss(sender)


def _account(sender: Sender, segment: Segment, ack: int, offered: TcpOptions, now: int) -> None:
    """Scoreboard, RTT, losses, cwnd, timer: all that an ACK with news moves."""
    scoreboard = sender.scoreboard
    news = sender.news
    news.prior_una = sender.snd_una
    news.ts_ecr = segment.ts_ecr if segment.has_ts and sender.agreed.ts_on and segment.ts_ecr else -1
    opens = news.prior_una == sender.iss  # what answers a SYN tells of no text
    news.ece = sender.ecn.on and segment.flags & (ECE | SYN) == ECE and not (news.is_old or opens)
    news.lost = 0
    delivered_segs = scoreboard.delivered_segs
    blocks: list[tuple[int, int]] = []
    if offered.sack and sender.agreed.sack_on:
        for left, right in offered.sack:
            start = unwrap(left, sender.snd_una)
            blocks.append((start, unwrap(right, start)))
    result = scoreboard.acked(ack, blocks, now, _echo_instant(sender, news.ts_ecr, now))
    if sender.ecn.accurate and result.delivered and not news.is_old:  # an old count would look like seven new marks
        news.ece = _take_marks(
            sender, segment.flags, scoreboard.delivered_segs - delivered_segs, result.delivered, offered
        )
    if ack > sender.snd_una:
        release(sender, ack)
        sender.totals.bytes_acked += result.acked
        sender.retransmits = 0
        sender.retrans_since = 0
    _measure(sender, result, news, now)
    may_set_timer = loss.react(sender, result, news, now)
    if result.delivered or news.ece:
        news.delivered = (scoreboard.delivered_segs - delivered_segs) * sender.snd_mss
        _control(sender, result, news, now)
    if news.ece and not sender.ecn.accurate:
        sender.ecn.take_echo(scoreboard.delivered_segs - delivered_segs)
    if may_set_timer:
        loss.after_ack_timer(sender, result, now)
    if sender.buffer.may_have_room and sender.in_flight() < sender.cwnd():
        buffer.grow(sender)


def _take_marks(sender: Sender, flags: int, segs: int, delivered: int, offered: TcpOptions) -> bool:
    """Some of the ``segs`` packets that an ACK reports as ``delivered`` (bytes) came with CE (RFC 9768, 3.2.2)."""
    own = sender.ecn
    before = own.delivered_bytes[CE]
    if offered.accecn_kind >= 0:
        own.take_option(offered.accecn_kind, offered.accecn, sender.totals.bytes_sent)
    if sender.news.prior_una == sender.iss:
        return False  # the ACK of a SYN tells the ECN field that it came with, not a count
    return own.marks_told(flags, segs, delivered, before, sender.snd_mss) > 0


def _echo_instant(sender: Sender, ts_ecr: int, now: int) -> int:
    """The last instant at which our clock showed ``ts_ecr``; -1 without timestamps or need."""
    if ts_ecr < 0 or sender.scoreboard.is_certain:
        return -1
    elapsed = (sender.host.timestamp(sender.agreed.ts_offset, now) - ts_ecr) & 0xFFFFFFFF
    if elapsed > 0x7FFFFFFF:
        return -1
    return (now // MILLISECOND - elapsed + 1) * MILLISECOND - 1


def release(sender: Sender, ack: int) -> None:
    """What is acknowledged leaves the send ring; a writer may have room now."""
    sender.snd_una = ack
    ring = sender.send_ring
    upto = ack - sender.iss - 1
    upto = min(upto, ring.end)  # the FIN has no place in the ring
    if upto > ring.start:
        buffer.release(sender, upto)
    sender.marks.forget(ack)


def _measure(sender: Sender, result: AckResult, news: AckNews, now: int) -> None:
    """One RTT sample: of what was never resent (Karn), else by the echoed timestamp (RFC 7323 section 4.1)."""
    news.rtt = result.newest_rtt
    rtt = result.rtt
    if rtt < 0 and result.acked and news.ts_ecr >= 0:
        elapsed = (sender.host.timestamp(sender.agreed.ts_offset, now) - news.ts_ecr) & 0xFFFFFFFF
        if elapsed < 0x7FFFFFFF:
            rtt = max(elapsed, 1) * MILLISECOND
            news.rtt = rtt
    if rtt >= 0:
        sender.rtt.sample(rtt, now, sender.snd_una, sender.snd_nxt, news.rtt)


def _control(sender: Sender, result: AckResult, news: AckNews, now: int) -> None:
    """Let the congestion window move (Linux's tcp_cong_control)."""
    control = sender.congestion
    if control is None:
        return
    if news.prior_una == sender.iss:
        bursts.begin(sender)
        return
    scoreboard = sender.scoreboard
    mss = sender.snd_mss
    in_flight = sender.in_flight()
    if news.is_old and not control.owns_recovery:
        sender.prr.on_old_ack(news.delivered)
        return
    if sender.prr.active:
        cwnd = sender.prr.on_ack(news.delivered, in_flight, news.lost, sender.snd_una > news.prior_una)
        if cwnd:
            control.cwnd = max(cwnd, mss)
        if sender.pacer.is_needed:
            bursts.set_pace(sender)
        return
    sample = sender.host.sample
    sample.now = now
    sample.acked = result.acked
    sample.delivered = news.delivered
    sample.lost = news.lost
    sample.in_flight = in_flight
    sample.prior_in_flight = result.prior_segs_in_flight * mss
    sample.rtt = news.rtt
    sample.min_rtt = sender.rtt.min_rtt
    sample.srtt = sender.rtt.srtt
    sample.ece = news.ece
    sample.app_limited = result.app_limited
    sample.cwnd_limited = _may_raise(sender, result) and is_cwnd_limited(sender)
    sample.in_recovery = sender.ca_state == CA_RECOVERY
    sample.una = sender.snd_una
    sample.nxt = sender.snd_nxt
    sample.delivery_rate = result.delivery_rate
    sample.interval = result.interval
    sample.prior_delivered = result.prior_delivered
    sample.delivered_total = scoreboard.delivered
    control.on_ack(sample)
    if sender.pacer.is_needed or control.pacing_rate:
        bursts.set_pace(sender)


def _may_raise(sender: Sender, result: AckResult) -> bool:
    """Only what arrives in order lets the window grow, unless the path is known to reorder (tcp_may_raise_cwnd)."""
    if sender.scoreboard.reordering > sender.host.settings.tcp_reordering:
        return result.any_new
    return result.acked > 0


def is_cwnd_limited(sender: Sender) -> bool:
    """The window was used in the last round trip: only then may it grow (Linux's tcp_is_cwnd_limited)."""
    if sender.validation.limited:
        return True
    control = sender.congestion
    return control is not None and control.in_slow_start() and control.cwnd < 2 * sender.validation.max_flight
