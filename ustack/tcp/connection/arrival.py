"""SEGMENT ARRIVES: RFC 9293 section 3.10.7 as a list of steps, one function each.

The order is the RFC's with Linux's and RFC 5961's additions (``tcp_validate_incoming``): timestamp,
sequence number, RST, SYN, ACK, URG, text, FIN. A short path for the segment that everybody expects stands before
it and does the same. What is refused is counted under one name of ``drops.py``; nothing here raises.
"""

from __future__ import annotations

import errno
from typing import Final

from ustack.drops import Drop
from ustack.events import EventKind
from ustack.seqnum import unwrap
from ustack.tcp.connection import closing, contents, fast_child, fast_open, handshake
from ustack.tcp.connection.tcb import Tcb
from ustack.tcp.constants import MAX_QUICKACKS, PAWS_IDLE, PAWS_WINDOW
from ustack.tcp.owed import OWE_ACK
from ustack.tcp.receiver import ack_policy, sack, segments, urgent
from ustack.tcp.sender import acks
from ustack.tcp.state import State, may_receive_text
from ustack.units import MILLISECOND
from ustack.wire.frame import Segment
from ustack.wire.tcp import ACK, CWR, FIN, PSH, RST, SYN, URG, TcpOptions, parse_options

_EXPECTED: Final = ~PSH
_NO_OPTIONS: Final = TcpOptions()
_AFTER_FIN: Final = frozenset({State.CLOSE_WAIT, State.LAST_ACK, State.CLOSING})


def on_segment(tcb: Tcb, segment: Segment, now: int) -> bool:
    """Take one segment (or run). True: the sender is owed a RST that names no connection of ours."""
    segments.count(tcb.receiver, segment)
    if tcb.state is State.SYN_SENT:
        return handshake.in_syn_sent(tcb, segment, now)
    if tcb.state is State.CLOSED:
        tcb.host.counters.drop(Drop.CLOSED)
        return True
    seq = unwrap(segment.seq, tcb.receiver.rcv_nxt)
    if (
        tcb.state is State.ESTABLISHED
        and segment.flags & _EXPECTED == ACK
        and seq == tcb.receiver.rcv_nxt
        and not segment.options
        and not tcb.ecn.accurate
        and not sack.has_gap(tcb.receiver)
        and segment.payload_length <= tcb.receiver.receive_window()
        and _ts_is_fresh(tcb, segment)
    ):
        return _take_expected(tcb, segment, seq, now)
    return _take_step_by_step(tcb, segment, seq, now)


def _take_expected(tcb: Tcb, segment: Segment, seq: int, now: int) -> bool:
    """In order, nothing special: the same as the steps, without their questions."""
    if not take_ack(tcb, segment, seq, _NO_OPTIONS, now):
        return False
    if segment.payload_length:
        contents.take_text(tcb, segment, seq, now)
        if tcb.receiver.rcv_fin >= 0:
            contents.fin_if_due(tcb, now)
        ack_policy.decide_ack(tcb.receiver, now)
    return False


def _take_step_by_step(tcb: Tcb, segment: Segment, seq: int, now: int) -> bool:
    offered = parse_options(segment.options) if segment.options else _NO_OPTIONS
    is_child = tcb.fast_open is not None and tcb.fast_open.is_waiting()
    if is_child:
        verdict = fast_child.check_request(tcb, segment, now)
        if verdict is not None:
            return verdict
    if not _is_acceptable(tcb, segment, seq, now):
        return False
    if segment.flags & SYN:
        ack_policy.arrived_again(tcb.receiver, seq)
        seq += 1
    if (is_child or tcb.state is State.SYN_RECEIVED) and not handshake.complete(tcb, segment, now):
        return True
    if not take_ack(tcb, segment, seq, offered, now):
        return False
    if closing.after_ack(tcb, now):
        return True
    if tcb.is_over():
        return False
    return _take_contents(tcb, segment, seq, now)


