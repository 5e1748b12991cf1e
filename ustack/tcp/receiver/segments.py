"""Text on its way in: placed in the receive ring, acknowledged in time, the peer's FIN taken in order.

RFC 9293 section 3.10.7.4, steps seven and eight; the ACK policy is RFC 5681 section 4.2 with Linux's quick ACKs,
interactive mode and delays (``tcp_event_data_recv``, ``__tcp_ack_snd_check``). Counted in wire
segments: a run of forty segments is forty, however it arrived.
"""

from __future__ import annotations

from ustack.drops import Drop
from ustack.ring import REFUSED
from ustack.tcp.constants import ATO_MIN, DEFAULT_MSS_V4, MAX_QUICKACKS, MIN_MSS, PAWS_IDLE
from ustack.tcp.owed import OWE_ACK
from ustack.tcp.receiver import ack_policy, sack, window
from ustack.tcp.receiver.memory import truesize
from ustack.tcp.receiver.state import Receiver
from ustack.wire.frame import Segment, content_of
from ustack.wire.tcp import FIN, PSH, URG


def begin(receiver: Receiver, irs: int, ts_val: int, now: int) -> None:
    """The peer's SYN had sequence number ``irs`` and, where timestamps are agreed upon, ``ts_val``."""
    receiver.irs = irs
    receiver.rcv_nxt = irs + 1
    receiver.rcv_wup = irs + 1
    receiver.last_ack_sent = irs + 1
    if receiver.agreed.ts_on:
        receiver.ts_recent = ts_val
        receiver.ts_recent_at = now


def opened(receiver: Receiver, segs: int, now: int) -> None:
    """The handshake is over, in which ``segs`` segments came before the one that is taken next."""
    receiver.totals.segs_in += segs
    receiver.last_text_at = now


def count(receiver: Receiver, segment: Segment) -> None:
    """One segment more, or a run of them."""
    totals = receiver.totals
    totals.segs_in += segment.segs
    if segment.payload_length:
        totals.data_segs_in += segment.segs


def store_timestamp(receiver: Receiver, segment: Segment, now: int) -> None:
    """RFC 7323 section 4.3: remember the timestamp of what the next ACK answers, never an older one."""
    if (segment.ts_val - receiver.ts_recent) & 0xFFFFFFFF < 0x80000000 or now - receiver.ts_recent_at > PAWS_IDLE:
        receiver.ts_recent = segment.ts_val
        receiver.ts_recent_at = now


def follow(receiver: Receiver, ts_recent: int, ts_recent_at: int) -> None:
    """The connection takes the place of one in TIME-WAIT, whose newest timestamp still counts (RFC 6191)."""
    receiver.ts_recent = ts_recent
    receiver.ts_recent_at = ts_recent_at


def take_early(receiver: Receiver, segment: Segment) -> None:
    """Text that came with the peer's SYN or SYN-ACK is taken as it is; what answers next acknowledges it (RFC 7413)."""
    taken = receiver.receive_ring.place(0, segment.payload, 0, segment.payload_length)
    if taken > 0:
        receiver.queue.add(taken, taken, receiver.packet_length(segment), segment.segs, _charge(receiver, segment))
        receiver.rcv_nxt += taken
        receiver.rcv_wup = receiver.rcv_nxt
        receiver.totals.bytes_received += taken
        receiver.totals.data_segs_in = segment.segs


def take_text(receiver: Receiver, segment: Segment, seq: int, now: int) -> bool:
    """Take the text of a segment whose first byte has sequence number ``seq`` (step seven).

    What goes beyond the window has been judged with the sequence number: here it is taken as far as the buffer goes.
    False: nothing of it was taken, so a FIN behind it counts for nothing either."""
    receiver.dsack = None  # one that still waits is of the past (Linux's tcp_data_queue)
    length = segment.payload_length
    end = seq + length
    if end > receiver.rcv_nxt and 0 <= receiver.rcv_fin < end:
        receiver.host.counters.drop(Drop.BEYOND_FIN)
        end = receiver.rcv_fin
        if seq >= end:
            receiver.acks.scheduled = True
            return False
    right = receiver.rcv_nxt + receiver.receive_window()
    if end <= receiver.rcv_nxt:
        receiver.host.counters.add("DelayedACKLost")
        sack.note_dsack(receiver, seq, end)
        _refuse(receiver, Drop.OLD_DATA)
    elif seq >= right:
        if seq < receiver.rcv_nxt:
            sack.note_dsack(receiver, seq, receiver.rcv_nxt)
        zero = receiver.receive_window() == 0
        if zero:
            receiver.host.counters.add("TCPZeroWindowDrop")
        _refuse(receiver, Drop.ZERO_WINDOW if zero else Drop.BEYOND_WINDOW)
        return False
    elif seq <= receiver.rcv_nxt:
        return _take_in_order(receiver, segment, seq, end, now)
    else:
        return _take_out_of_order(receiver, segment, seq, end)
    return True


