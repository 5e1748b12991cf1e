"""Text on its way in: placed in the receive ring, acknowledged in time, the peer's FIN taken in order.

RFC 9293 section 3.10.7.4, steps seven and eight; the ACK policy is RFC 5681 section 4.2 with Linux's quick ACKs,
interactive mode and delays (``tcp_event_data_recv``, ``__tcp_ack_snd_check``). Counted in wire
segments: a run of forty segments is forty, however it arrived.
"""

from __future__ import annotations

from ustack.drops import Drop
from ustack.tcp import window
from ustack.tcp.constants import ATO_MIN, DELACK_MAX, JIFFY, MAX_QUICKACKS, MAX_SACK_BLOCKS, SECOND
from ustack.tcp.events import EventKind
from ustack.tcp.state import Input, State
from ustack.tcp.tcb import Tcb
from ustack.tcp.timers import Timer
from ustack.wire.frame import Segment
from ustack.wire.tcp import PSH


def take_text(tcb: Tcb, segment: Segment, seq: int, now: int) -> None:
    """Take the text of a segment whose first byte has sequence number ``seq`` (step seven)."""
    length = segment.payload_length
    end = seq + length
    if end > tcb.rcv_nxt and 0 <= tcb.rcv_fin < end:
        tcb.env.counters.drop(Drop.BEYOND_FIN)
        end = tcb.rcv_fin
        if seq >= end:
            tcb.ack_scheduled = True
            return
    right = tcb.rcv_nxt + tcb.receive_window()
    if end <= tcb.rcv_nxt:
        tcb.env.counters.add("DelayedACKLost")
        note_dsack(tcb, seq, end)
        _refuse(tcb, Drop.OLD_DATA)
    elif seq >= right:
        if seq < tcb.rcv_nxt:
            note_dsack(tcb, seq, tcb.rcv_nxt)
        zero = tcb.receive_window() == 0
        if zero:
            tcb.env.counters.add("TCPZeroWindowDrop")
        _refuse(tcb, Drop.ZERO_WINDOW if zero else Drop.BEYOND_WINDOW)
    elif seq <= tcb.rcv_nxt:
        _take_in_order(tcb, segment, seq, min(end, right), now)
    else:
        _take_out_of_order(tcb, segment, seq, min(end, right), now)


def _refuse(tcb: Tcb, reason: Drop) -> None:
    tcb.env.counters.drop(reason)
    tcb.enter_quickack(MAX_QUICKACKS)
    tcb.ack_scheduled = True


def _take_in_order(tcb: Tcb, segment: Segment, seq: int, end: int, now: int) -> None:
    start = tcb.rcv_nxt
    if seq < start:
        note_dsack(tcb, seq, start)
    had_gap = tcb.receive_ring.has_gap()
    held = _held_of(tcb, start, end) if had_gap else None
    advanced = tcb.receive_ring.place(start - tcb.irs - 1, segment.payload, start - seq, end - start)
    if advanced == 0:
        tcb.env.counters.add("TCPRcvQDrop")
        _refuse(tcb, Drop.NO_MEMORY)
        return
    tcb.rcv_nxt = start + advanced
    tcb.bytes_received += advanced
    if held is not None:
        extend_dsack(tcb, held[0], held[1])
    if had_gap and not tcb.receive_ring.has_gap():
        tcb.ack_now = True  # RFC 5681 section 4.2: a filled gap is acknowledged at once
    event_data_received(tcb, segment, now)
    tcb.env.tell(EventKind.READABLE, tcb)


def _take_out_of_order(tcb: Tcb, segment: Segment, seq: int, end: int, now: int) -> None:
    held = _held_of(tcb, seq, end)
    if held is not None:
        extend_dsack(tcb, held[0], held[1])
    tcb.receive_ring.place(seq - tcb.irs - 1, segment.payload, 0, end - seq)
    tcb.env.counters.add("TCPOFOQueue", segment.segs)
    tcb.rcv_ooopack += segment.segs
    _remember_block(tcb, seq)
    if not tcb.sack_on:
        tcb.acks_owed += segment.segs
    tcb.ack_scheduled = True
    event_data_received(tcb, segment, now)