def take_ack(tcb: Tcb, segment: Segment, seq: int, offered: TcpOptions, now: int) -> bool:
    """Fifth: the ACK field. False: the segment is dropped.

    This is the last check that refuses a segment as a whole: nothing of it is remembered before."""
    if not acks.take_ack(tcb.sender, segment, seq, offered, now):
        ack_policy.challenge(tcb.receiver, now)
        return False
    if segment.has_ts and seq <= tcb.receiver.last_ack_sent and _is_current(tcb, segment):
        segments.store_timestamp(tcb.receiver, segment, now)
    return True


def _is_current(tcb: Tcb, segment: Segment) -> bool:
    """The ACK that was just taken was not overtaken by one that acknowledged more."""
    return (segment.ack - tcb.sender.snd_una) & 0xFFFFFFFF == 0


def _is_acceptable(tcb: Tcb, segment: Segment, seq: int, now: int) -> bool:
    """Steps one to four, and the flags that every segment needs."""
    if not segment.flags & (ACK | RST | SYN):
        tcb.host.counters.drop(Drop.FLAGLESS)
        return False
    if not check_timestamp(tcb, segment, seq, now) or not check_sequence(tcb, segment, seq, now):
        return False
    if not check_rst(tcb, segment, seq, now) or not check_syn(tcb, segment, seq, now):
        return False
    if not segment.flags & ACK:
        tcb.host.counters.drop(Drop.NO_ACK)
        return False
    return True


def _take_contents(tcb: Tcb, segment: Segment, seq: int, now: int) -> bool:
    """Steps six to eight. True: a RST answers."""
    if segment.flags & CWR and tcb.ecn.on and _is_current(tcb, segment):
        _take_cwr(tcb, segment)
    if tcb.ecn.accurate:
        _take_marks(tcb, segment)
    is_open = not tcb.receiver.fin_received  # behind the FIN nothing is urgent (RFC 9293 section 3.10.7.4, sixth)
    if segment.flags & URG and is_open and urgent.take_urgent(tcb.receiver, segment, seq):
        tcb.host.tell(EventKind.URGENT, tcb)
    if tcb.reads_no_more and _is_unwanted(tcb, segment, seq, now):
        return True
    is_taken = not segment.payload_length or check_text(tcb, segment, seq, now)
    if segment.flags & FIN and is_taken:
        contents.take_fin(tcb, seq + segment.payload_length, now)
    elif tcb.receiver.rcv_fin >= 0:
        contents.fin_if_due(tcb, now)
    ack_policy.decide_ack(tcb.receiver, now)
    return False


def _ts_is_fresh(tcb: Tcb, segment: Segment) -> bool:
    if not tcb.agreed.ts_on:
        return True
    return segment.has_ts and ((segment.ts_val - tcb.receiver.ts_recent) & 0xFFFFFFFF) < 0x80000000


def check_timestamp(tcb: Tcb, segment: Segment, seq: int, now: int) -> bool:
    """PAWS (RFC 7323 section 5.3, R1). A RST is exempt (section 5.2)."""
    if not (tcb.agreed.ts_on and segment.has_ts) or segment.flags & RST:
        return True
    behind = (tcb.receiver.ts_recent - segment.ts_val) & 0xFFFFFFFF
    if behind <= PAWS_WINDOW or behind >= 0x80000000 or tcb.receiver.ts_recent == 0:
        return True
    is_pure = segment.flags & ACK != 0 and sequence_length(segment) == 0
    if now - tcb.receiver.ts_recent_at > PAWS_IDLE or (is_pure and _is_disordered_ack(tcb, segment, seq, behind)):
        return True
    tcb.host.counters.drop(Drop.PAWS)
    if segment.flags & SYN:
        ack_policy.challenge(tcb.receiver, now)
    elif is_pure and seq < tcb.receiver.rcv_nxt:
        tcb.host.counters.add("PAWSOldAck")  # overtaken by text: every path that reorders makes such, none is answered
    else:
        tcb.host.counters.add("PAWSEstab")
        _answer_unacceptable(tcb, segment, seq, "TCPACKSkippedPAWS", now)
    return False


