"""What may leave now, and as how long a run.

:func:`next_transmit` looks at the state (timers and arrivals only change it) and answers with one Transmit or None. The
order: a reset, a SYN, what was lost, what is new, probes, and last an ACK by itself, if nothing that left carried it.
A run is as long as min(cwnd, window, what is written) allows; the device cuts it into segments.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Final

from ustack.recovery.pacing import pacing_rate
from ustack.seqnum import wrap
from ustack.sockopts import PMTUDISC_DONT
from ustack.tcp import chrono, delivery, loss, options, usage, window
from ustack.tcp.constants import GSO_MAX, MAX_RUN, TSO_RTT_LOG
from ustack.tcp.state import State
from ustack.tcp.tcb import Tcb
from ustack.tcp.timers import LossTimer, Timer
from ustack.wire.address import is_v4
from ustack.wire.frame import Transmit
from ustack.wire.tcp import ACK, CWR, ECE, FIN, PSH, RST, SYN, URG

_SENDING: Final = frozenset(
    {
        State.ESTABLISHED,
        State.CLOSE_WAIT,
        State.FIN_WAIT_1,
        State.CLOSING,
        State.LAST_ACK,
    }
)


def next_transmit(tcb: Tcb, now: int) -> Transmit | None:
    """The next thing to send, or None. What it returns counts as sent."""
    if tcb.rst_owed:
        tcb.rst_owed = False
        return _segment(tcb, tcb.snd_nxt, RST | ACK, now)
    if tcb.syn_owed:
        return _syn(tcb, now)
    if tcb.state in _SENDING:
        transmit = _next_text(tcb, now)
        if transmit is not None:
            return transmit
    elif tcb.chrono_kind != chrono.IDLE:
        chrono.move(tcb, chrono.IDLE, now)
    if tcb.probe_owed or tcb.keepalive_owed:
        return _probe(tcb, now)
    if tcb.ack_now and tcb.state is not State.SYN_SENT and tcb.state is not State.CLOSED:
        return _acknowledge(tcb, now)
    return None


def _next_text(tcb: Tcb, now: int) -> Transmit | None:
    """What was lost before what is new; but for F-RTO, which tries new data once (RFC 5682, step 2b)."""
    if tcb.send_new_first:
        transmit = _send_new(tcb, now)
        tcb.send_new_first = False
        if transmit is not None:
            return transmit
        tcb.undo.frto_off()
    return _resend(tcb, now) or _send_new(tcb, now)


def _acknowledge(tcb: Tcb, now: int) -> Transmit:
    again = tcb.acks_owed - 1
    transmit = _segment(tcb, tcb.snd_nxt, ACK, now)
    if again > 0:
        tcb.acks_owed = again
        tcb.ack_now = True
    return transmit


def _syn(tcb: Tcb, now: int) -> Transmit:
    """A SYN or a SYN-ACK, the first one or again; its sequence number is always ISS."""
    tcb.syn_owed = False
    is_answer = tcb.state is State.SYN_RECEIVED
    first = tcb.snd_nxt == tcb.iss
    flags = SYN | ACK if is_answer else SYN
    if is_answer and tcb.ecn_on:
        flags |= ECE
    elif not is_answer and tcb.ecn_asked and tcb.retransmits < 1:
        flags |= ECE | CWR
    if first:
        tcb.board.sent(tcb.iss, tcb.iss + 1, now)
        tcb.snd_nxt = tcb.iss + 1
    else:
        tcb.board.next_lost()
        tcb.board.resent(tcb.iss, tcb.iss + 1, now)
        tcb.env.counters.add("TcpRetransSegs")
        tcb.env.counters.add("TCPSynRetrans")
        tcb.syn_resends += 1
    transmit = _segment(tcb, tcb.iss, flags, now, options.syn_options(tcb, is_answer, now))
    transmit.window = min(tcb.rcv_wnd, 65535)
    if not tcb.timers.is_armed(Timer.RETRANSMIT):
        tcb.timers.arm_loss(LossTimer.RTO, now + tcb.rtt.rto)
    return transmit


def segment_size(tcb: Tcb) -> int:
    """Bytes of text in a full segment now: less than snd_mss while SACK blocks ride along (Linux's tcp_current_mss)."""
    mss = tcb.snd_mss
    if tcb.recent_blocks or tcb.dsack is not None:
        return max(mss - options.sack_space(tcb), min(mss, 8))
    return mss


# What was lost


def _resend(tcb: Tcb, now: int) -> Transmit | None:
    board = tcb.board
    if tcb.tlp_owed:
        return _tail_loss_probe(tcb, now)
    if board.lost_bytes == 0:
        return None
    lost = board.next_lost()
    if lost is None:
        return None
    start, end = lost
    mss = segment_size(tcb)
    room = tcb.cwnd() - board.in_flight
    if room < mss and board.in_flight > 0:
        tcb.pacer.release()
        return None
    if tcb.pacer.rate:
        room = min(room, _paced(tcb, now))
        if room <= 0:
            return None
    length = _resend_length(tcb, start, end, room, mss)
    return _again(tcb, start, start + length, now) if length > 0 else None


def _resend_length(tcb: Tcb, start: int, end: int, room: int, mss: int) -> int:
    """Bytes of [start, end) that leave again at once: whole segments, within ``room`` and the window."""
    right = tcb.snd_una + tcb.snd_wnd
    if start >= right and start != tcb.snd_una:
        return 0
    length = end - start
    if length <= mss:
        return length
    length = min(length, max(room // mss, 1) * mss, run_limit(tcb) // mss * mss)
    if start + length > right:  # the window shrank (RFC 9293 SHLD-16: within it; the first segment always)
        length = max((right - start) // mss * mss, mss if start == tcb.snd_una else 0)
    return length


def _again(tcb: Tcb, start: int, end: int, now: int) -> Transmit:
    """Send [start, end) once more."""
    loss.before_resend(tcb, end - start, now)
    tcb.board.mss = segment_size(tcb)
    tcb.board.resent(start, end, now)
    transmit = _copy(tcb, start, end, now)
    loss.after_resend(tcb, start, now)
    return transmit


def _copy(tcb: Tcb, start: int, end: int, now: int) -> Transmit:
    """Text that left before."""
    transmit = _text(tcb, start, end, now)
    segs = max(1, -(-transmit.length // transmit.segment_size))
    tcb.env.counters.add("TcpRetransSegs", segs)
    tcb.bytes_retrans += transmit.length
    if tcb.pacer.rate:
        tcb.pacer.on_sent(transmit.length, now)
    return transmit


def _tail_loss_probe(tcb: Tcb, now: int) -> Transmit | None:
    """One segment, new if the window allows, else the last one again (RFC 8985 section 7.3)."""
    tcb.tlp_owed = False
    transmit: Transmit | None = None
    if tcb.tlp.high_seq < 0:
        fresh = min(tcb.unsent(), segment_size(tcb))
        if fresh > 0 and tcb.snd_nxt + fresh <= tcb.snd_una + tcb.snd_wnd:
            transmit = _fresh(tcb, tcb.snd_nxt + fresh, now)
            tcb.tlp.sent(tcb.snd_nxt, False)
        else:
            transmit = _last_again(tcb, now)
        tcb.board.tlp_end = tcb.tlp.high_seq
        tcb.env.counters.add("TCPLossProbes")
    tcb.timers.loss = LossTimer.NONE
    loss.rearm_rto(tcb, now)
    return transmit


def _last_again(tcb: Tcb, now: int) -> Transmit | None:
    start, end = tcb.board.last_segment()
    if start == end:
        return None
    tcb.tlp.sent(tcb.snd_nxt, True)
    tcb.board.mss = segment_size(tcb)
    tcb.board.resent(start, end, now, probe=True)
    return _copy(tcb, start, end, now)


# What is new


def _send_new(tcb: Tcb, now: int) -> Transmit | None:
    waiting = tcb.unsent()
    if waiting <= 0:
        kind = chrono.IDLE if tcb.board.is_empty else chrono.BUSY
        if kind != tcb.chrono_kind:
            chrono.move(tcb, kind, now)
        tcb.pacer.release()
        if not tcb.board.rate.app_limited_until and tcb.board.in_flight < tcb.cwnd():
            tcb.board.mark_app_limited()
        return None
    end = _end_of_run(tcb, waiting, now)
    kind = chrono.BUSY if end > tcb.snd_nxt or _has_window(tcb, waiting) else chrono.WINDOW
    if kind != tcb.chrono_kind:
        chrono.move(tcb, kind, now)
    if end <= tcb.snd_nxt:
        loss.arm_probe_if_stuck(tcb, now)
        return None
    return _fresh(tcb, end, now)


def _has_window(tcb: Tcb, waiting: int) -> bool:
    """The peer's window would take a segment; if not, and cwnd would, it is what holds the sender up."""
    size = min(waiting, segment_size(tcb))
    in_window = tcb.snd_nxt + size <= tcb.snd_una + tcb.snd_wnd
    return in_window or tcb.cwnd() - tcb.board.in_flight < size


def _end_of_run(tcb: Tcb, waiting: int, now: int) -> int:
    """Where the run that begins at snd_nxt ends: snd_nxt when nothing may leave (RFC 9293 section 3.8.6.2.1)."""
    start = tcb.snd_nxt
    mss = segment_size(tcb)
    stream_end = start + waiting
    if tcb.board.is_empty:
        usage.after_idle(tcb, now)
    if tcb.fin_queued and waiting == 1:
        return stream_end if stream_end <= tcb.snd_una + tcb.snd_wnd else start
    room = _room(tcb, waiting, now)
    if room <= 0:
        return start
    usable = tcb.snd_una + tcb.snd_wnd - start
    length = min(waiting, room, usable, run_limit(tcb))
    if length < waiting:
        if usable < mss and usable < waiting:
            return start  # the silly window: wait for it to open, or for the probe timer
        partial = length % mss
        if length == room:
            usage.validate_cwnd(tcb, True)
        return start + length - partial
    partial = (length - (1 if tcb.fin_queued else 0)) % mss
    if partial and not tcb.fin_queued and _holds_back(tcb):
        return start + length - partial
    return stream_end


def run_limit(tcb: Tcb) -> int:
    """The longest run that leaves at once, bytes: a millisecond of the pacing rate, at least two segments.

    Linux's tcp_tso_autosize, so that a slow path sees the same small bursts; where Linux would fill its largest
    super-segment the run is ours to choose (house.md: the run is the unit of work).
    """
    srtt = tcb.rtt.srtt
    control = tcb.congestion
    if srtt == 0 or control is None:
        return MAX_RUN
    settings = tcb.env.settings
    rate = tcb.pacer.rate or pacing_rate(
        control.cwnd, control.ssthresh, srtt, settings.tcp_pacing_ss_ratio, settings.tcp_pacing_ca_ratio
    )
    size = rate >> 10
    halvings = tcb.rtt.min_rtt // 1000 >> TSO_RTT_LOG
    if halvings < 32:
        size += GSO_MAX >> halvings
    if size >= GSO_MAX:
        return MAX_RUN
    return max(size // tcb.snd_mss, 2) * tcb.snd_mss


def _room(tcb: Tcb, waiting: int, now: int) -> int:
    """Bytes that the congestion window and the pacer let go now: none, or at least a segment (or all that waits)."""
    room = tcb.cwnd() - tcb.board.in_flight
    if room < tcb.snd_mss and room < waiting:
        tcb.pacer.release()
        usage.validate_cwnd(tcb, True)
        return 0
    return min(room, _paced(tcb, now)) if tcb.pacer.rate else room


def _paced(tcb: Tcb, now: int) -> int:
    """Bytes that the pacer lets go now; where it is none, the timer will ask again."""
    allowed = tcb.pacer.allowance(now)
    if allowed <= 0:
        tcb.timers.arm(Timer.PACING, tcb.pacer.next_at)
    return allowed


def _holds_back(tcb: Tcb) -> bool:
    """A short segment must wait (RFC 896 in Minshall's form, and TCP_CORK)."""
    if tcb.options.cork or tcb.more:
        return True
    return not tcb.options.nodelay and tcb.small_sent > tcb.snd_una and not tcb.board.is_empty


def _fresh(tcb: Tcb, end: int, now: int) -> Transmit:
    """Send [snd_nxt, end) for the first time."""
    start = tcb.snd_nxt
    was_empty = tcb.board.is_empty
    tcb.board.mss = segment_size(tcb)
    tcb.board.sent(start, end, now)
    tcb.snd_nxt = end
    tcb.last_run = end - start
    usage.validate_cwnd(tcb, tcb.board.in_flight + tcb.snd_mss > tcb.cwnd())
    transmit = _text(tcb, start, end, now)
    length = transmit.length
    if length and (length % transmit.segment_size):
        tcb.small_sent = end
    tcb.bytes_sent += length
    if now - tcb.last_text_at < tcb.ato:
        tcb.pingpong = min(tcb.pingpong + 1, 255)
    tcb.last_sent_at = now
    if tcb.pacer.rate:
        tcb.pacer.on_sent(length, now)
    loss.after_new_data(tcb, was_empty, now)
    return transmit


def _text(tcb: Tcb, start: int, end: int, now: int) -> Transmit:
    """A segment (or run) with the text [start, end); the FIN's place counts as its last."""
    flags = ACK
    size = segment_size(tcb)
    length = end - start
    if tcb.fin_queued and end == tcb.stream_end():
        flags |= FIN
        length -= 1
    at = start - tcb.iss - 1
    if length and _is_pushed(tcb, at, length, end):
        flags |= PSH
    if tcb.urgent_out and start < tcb.snd_up:
        flags |= URG
    transmit = _segment(tcb, start, flags, now)
    transmit.ring = tcb.send_ring
    transmit.at = at
    transmit.length = length
    transmit.segment_size = size
    segs = max(1, -(-length // size))
    tcb.data_segs_out += segs
    tcb.total_segs_out += segs - 1
    tcb.ip_id += segs - 1
    if flags & URG:
        transmit.urgent = min(tcb.snd_up - start, 0xFFFF)
    if tcb.ecn_on:
        transmit.tos |= 2  # ECT(0)
        if tcb.ecn_cwr_owed and start >= tcb.snd_nxt - (end - start):
            transmit.flags |= CWR
            tcb.ecn_cwr_owed = False
    return transmit


def _is_pushed(tcb: Tcb, at: int, length: int, end: int) -> bool:
    """Whether the last segment of a run carries PSH: at the end of what was written (MUST-61), whenever it leaves,
    unless the write said that more follows (MAY-15)."""
    if at + length == tcb.send_ring.end and not tcb.more:
        if not tcb.pushes or tcb.pushes[-1] < end:
            tcb.pushes.append(end)
        return True
    if length > tcb.snd_mss:
        return True  # the end of a run: the receiver's GRO need not wait for more (Linux does so, too)
    index = bisect_left(tcb.pushes, end)
    return index < len(tcb.pushes) and tcb.pushes[index] == end


# Probes


def _probe(tcb: Tcb, now: int) -> Transmit:
    """A keepalive or a zero-window probe: the byte before snd_una, without text (RFC 9293 SHLD-12)."""
    if tcb.probe_owed:
        tcb.probe_owed = False
        usable = tcb.snd_una + tcb.snd_wnd - tcb.snd_nxt
        waiting = tcb.unsent()
        if usable > 0 and waiting > 0:
            return _push(tcb, _fresh(tcb, tcb.snd_nxt + min(usable, waiting, segment_size(tcb)), now))
        tcb.env.counters.add("TCPWinProbe")
    tcb.keepalive_owed = False
    return _segment(tcb, tcb.snd_una - 1, ACK, now)


def _push(tcb: Tcb, transmit: Transmit) -> Transmit:
    """What fills a small window after the probe's time carries PSH, also when resent (Linux's tcp_write_wakeup)."""
    if transmit.length and not transmit.flags & PSH:
        transmit.flags |= PSH
        insort(tcb.pushes, tcb.iss + 1 + transmit.at + transmit.length)
    return transmit


def _segment(tcb: Tcb, seq: int, flags: int, now: int, option_bytes: bytes | None = None) -> Transmit:
    """A Transmit without text; whatever ACK was owed rides on it."""
    if option_bytes is None:
        option_bytes = options.segment_options(tcb, now)
    field = 0
    ack = 0
    if flags & ACK:
        ack = wrap(tcb.rcv_nxt)
        if not flags & SYN:
            field = window.advertise(tcb)
            if tcb.ecn_echo:
                flags |= ECE
        delivery.ack_sent(tcb)
    tcb.total_segs_out += 1
    tcb.ip_id += 1
    v4 = is_v4(tcb.remote_address)
    own = tcb.options
    ttl = own.ttl if v4 else own.hops
    if ttl < 0:
        ttl = tcb.env.settings.ip_default_ttl
    return Transmit(
        tcb.local_address,
        tcb.remote_address,
        tcb.local_port,
        tcb.remote_port,
        wrap(seq),
        ack,
        flags,
        field,
        0,
        option_bytes,
        None,
        0,
        0,
        0,
        (own.tos if v4 else own.tclass) & 0xFC,
        ttl,
        (tcb.ip_id - 1) & 0xFFFF,
        (own.mtu_discover if v4 else own.mtu_discover6) != PMTUDISC_DONT,
        0,
    )