def _held_of(tcb: Tcb, seq: int, end: int) -> tuple[int, int] | None:
    """The first stretch of [seq, end) that had come before, out of order: it arrives twice.

    D-SACK tells of one block only, and stretches that are held apart never make one block."""
    first = tcb.irs + 1
    held = tcb.receive_ring.overlap(seq - first, end - first)
    return None if held is None else (held[0] + first, held[1] + first)


def _remember_block(tcb: Tcb, seq: int) -> None:
    """The block with the latest arrival is reported first (RFC 2018 section 4)."""
    recent = tcb.recent_blocks
    if seq in recent:
        recent.remove(seq)
    recent.insert(0, seq)
    del recent[2 * MAX_SACK_BLOCKS :]


def has_gap(tcb: Tcb) -> bool:
    """Something lies beyond rcv_nxt with a hole before it: text, or the peer's FIN."""
    return tcb.receive_ring.has_gap() or tcb.rcv_fin > tcb.rcv_nxt


def held_top(tcb: Tcb) -> int:
    """One past the last sequence number that is held; the FIN counts as one (as Linux sacks it)."""
    if tcb.rcv_fin > tcb.rcv_nxt:
        return tcb.rcv_fin + 1
    return tcb.receive_ring.top() + tcb.irs + 1


def _held_block(tcb: Tcb, seq: int) -> tuple[int, int] | None:
    """What is held without a hole around ``seq``, beyond the first hole."""
    first = tcb.irs + 1
    fin = tcb.rcv_fin if tcb.rcv_fin > tcb.rcv_nxt else -1
    found = tcb.receive_ring.block_of((fin - 1 if seq == fin else seq) - first)
    if found is None:
        return (fin, fin + 1) if seq == fin else None
    return _with_fin(found[0] + first, found[1] + first, fin)


def _with_fin(start: int, end: int, fin: int) -> tuple[int, int]:
    return (start, end + 1) if end == fin else (start, end)


def _lowest_blocks(tcb: Tcb, most: int) -> list[tuple[int, int]]:
    """The first ``most`` blocks beyond the first hole, ascending."""
    first = tcb.irs + 1
    fin = tcb.rcv_fin if tcb.rcv_fin > tcb.rcv_nxt else -1
    blocks = [_with_fin(start + first, end + first, fin) for start, end in tcb.receive_ring.first_blocks(most)]
    if fin >= 0 and len(blocks) < most and (not blocks or blocks[-1][1] <= fin):
        blocks.append((fin, fin + 1))
    return blocks


def sack_blocks(tcb: Tcb, most: int) -> list[tuple[int, int]]:
    """Up to ``most`` blocks for the next ACK: D-SACK first (RFC 2883), then by recency (RFC 2018 section 4).

    A peer can make a thousand ranges: only those of the latest arrivals and the lowest are looked at."""
    duplicate = [tcb.dsack] if tcb.dsack is not None else []
    if not has_gap(tcb):
        tcb.recent_blocks.clear()
        return duplicate
    chosen: list[tuple[int, int]] = []
    keep: list[int] = []
    for seq in tcb.recent_blocks:
        block = _block_among(chosen, seq)
        if block is None and len(chosen) < most:
            block = _held_block(tcb, seq)
            if block is None:
                continue
            chosen.append(block)
        keep.append(seq)
    if len(chosen) < most:
        for block in _lowest_blocks(tcb, most):
            if len(chosen) < most and block not in chosen:
                chosen.append(block)
    tcb.recent_blocks = keep or [held_top(tcb) - 1]  # empty only while there is no gap
    return (duplicate + chosen)[:most]  # a block that arrived twice as a whole is told twice (RFC 2883 section 4.1.3)