def _is_disordered_ack(tcb: Tcb, segment: Segment, seq: int, behind: int) -> bool:
    """A pure ACK that tells nothing new and is late by hardly more than an RTO (Linux's tcp_disordered_ack_check)."""
    ack = unwrap(segment.ack, tcb.sender.snd_una)
    return (
        seq == tcb.receiver.rcv_nxt
        and ack == tcb.sender.snd_una
        and not acks.may_update_window(tcb.sender, segment.window << tcb.agreed.snd_wscale, seq, ack)
        and behind * MILLISECOND * 10 <= tcb.sender.rtt.rto * 12
    )


def sequence_length(segment: Segment) -> int:
    """SEG.LEN: text, SYN and FIN."""
    length = segment.payload_length
    if segment.flags & SYN:
        length += 1
    if segment.flags & FIN:
        length += 1
    return length


def check_sequence(tcb: Tcb, segment: Segment, seq: int, now: int) -> bool:
    """First: some of the segment lies in the window (a zero window still takes ACKs and RSTs at its edge)."""
    end = seq + sequence_length(segment)
    right = tcb.receiver.rcv_nxt + tcb.receiver.receive_window()
    if end < tcb.receiver.rcv_wup:
        tcb.host.counters.drop(Drop.OLD_SEQUENCE)
    elif end <= right or _may_go_beyond(tcb, segment, seq, right):
        return True
    else:
        tcb.host.counters.drop(Drop.ZERO_WINDOW if right == tcb.receiver.rcv_nxt == seq else Drop.BEYOND_WINDOW)
        if not segment.flags & (RST | SYN):
            tcb.host.counters.add("BeyondWindow")
    if segment.flags & RST:
        if _rst_after_fin(tcb, seq):
            closing.reset(tcb, now)
    elif segment.flags & SYN:
        ack_policy.challenge(tcb.receiver, now)
    else:
        _answer_unacceptable(tcb, segment, seq, "TCPACKSkippedSeq", now)
    return False


def _may_go_beyond(tcb: Tcb, segment: Segment, seq: int, right: int) -> bool:
    """The segment ends beyond the right edge (Linux's tcp_sequence).

    A FIN may be all that does; text may where nothing waits to be read; of a run the segments before the edge may."""
    if seq + segment.payload_length <= right:
        return seq <= right
    if seq > right:
        return False
    queue_is_empty = tcb.receiver.receive_ring.readable() == 0 and not tcb.receiver.fin_received
    return queue_is_empty or _cut_run(tcb, segment, right - seq)


def _cut_run(tcb: Tcb, segment: Segment, room: int) -> bool:
    """Keep what of a run fits in ``room`` in whole segments. False: nothing does."""
    size = segment.segment_size
    if segment.segs < 2 or room < size:
        return False
    kept = room // size
    tcb.host.counters.drop(Drop.BEYOND_WINDOW, segment.segs - kept)
    tcb.host.counters.add("BeyondWindow", segment.segs - kept)
    segment.payload_length = kept * size
    segment.segs = kept
    segment.flags &= ~(FIN | PSH)
    tcb.owed.add(OWE_ACK)
    return True


def _rst_after_fin(tcb: Tcb, seq: int) -> bool:
    """A RST one behind rcv_nxt after the peer's FIN: some stacks count it so (Linux's tcp_reset_check)."""
    return tcb.receiver.fin_received and seq == tcb.receiver.rcv_nxt - 1 and tcb.state in _AFTER_FIN


def _answer_unacceptable(tcb: Tcb, segment: Segment, seq: int, skipped: str, now: int) -> None:
    """An ACK in reply (RFC 9293 section 3.10.7.4), pure ACKs at most twice a second (against ACK loops): the others
    count under the name ``skipped``."""
    if not segment.payload_length and not ack_policy.take_turn(tcb.receiver, now):
        tcb.host.counters.add(skipped)
        return
    end = seq + sequence_length(segment)
    if seq < tcb.receiver.rcv_nxt and end > seq:
        tcb.host.counters.add("DelayedACKLost")
        tcb.receiver.enter_quickack(MAX_QUICKACKS)
        sack.note_dsack(tcb.receiver, seq, min(end, tcb.receiver.rcv_nxt))
    ack_policy.repeat_ack(tcb.receiver)