def _refuse(receiver: Receiver, reason: Drop) -> None:
    receiver.host.counters.drop(reason)
    receiver.enter_quickack(MAX_QUICKACKS)
    receiver.acks.scheduled = True


def _take_in_order(receiver: Receiver, segment: Segment, seq: int, end: int, now: int) -> bool:
    start = receiver.rcv_nxt
    may_hold = _make_room(receiver)
    if not may_hold and receiver.receive_ring.readable():
        _run_out(receiver, True)
        return False
    had_gap = receiver.receive_ring.has_gap()
    if had_gap:
        receiver.dsack = None  # it died with the next segment that Linux's tcp_data_queue takes
    if seq < start:
        receiver.dsack = None
        sack.note_dsack(receiver, seq, start)
    held = sack.held_of(receiver, start, end) if had_gap else None
    at = start - receiver.irs - 1
    advanced = receiver.receive_ring.place(at, content_of(segment), start - seq, end - start)
    if advanced == REFUSED and had_gap:
        receiver.host.counters.add("PruneCalled")
        _prune(receiver)
        had_gap = False
        held = None
        advanced = receiver.receive_ring.place(at, segment.payload, start - seq, end - start)
    if advanced <= 0:
        receiver.host.counters.add("PruneCalled")
        receiver.host.counters.add("RcvPruned")
        _run_out(receiver, advanced == REFUSED)
        return False
    receiver.rcv_nxt = start + advanced
    charge = _charge(receiver, segment)
    queue = receiver.queue
    queue.add(
        min(at + end - start, receiver.receive_ring.end),
        end - start,
        receiver.packet_length(segment),
        segment.segs,
        charge,
    )
    if had_gap:
        queue.close_gap(receiver.receive_ring.end)
    if not may_hold:
        receiver.acks.no_memory = True  # taken all the same, since nothing else waits
        receiver.owed.add(OWE_ACK)
    receiver.totals.bytes_received += advanced
    if held is not None:
        sack.extend_dsack(receiver, held[0], held[1])
    if had_gap and not receiver.receive_ring.has_gap():
        receiver.owed.add(OWE_ACK)  # RFC 5681 section 4.2: a filled gap is acknowledged at once
    event_data_received(receiver, segment, charge, now)
    return True


def _take_out_of_order(receiver: Receiver, segment: Segment, seq: int, end: int) -> bool:
    receiver.dsack = None
    if not _make_room(receiver):
        receiver.host.counters.add("TCPOFODrop")
        receiver.host.counters.drop(Drop.NO_MEMORY)
        return False
    held = sack.held_of(receiver, seq, end)
    if receiver.receive_ring.place(seq - receiver.irs - 1, segment.payload, 0, end - seq) == REFUSED:
        receiver.host.counters.add("PruneCalled")
        receiver.host.counters.add("TCPOFODrop")
        _refuse(receiver, Drop.NO_MEMORY)
        return False
    if held is not None:
        sack.extend_dsack(receiver, held[0], held[1])
    _take_ecn(receiver, segment)
    receiver.host.counters.add("TCPOFOQueue", segment.segs)
    receiver.totals.ooo_segs += segment.segs
    sack.remember_block(receiver, seq)
    if not receiver.agreed.sack_on:
        receiver.acks.duplicates += segment.segs
    receiver.acks.scheduled = True
    charge = _charge(receiver, segment)
    _measure_rcv_mss(receiver, segment, charge)
    if held is not None and held[0] == seq and held[1] == end:
        return True
    if receiver.agreed.sack_on:
        # Only with SACK: else the window must stand, or the ACK is no duplicate (RFC 5681 section 2).
        window.grow(receiver, segment, charge)
    receiver.queue.add_beyond(end - receiver.irs - 1, charge)
    return True


def _charge(receiver: Receiver, segment: Segment) -> int:
    """What the text of ``segment`` takes of the receive buffer."""
    return segment.segs * truesize(receiver.packet_length(segment))


def _make_room(receiver: Receiver) -> bool:
    """Whether the buffer bears a segment more, if need be after tidying up (Linux's tcp_prune_queue).

    It does while it is not overdrawn: the last segment may go beyond."""
    queue = receiver.queue
    if queue.charged <= receiver.rcv_buffer:
        return True
    receiver.host.counters.add("PruneCalled")
    window.overrun(receiver)
    if queue.charged > receiver.rcv_buffer:
        queue.collapse(receiver.receive_ring.start, receiver.scaling_ratio)
    if queue.charged > receiver.rcv_buffer and receiver.receive_ring.has_gap():
        _prune(receiver)
    if queue.charged <= receiver.rcv_buffer:
        return True
    receiver.host.counters.add("RcvPruned")
    return False


