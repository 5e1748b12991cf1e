"""What text may leave now, and as how long a run.

:func:`next_text` looks at the state (timers and arrivals only change it) and answers with one Transmit or None: what
was lost before what is new. A run is as long as min(cwnd, window, what is written) allows; the device cuts it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort

from ustack.tcp.constants import GSO_MAX
from ustack.tcp.ecn import ECT_0
from ustack.tcp.owed import OWE_KEEPALIVE, OWE_TAIL_LOSS_PROBE, OWE_WINDOW_PROBE
from ustack.tcp.sender import acks, buffer, bursts, chrono, loss, probes
from ustack.tcp.sender.state import Sender
from ustack.tcp.timers import LossTimer, Timer
from ustack.wire.frame import Transmit
from ustack.wire.tcp import ACK, FIN, PSH, URG


def next_text(sender: Sender, now: int) -> Transmit | None:
    """What was lost before what is new; but for F-RTO, which tries new data once (RFC 5682, step 2b)."""
    sender.emitter.look_at_options(now)
    if sender.send_new_first:
        transmit = new_text(sender, now)
        if transmit is not None:
            return transmit
        sender.send_new_first = False
        if sender.snd_nxt > sender.high_seq:
            return None
        sender.undo.frto_off()
    if sender.resends_wait:
        return new_text(sender, now)
    return _resend(sender, now) or new_text(sender, now)


def segment_size(sender: Sender) -> int:
    """Bytes of text in a full segment now: less than snd_mss while SACK blocks ride along (Linux's tcp_current_mss)."""
    mss = sender.snd_mss
    taken = sender.emitter.choose_options()
    return max(mss - taken, min(mss, 8)) if taken else mss


def syn_sent(sender: Sender, now: int) -> None:
    """The SYN (or SYN-ACK) leaves, for the first time or again."""
    iss = sender.iss
    if sender.snd_nxt == iss:
        sender.scoreboard.sent(iss, iss + 1, now)
        sender.snd_nxt = iss + 1
        sender.retrans_since = now  # TCP_USER_TIMEOUT counts from the first SYN (Linux)
    else:
        sender.scoreboard.next_lost()
        sender.scoreboard.resent(iss, iss + 1, now)
        sender.host.counters.add("TcpRetransSegs")
        sender.host.counters.add("TCPSynRetrans")


def _validate_cwnd(sender: Sender, limited: bool) -> None:
    """Remember for one window whether cwnd was the limit (RFC 7661)."""
    scoreboard = sender.scoreboard
    sender.validation.note(scoreboard.out_segs * sender.snd_mss, limited, sender.snd_una, sender.snd_nxt)


# What was lost


def _resend(sender: Sender, now: int) -> Transmit | None:
    scoreboard = sender.scoreboard
    if sender.owed.has(OWE_TAIL_LOSS_PROBE):
        return _tail_loss_probe(sender, now)
    if scoreboard.lost_bytes == 0:
        return None
    lost = scoreboard.next_lost()
    if lost is None:
        return None
    start, end = lost
    mss = segment_size(sender)
    taken = sender.in_flight()
    room = sender.prr.limit(sender.cwnd() - taken)
    if room < sender.snd_mss and taken > 0:
        sender.pacer.release()
        return None
    if sender.pacer.rate:
        room = min(room, _paced(sender, now))
        if room <= 0:
            return None
    if mss != sender.snd_mss:
        room = room // sender.snd_mss * mss  # so many segments, whatever rides along
    if end - start < mss and sender.host.settings.tcp_retrans_collapse:
        end = _collapsed(sender, start, mss)
    else:
        end = min(end, sender.run_end(start))
    length = _resend_length(sender, start, end, room, mss)
    return _again(sender, start, start + length, now) if length > 0 else None


def _collapsed(sender: Sender, start: int, mss: int) -> int:
    """The end of the short segment at ``start`` when those behind it have joined it."""
    scoreboard = sender.scoreboard
    scoreboard.mss = mss
    fin = sender.stream_end() - 1 if sender.fin_queued else -1
    end = scoreboard.collapse(start, min(sender.snd_una + sender.snd_wnd, sender.record_end(start)), fin)
    cuts = sender.marks.cuts
    del cuts[bisect_right(cuts, start) : bisect_left(cuts, end)]
    return end


def _resend_length(sender: Sender, start: int, end: int, room: int, mss: int) -> int:
    """Bytes of [start, end) that leave again at once: whole segments of one record, within ``room`` and the window."""
    usable = sender.snd_una + sender.snd_wnd - start
    if usable <= 0:  # the window shrank (RFC 9293 SHLD-16): the first segment leaves all the same, as a probe
        if start != sender.snd_una:
            return 0
        usable = mss
    end = min(end, sender.record_end(start))
    text = _text_length(sender, start, end)
    length = text
    if length > mss:
        length = min(length, max(room // mss, 1) * mss, bursts.natural_run(sender) // mss * mss)
    if length > usable:
        length = usable // mss * mss or usable
    return end - start if length == text else length


def _text_length(sender: Sender, start: int, end: int) -> int:
    """Bytes of text in [start, end): the FIN's place takes none, and no window."""
    return end - start - (1 if sender.fin_queued and end == sender.stream_end() else 0)


def _size_of_last(sender: Sender, start: int, end: int, mss: int) -> int:
    """Sequence numbers of the last segment of [start, end): one more than ``mss`` with a FIN behind full text."""
    text = _text_length(sender, start, end)
    return mss + 1 if text and text < end - start and text % mss == 0 else mss


def _again(sender: Sender, start: int, end: int, now: int) -> Transmit:
    """Send [start, end) once more."""
    loss.before_resend(sender, end - start, now)
    _note_resent(sender, start, end, now, False)
    transmit = _copy(sender, start, end, now)
    loss.after_resend(sender, start, now)
    return transmit


def _note_resent(sender: Sender, start: int, end: int, now: int, is_probe: bool) -> None:
    scoreboard = sender.scoreboard
    scoreboard.mss = mss = segment_size(sender)
    last = _size_of_last(sender, start, end, mss)
    if last != mss:
        if end - start > last:
            scoreboard.resent(start, end - last, now, probe=is_probe)
            start = end - last
        scoreboard.mss = last
    scoreboard.resent(start, end, now, probe=is_probe)
    scoreboard.mss = mss


def _copy(sender: Sender, start: int, end: int, now: int) -> Transmit:
    """Text that left before."""
    transmit = _text(sender, start, end, now)
    segs = max(1, -(-transmit.length // transmit.segment_size))
    sender.host.counters.add("TcpRetransSegs", segs)
    sender.totals.bytes_retrans += transmit.length
    if sender.pacer.rate:
        sender.pacer.on_sent(transmit.length, now)
    return transmit


def _tail_loss_probe(sender: Sender, now: int) -> Transmit | None:
    """One segment, new if the window allows, else the last one again (RFC 8985 section 7.3)."""
    sender.owed.drop(OWE_TAIL_LOSS_PROBE)
    transmit: Transmit | None = None
    if sender.tlp.high_seq < 0:
        fresh = _one_segment(sender)
        if fresh > 0 and sender.snd_nxt + fresh <= sender.snd_una + sender.snd_wnd:
            transmit = _fresh(sender, sender.snd_nxt + fresh, now)
            sender.tlp.sent(sender.snd_nxt, False)
        else:
            transmit = _last_again(sender, now)
    if transmit is None:
        sender.timers.arm_loss(LossTimer.TAIL_LOSS, now)  # the RTO counts from the head's sending
        loss.rearm_rto(sender, now)
        return None
    sender.scoreboard.tlp_end = sender.tlp.high_seq
    sender.host.counters.add("TCPLossProbes")
    loss.rearm_rto_afresh(sender, now)
    return transmit


def _last_again(sender: Sender, now: int) -> Transmit | None:
    start, end = sender.scoreboard.last_segment()
    if start == end or (start >= sender.snd_una + sender.snd_wnd and start != sender.snd_una):
        return None  # beyond a window that shrank nothing is pushed
    sender.tlp.sent(sender.snd_nxt, True)
    _note_resent(sender, start, end, now, True)
    return _copy(sender, start, end, now)


# What is new


def new_text(sender: Sender, now: int) -> Transmit | None:
    """What was never sent. Nothing else leaves before our SYN-ACK was answered (Linux)."""
    waiting = sender.unsent()
    if waiting <= 0:
        kind = chrono.IDLE if sender.scoreboard.is_empty else chrono.BUSY
        if kind != sender.chrono.kind and (kind == chrono.IDLE or sender.chrono.kind != chrono.BUFFER):
            sender.chrono.move(kind, now)
        sender.pacer.release()
        if not sender.scoreboard.rate.app_limited_until and sender.in_flight() < sender.cwnd():
            sender.scoreboard.mark_app_limited()
        return None
    end = _end_of_run(sender, now)
    kind = chrono.BUSY if end > sender.snd_nxt or _has_window(sender, waiting) else chrono.WINDOW
    if sender.chrono.kind not in (kind, chrono.BUFFER):
        sender.chrono.move(kind, now)
    if end <= sender.snd_nxt:
        probes.arm_if_stuck(sender, now)
        return None
    transmit = _fresh(sender, end, now)
    if sender.buffer.writer_waits and sender.unsent() == 0 and not acks.is_cwnd_limited(sender):
        sender.chrono.move(chrono.BUFFER, now)  # it starves: the buffer is too small for the window
    return transmit


def _has_window(sender: Sender, waiting: int) -> bool:
    """The peer's window would take a segment; if not, and cwnd would, it is what holds the sender up."""
    size = min(waiting, segment_size(sender))
    in_window = sender.snd_nxt + size <= sender.snd_una + sender.snd_wnd
    return in_window or sender.cwnd() - sender.in_flight() < sender.snd_mss


def _one_segment(sender: Sender) -> int:
    """Sequence numbers of the next new segment by itself, with the FIN if it rides on it."""
    start = sender.snd_nxt
    waiting = min(sender.stream_end(), sender.record_end(start)) - start
    text = _text_length(sender, start, start + waiting)
    mss = segment_size(sender)
    return mss if text > mss else waiting


def _end_of_run(sender: Sender, now: int) -> int:
    """Where the run that begins at snd_nxt ends: snd_nxt when nothing may leave (RFC 9293 section 3.8.6.2.1)."""
    start = sender.snd_nxt
    stream_end = sender.stream_end()
    end = min(stream_end, sender.record_end(start))
    text = _text_length(sender, start, end)
    usable = sender.snd_una + sender.snd_wnd - start
    if text == 0:
        return end if usable > 0 else start  # the FIN alone
    mss = segment_size(sender)
    room = _room(sender, now)
    if room <= 0:
        return start
    is_last = end == stream_end
    limit = bursts.run_limit(sender)
    if mss != sender.snd_mss:  # so many segments, whatever rides along
        limit = limit // sender.snd_mss * mss
        room = room // sender.snd_mss * mss
    length = min(min(text, room), min(usable, limit))
    if usable < mss and usable < end - start:
        return start  # the silly window: wait for it to open, or for the probe timer
    if text > mss and bursts.had_better_wait(sender, text, is_last, now):
        return start
    if length < text:
        if length == room:
            _validate_cwnd(sender, True)
        return start + length - length % mss
    partial = text % mss
    if partial and is_last and _holds_back(sender):
        return start + text - partial
    return end


def _room(sender: Sender, now: int) -> int:
    """Bytes that the congestion window and the pacer let go now: none, or at least a segment."""
    room = sender.prr.limit(sender.cwnd() - sender.in_flight())
    if room < sender.snd_mss:
        sender.pacer.release()
        _validate_cwnd(sender, True)
        return 0
    return min(room, _paced(sender, now)) if sender.pacer.rate else room


def _paced(sender: Sender, now: int) -> int:
    """Bytes that the pacer lets go now; where it is none, the timer will ask again."""
    allowed = sender.pacer.allowance(now)
    if allowed <= 0:
        sender.timers.arm(Timer.PACING, sender.pacer.next_at)
    return allowed


def _holds_back(sender: Sender) -> bool:
    """A short segment must wait (RFC 896 in Minshall's form, and TCP_CORK). Linux's tcp_nagle_test."""
    if sender.fin_queued or sender.marks.push_now or sender.snd_up > sender.snd_una:
        return False
    if sender.options.cork or sender.marks.more:
        return True
    return not sender.options.nodelay and sender.marks.small_sent > sender.snd_una and not sender.scoreboard.is_empty


def _fresh(sender: Sender, end: int, now: int) -> Transmit:
    """Send [snd_nxt, end) for the first time."""
    start = sender.snd_nxt
    was_empty = sender.scoreboard.is_empty
    sender.scoreboard.mss = segment_size(sender)
    if sender.fin_queued:
        _note_sent_with_fin(sender, start, end, now)
    else:
        sender.scoreboard.sent(start, end, now)
    sender.snd_nxt = end
    if not was_empty and end - start < GSO_MAX:
        sender.marks.cuts.append(start)
    buffer.cut(sender, end - sender.iss - 1)
    _validate_cwnd(sender, sender.in_flight() + sender.snd_mss > sender.cwnd())
    transmit = _text(sender, start, end, now)
    length = transmit.length
    if length:
        if length % transmit.segment_size:
            sender.marks.small_sent = end
        if sender.ecn.on:
            _mark_ect(sender, transmit)
    sender.totals.bytes_sent += length
    sender.emitter.text_sent(now)
    sender.last_sent_at = now
    if sender.pacer.rate:
        sender.pacer.on_sent(length, now)
    loss.after_new_data(sender, end - start, was_empty, now)
    return transmit


def _note_sent_with_fin(sender: Sender, start: int, end: int, now: int) -> None:
    """The segment that carries the FIN may be one longer than the others: a record of its own, then."""
    scoreboard = sender.scoreboard
    mss = scoreboard.mss
    last = _size_of_last(sender, start, end, mss)
    if last != mss and end - start > last:
        scoreboard.sent(start, end - last, now)
        start = end - last
    scoreboard.mss = last
    scoreboard.sent(start, end, now)
    scoreboard.mss = mss


def _text(sender: Sender, start: int, end: int, now: int) -> Transmit:
    """A segment (or run) with the text [start, end); the FIN's place counts as its last."""
    flags = ACK
    size = segment_size(sender)
    length = end - start
    if sender.fin_queued and end == sender.stream_end():
        flags |= FIN
        length -= 1
    at = start - sender.iss - 1
    if (length or sender.fin_joins) and _is_pushed(sender, at, length, end):
        flags |= PSH
        if at + length == sender.marks.push_at:
            sender.marks.note_push(end)
    if start < sender.snd_up:
        flags |= URG
    transmit = sender.emitter.segment(start, flags, now)
    transmit.ring = sender.send_ring
    transmit.at = at
    transmit.length = length
    transmit.segment_size = size
    segs = max(1, -(-length // size))
    sender.totals.data_segs_out += segs if length else 0
    sender.emitter.more_segments(segs - 1)
    if flags & URG:
        transmit.urgent = min(sender.snd_up - start, 0xFFFF)
    return transmit


def _mark_ect(sender: Sender, transmit: Transmit) -> None:
    """New text is ECT(0), and tells of a reduction; resends, bare FINs and ACKs are not (RFC 3168 section 6.1)."""
    transmit.tos |= ECT_0
    transmit.flags |= sender.ecn.take_cwr()


def _is_pushed(sender: Sender, at: int, length: int, end: int) -> bool:
    """Whether the last segment of a run carries PSH: at the end of what was written (MUST-61) and of each record,
    whenever it leaves, unless the write said that more follows (MAY-15)."""
    if at + length == sender.marks.push_at:
        return True
    if length > sender.snd_mss:
        return True  # the end of a run: the receiver's GRO need not wait for more (Linux does so, too)
    index = bisect_left(sender.marks.pushes, end)
    return index < len(sender.marks.pushes) and sender.marks.pushes[index] == end


# Probes


def probe(sender: Sender, now: int) -> Transmit:
    """A zero-window probe: what a small window takes, else no text at all (Linux's tcp_write_wakeup)."""
    sender.owed.drop(OWE_WINDOW_PROBE)
    usable = sender.snd_una + sender.snd_wnd - sender.snd_nxt
    waiting = sender.unsent()
    if usable > 0 and waiting > 0:
        probes.forget(sender)
        # A short segment that a probe sends is none for Nagle's rule (tcp_write_wakeup() does not note it).
        small_sent = sender.marks.small_sent
        transmit = _push(sender, _fresh(sender, sender.snd_nxt + min(usable, _one_segment(sender)), now))
        sender.marks.small_sent = small_sent
        return transmit
    sender.host.counters.add("TCPWinProbe")
    return keepalive(sender, now)


def keepalive(sender: Sender, now: int) -> Transmit:
    """The byte before snd_una, without text: the peer must answer (RFC 9293 SHLD-12)."""
    sender.owed.drop(OWE_KEEPALIVE)
    return sender.emitter.segment(sender.snd_una - 1, ACK, now)


def _push(sender: Sender, transmit: Transmit) -> Transmit:
    """What fills a small window after the probe's time carries PSH, also when resent (Linux's tcp_write_wakeup)."""
    if transmit.length and not transmit.flags & PSH:
        transmit.flags |= PSH
        insort(sender.marks.pushes, sender.iss + 1 + transmit.at + transmit.length)
    return transmit