def check_rst(tcb: Tcb, segment: Segment, seq: int, now: int) -> bool:
    """Second: a RST counts with exactly the next sequence number (RFC 5961 section 3.2)."""
    if not segment.flags & RST:
        return True
    if seq == tcb.receiver.rcv_nxt or _rst_after_fin(tcb, seq) or _rst_at_sack_edge(tcb, seq):
        closing.reset(tcb, now)
    else:
        tcb.host.counters.drop(Drop.RST_CHALLENGED)
        if tcb.fast_open is not None:
            fast_open.doubt_rst(tcb, now)
        ack_policy.challenge(tcb.receiver, now)
    return False


def _rst_at_sack_edge(tcb: Tcb, seq: int) -> bool:
    """The peer counts what we reported as received: the right edge of the last block is "next" for it."""
    if not tcb.agreed.sack_on:
        return False
    return sack.has_gap(tcb.receiver) and seq == sack.held_top(tcb.receiver)


def check_syn(tcb: Tcb, segment: Segment, seq: int, now: int) -> bool:
    """Fourth: no SYN is taken here (RFC 5961 section 4.2), but for the SYN-ACK of a simultaneous open."""
    if not segment.flags & SYN:
        return True
    if (
        tcb.state is State.SYN_RECEIVED
        and tcb.simultaneous
        and segment.flags & ACK
        and seq + 1 == tcb.receiver.rcv_nxt
        and unwrap(segment.ack, tcb.sender.snd_una) == tcb.sender.snd_nxt
    ):
        return True
    tcb.host.counters.add("TCPSYNChallenge")
    if tcb.state is State.ESTABLISHED:
        tcb.host.counters.add("TcpInErrs")  # Linux's syn_inerr
    tcb.host.counters.drop(Drop.SYN_CHALLENGED)
    ack_policy.challenge(tcb.receiver, now)
    return False


def _is_unwanted(tcb: Tcb, segment: Segment, seq: int, now: int) -> bool:
    """New text (or a FIN that tells of some) after close() or shutdown() of both ways: nobody can read it any more, and
    the peer gets a RST (RFC 9293 section 3.6.1)."""
    if tcb.state is not State.FIN_WAIT_1 and tcb.state is not State.FIN_WAIT_2:
        return False
    if seq + segment.payload_length <= tcb.receiver.rcv_nxt or sequence_length(segment) == 0:
        return False
    tcb.host.counters.add("TCPAbortOnData")
    tcb.host.counters.drop(Drop.DATA_AFTER_CLOSE)
    closing.give_up(tcb, errno.ECONNRESET, now)
    return True


def check_text(tcb: Tcb, segment: Segment, seq: int, now: int) -> bool:
    """Seventh: take the text where the state allows. False: it is refused, and the FIN behind it with it."""
    if may_receive_text(tcb.state) or seq + segment.payload_length <= tcb.receiver.rcv_nxt:  # before the FIN, once more
        return contents.take_text(tcb, segment, seq, now)
    tcb.host.counters.drop(Drop.BEYOND_FIN)
    return False


def _take_cwr(tcb: Tcb, segment: Segment) -> None:
    """The peer has reduced its window, and where it waits for every single ACK it waits for this one (Linux's
    tcp_ecn_accept_cwr)."""
    tcb.ecn.stop_echo()
    if segment.payload_length or segment.flags & FIN:
        tcb.owed.add(OWE_ACK)


def _take_marks(tcb: Tcb, segment: Segment) -> None:
    """Accurate ECN counts what came with CE, text or not, and tells so many at once (RFC 9768 section 3.2)."""
    tcb.ecn.take_packet(segment.tos, segment.segs, segment.payload_length)
    if tcb.ecn.wants_ack(segment.tos, segment.payload_length > 0):
        tcb.owed.add(OWE_ACK)