def _block_among(blocks: list[tuple[int, int]], seq: int) -> tuple[int, int] | None:
    """The one of a few blocks that holds ``seq``."""
    for block in blocks:
        if block[0] <= seq < block[1]:
            return block
    return None


def note_dsack(tcb: Tcb, start: int, end: int) -> None:
    """[start, end) arrived twice: say so in the next ACK (RFC 2883)."""
    if tcb.sack_on and tcb.env.settings.tcp_dsack and start < end:
        tcb.env.counters.add("TCPDSACKOldSent" if start < tcb.rcv_nxt else "TCPDSACKOfoSent")
        tcb.dsack = (start, end)


def extend_dsack(tcb: Tcb, start: int, end: int) -> None:
    """The same for a duplicate above the gap; neighbours of one segment make one block."""
    if tcb.dsack is not None and start <= tcb.dsack[1] and tcb.dsack[0] <= end:
        tcb.dsack = (min(start, tcb.dsack[0]), max(end, tcb.dsack[1]))
    elif tcb.dsack is None:
        note_dsack(tcb, start, end)


def event_data_received(tcb: Tcb, segment: Segment, now: int) -> None:
    """Text arrived: steer the delayed-ACK engine (Linux's tcp_event_data_recv)."""
    tcb.ack_scheduled = True
    _measure_rcv_mss(tcb, segment)
    if segment.has_ts and segment.ts_ecr and segment.segment_size >= tcb.rcv_mss:
        elapsed = (tcb.env.timestamp(tcb.ts_offset, now) - segment.ts_ecr) & 0xFFFFFFFF
        if elapsed < 0x7FFFFFFF:
            window.measure_rtt_by_timestamp(tcb, elapsed * 1_000_000)
    elif not tcb.ts_on:
        window.measure_rtt(tcb, now)
    if tcb.ato == 0:
        tcb.add_quickacks(MAX_QUICKACKS)
        tcb.ato = ATO_MIN
    else:
        gap = now - tcb.last_text_at
        if gap <= ATO_MIN // 2:
            tcb.ato = tcb.ato // 2 + ATO_MIN // 2
        elif gap < tcb.ato:
            tcb.ato = min(tcb.ato // 2 + gap, tcb.rtt.rto)
        elif gap > tcb.rtt.rto:
            tcb.add_quickacks(MAX_QUICKACKS)
    tcb.last_text_at = now
    if segment.payload_length >= 128 and (tcb.sack_on or not tcb.receive_ring.has_gap()):
        # Behind a gap only with SACK: else the window must stand, or the ACK is no duplicate (RFC 5681 section 2).
        window.grow(tcb, segment.payload_length)


def _measure_rcv_mss(tcb: Tcb, segment: Segment) -> None:
    """Estimate the peer's full segment; remember that a short one came (Linux's tcp_measure_rcv_mss)."""
    size = segment.segment_size
    if size >= tcb.rcv_mss:
        tcb.rcv_mss = min(size, tcb.advertised_mss)
        if segment.payload_length % size and segment.flags & PSH:
            tcb.pushed = 1
    else:
        if size >= 536 and size >= tcb.rcv_mss // 2 and not segment.flags & PSH:
            tcb.rcv_mss = size
        tcb.pushed = 2 if tcb.pushed else 1


def decide_ack(tcb: Tcb, now: int) -> None:
    """After a segment: is the scheduled ACK due now, or may it wait (Linux's __tcp_ack_snd_check)?"""
    if not tcb.ack_scheduled or tcb.ack_now:
        return
    arrived = tcb.rcv_nxt - tcb.rcv_wup
    if (
        (arrived > tcb.rcv_mss and (tcb.receive_ring.readable() < tcb.options.rcvlowat or window.would_offer_more(tcb)))
        or tcb.is_quickack()
        or has_gap(tcb)
    ):
        tcb.ack_now = True
    else:
        delay_ack(tcb, now)


def delay_ack(tcb: Tcb, now: int) -> None:
    """Arm the delayed-ACK timer (RFC 9293 section 3.8.6.3; Linux's tcp_send_delayed_ack)."""
    delay = tcb.ato
    if delay > ATO_MIN:
        most = DELACK_MAX if tcb.in_pingpong() or tcb.pushed else SECOND // 2
        if tcb.rtt.srtt:
            most = min(most, max(tcb.rtt.srtt, ATO_MIN))
        delay = min(delay, most)
    delay = min(delay or JIFFY, tcb.options.delack_max_us * 1000 or DELACK_MAX)
    at = now + delay
    running = tcb.timers.at[Timer.DELAYED_ACK]
    if running:
        if running <= now + (delay >> 2):
            tcb.ack_now = True
            return
        at = min(at, running)
    tcb.timers.arm(Timer.DELAYED_ACK, at)


def ack_sent(tcb: Tcb) -> None:
    """A segment with an ACK left: whatever was scheduled is done."""
    tcb.ack_now = False
    tcb.ack_scheduled = False
    tcb.acks_owed = 0
    tcb.pushed = 0
    tcb.dsack = None
    if tcb.quick_acks > 0:
        tcb.quick_acks -= 1
        if tcb.quick_acks == 0:
            tcb.ato = ATO_MIN
    tcb.timers.stop(Timer.DELAYED_ACK)
    tcb.last_ack_sent = tcb.rcv_nxt


def after_read(tcb: Tcb, copied: int, now: int) -> None:
    """The application took ``copied`` bytes: is it time for an ACK or a window update (Linux's tcp_cleanup_rbuf)?"""
    window.adjust_to_reader(tcb, now)
    if tcb.ack_scheduled:
        drained = copied > 0 and tcb.receive_ring.readable() == 0
        interactive = tcb.pushed == 2 or (tcb.pushed == 1 and not tcb.in_pingpong())
        if tcb.rcv_nxt - tcb.rcv_wup > tcb.rcv_mss or (interactive and drained):
            tcb.ack_now = True
            return
    if copied > 0 and not tcb.fin_received:
        offered = tcb.receive_window()
        if 2 * offered <= tcb.window_clamp and window.reopens(tcb, offered):
            tcb.ack_now = True


def arrived_again(tcb: Tcb, seq: int) -> None:
    """A SYN or FIN came once more: the peer seems not to have our ACK."""
    tcb.env.counters.add("DelayedACKLost")
    note_dsack(tcb, seq, seq + 1)
    tcb.enter_quickack(MAX_QUICKACKS)
    tcb.ack_now = True


def take_fin(tcb: Tcb, fin_seq: int, now: int) -> None:
    """The peer's FIN has sequence number ``fin_seq`` (step eight); out of order it marks the end, and is sacked."""
    if fin_seq < tcb.rcv_nxt:  # once more (our ACK was lost), or a number that was text
        arrived_again(tcb, fin_seq)
        return
    if tcb.fin_received or fin_seq > tcb.rcv_nxt + tcb.receive_window():
        return
    if tcb.rcv_fin < 0 or fin_seq < tcb.rcv_fin:
        tcb.rcv_fin = fin_seq
    if fin_seq > tcb.rcv_nxt:
        _remember_block(tcb, fin_seq)
        tcb.ack_scheduled = True
    fin_if_due(tcb, now)


def fin_if_due(tcb: Tcb, now: int) -> None:
    """All before the FIN is here: the stream ends, the state moves (RFC 9293 section 3.10.7.4, eighth)."""
    if tcb.fin_received or tcb.rcv_fin < 0 or tcb.rcv_nxt != tcb.rcv_fin:
        return
    tcb.rcv_nxt += 1
    tcb.bytes_received += 1  # as Linux counts
    tcb.fin_received = True
    tcb.ack_scheduled = True
    if tcb.state is State.ESTABLISHED:
        tcb.pingpong = tcb.env.settings.tcp_pingpong_thresh
    else:
        tcb.ack_now = True
    tcb.move(Input.FIN_RECEIVED, now)
    tcb.env.tell(EventKind.PEER_CLOSED, tcb)