def _prune(receiver: Receiver) -> None:
    """Memory is short: what came out of order makes room for what is in order (Linux's tcp_prune_ofo_queue).

    The peer learns of it as it learns of any loss: no block tells of that text any more (RFC 2018 section 8)."""
    receiver.host.counters.add("OfoPruned")
    receiver.receive_ring.prune()
    receiver.queue.forget_beyond()
    receiver.recent_blocks.clear()
    if receiver.rcv_fin > receiver.rcv_nxt:
        sack.remember_block(receiver, receiver.rcv_fin)


def _run_out(receiver: Receiver, is_refused: bool) -> None:
    """Text in order that there is no room for, since the buffer was made smaller, or no memory (``is_refused``).

    Without memory the peer hears of a shut window, and its probes ask again later (Linux's ICSK_ACK_NOMEM)."""
    receiver.host.counters.add("TCPRcvQDrop")
    _refuse(receiver, Drop.NO_MEMORY)
    receiver.acks.no_memory = is_refused
    receiver.owed.add(OWE_ACK)


def event_data_received(receiver: Receiver, segment: Segment, charge: int, now: int) -> None:
    """Text arrived in order, whose buffer takes ``charge`` bytes: steer the delayed-ACK engine, the window
    (Linux's tcp_event_data_recv)."""
    receiver.acks.scheduled = True
    if segment.has_ts:
        window.measure_rtt_by_timestamp(receiver, segment, now)
    _measure_rcv_mss(receiver, segment, charge)
    window.measure_rtt(receiver, now)
    if receiver.acks.ato == 0:
        receiver.add_quickacks(MAX_QUICKACKS)
        receiver.acks.ato = ATO_MIN
    else:
        gap = now - receiver.last_text_at
        if gap <= ATO_MIN // 2:
            receiver.acks.ato = receiver.acks.ato // 2 + ATO_MIN // 2
        elif gap < receiver.acks.ato:
            receiver.acks.ato = min(receiver.acks.ato // 2 + gap, receiver.rtt.rto)
        elif gap > receiver.rtt.rto:
            receiver.add_quickacks(MAX_QUICKACKS)
    receiver.last_text_at = now
    _take_ecn(receiver, segment)
    if segment.payload_length >= 128:
        window.grow(receiver, segment, charge)


def _take_ecn(receiver: Receiver, segment: Segment) -> None:
    """The ECN field of text that is taken."""
    if receiver.ecn.on and receiver.ecn.take_text(segment.tos):
        receiver.enter_quickack(2)


def _measure_rcv_mss(receiver: Receiver, segment: Segment, charge: int) -> None:
    """Estimate the peer's full segment; remember that a short one came (Linux's tcp_measure_rcv_mss).

    Where two in a row are as long as each other, that is its length now."""
    size = segment.segment_size
    last = receiver.last_size
    receiver.last_size = 0
    if size >= receiver.rcv_mss:
        if size != receiver.rcv_mss:
            window.measure_ratio(receiver, segment.payload_length, charge)
        receiver.rcv_mss = min(size, receiver.text_of_segment())
        if segment.payload_length % size and segment.flags & PSH:
            receiver.acks.pushed = 1
    else:
        if size >= DEFAULT_MSS_V4 or (size >= MIN_MSS and not segment.flags & (PSH | FIN | URG)):
            receiver.last_size = size
            if size == last:
                receiver.rcv_mss = size
                return
        receiver.acks.pushed = 2 if receiver.acks.pushed else 1


def take_fin(receiver: Receiver, fin_seq: int, now: int) -> None:
    """The peer's FIN has sequence number ``fin_seq`` (step eight); out of order it marks the end, and is sacked."""
    if fin_seq < receiver.rcv_nxt:  # once more (our ACK was lost), or a number that was text
        ack_policy.arrived_again(receiver, fin_seq)
        return
    if receiver.fin_received:
        return
    if receiver.rcv_fin < 0 or fin_seq < receiver.rcv_fin:
        receiver.rcv_fin = fin_seq
    if fin_seq > receiver.rcv_nxt:
        sack.remember_block(receiver, fin_seq)
        receiver.totals.ooo_segs += 1
        receiver.acks.scheduled = True


def take_end(receiver: Receiver, may_wait: bool) -> bool:
    """All before the FIN is here: the stream ends. True: just now. ``may_wait``: our own FIN may carry the ACK."""
    if receiver.fin_received or receiver.rcv_fin < 0 or receiver.rcv_nxt != receiver.rcv_fin:
        return False
    receiver.rcv_nxt += 1
    receiver.totals.bytes_received += 1  # as Linux counts
    receiver.fin_received = True
    receiver.dsack = None  # as in Linux's tcp_fin
    if receiver.receive_ring.has_gap():  # text beyond the end of the stream is none
        receiver.receive_ring.prune()
        receiver.queue.forget_beyond()
        receiver.recent_blocks.clear()
    receiver.acks.scheduled = True
    if may_wait:
        receiver.acks.pingpong = receiver.host.settings.tcp_pingpong_thresh
    else:
        receiver.owed.add(OWE_ACK)
    return True
