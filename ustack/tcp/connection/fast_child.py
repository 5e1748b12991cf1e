"""The server's side of Fast Open (RFC 7413 section 4.2.2): a child that is open before its third ACK.

Linux's ``tcp_try_fastopen``, and the Fast Open branches of ``tcp_check_req``, ``tcp_rcv_state_process`` and the
retransmission timer. Until the third ACK the child repeats its SYN-ACK by a timer of its own.
"""

from __future__ import annotations

from ustack.drops import Drop
from ustack.events import EventKind
from ustack.seqnum import unwrap, wrap
from ustack.sockopts import SocketOptions
from ustack.tcp import fastopen
from ustack.tcp.connection import closing, keepalive
from ustack.tcp.connection.fast_open import take_syn_text
from ustack.tcp.connection.tcb import Tcb
from ustack.tcp.fastopen import FastOpen, FastOpenQueue
from ustack.tcp.owed import OWE_ACK, OWE_SYN
from ustack.tcp.receiver import ack_policy, window
from ustack.tcp.sender import acks, buffer, loss, opening, timeouts
from ustack.tcp.state import Input, State
from ustack.tcp.tcphost import TcpHost
from ustack.tcp.timers import LossTimer
from ustack.units import SECOND
from ustack.wire.frame import Segment, Transmit
from ustack.wire.tcp import ACK, FIN, RST, SYN, parse_options


class Judgement:
    """What a listener does about a SYN: open at once, and with which option in its SYN-ACK."""

    def __init__(self, opens: bool, cookie: bytes = b"", is_experimental: bool = False) -> None:
        self.opens = opens
        self.cookie = cookie
        self.is_experimental = is_experimental

    def option(self, taken: int) -> bytes:
        """The option for a SYN-ACK that has ``taken`` bytes of options."""
        return fastopen.encode_answer(self.cookie, self.is_experimental, taken) if self.cookie else b""


def judge(host: TcpHost, queue: FastOpenQueue, options: SocketOptions, segment: Segment, now: int) -> Judgement:
    """A SYN for a listener (Linux's tcp_try_fastopen)."""
    found = parse_options(segment.options)
    cookie = fastopen.cookie_in(found)
    allowed = host.settings.tcp_fastopen
    if cookie == b"":
        host.counters.add("TCPFastOpenCookieReqd")
    if not allowed & fastopen.SERVER or not (segment.payload_length or cookie is not None):
        return Judgement(False)
    if not options.fastopen_qlen:
        return Judgement(False)
    if not queue.has_room(options.fastopen_qlen, now):
        host.counters.add("TCPFastOpenListenOverflow")
        return Judgement(False)
    if allowed & fastopen.SERVER_NO_COOKIE or options.fastopen_no_cookie:
        return Judgement(True)
    return _judge_cookie(host, options, segment, cookie, found.fastopen_experimental)


def _judge_cookie(
    host: TcpHost, options: SocketOptions, segment: Segment, cookie: bytes | None, is_experimental: bool
) -> Judgement:
    if cookie is None:
        return Judgement(False)
    valid = [fastopen.cookie_for(key, segment.key) for key in host.fast_open.keys(host.settings, options)]
    ours = valid[0] if valid else b""
    if cookie and cookie not in valid:
        host.counters.add("TCPFastOpenPassiveFail")
    elif cookie and cookie != ours:  # the key before: the client learns today's
        host.counters.add("TCPFastOpenPassiveAltKey")
        return Judgement(True, ours, is_experimental)
    elif cookie:
        return Judgement(True)
    return Judgement(False, ours, is_experimental)


def open_child(tcb: Tcb, segment: Segment, queue: FastOpenQueue, judgement: Judgement, now: int) -> None:
    """A listener's SYN becomes this connection before its third ACK (Linux's tcp_fastopen_create_child).

    The SYN-ACK has no place in the sequence of what is sent: it is repeated by a timer of its own."""
    record = FastOpen()
    record.queue = queue
    record.is_child = True
    tcb.fast_open = record
    queue.enter()
    opening.open_early(tcb.sender, segment.window)
    window.establish(tcb.receiver, now)
    keepalive.restart(tcb, now)
    record.syn_window = min(tcb.receiver.rcv_wnd, 65535)
    take_syn_text(tcb, segment)
    record.cookie = judgement.cookie or None
    record.is_experimental = judgement.is_experimental
    record.answered_at = now
    tcb.timers.arm_loss(LossTimer.SYN_ACK, now + SECOND)
    tcb.owed.add(OWE_SYN)
    tcb.host.counters.add("TCPFastOpenPassive")


def syn_ack(tcb: Tcb, now: int) -> Transmit:
    """The SYN-ACK of a child, for the first time or again."""
    record = tcb.fast_open
    assert record is not None
    tcb.owed.drop(OWE_SYN)
    flags = SYN | ACK | tcb.ecn.syn_ack_flags(record.resends)
    with_ecn = tcb.ecn.accurate and record.resends == 0 and tcb.host.settings.tcp_ecn_option != 0
    transmit = tcb.emitter.syn(tcb.sender.iss, flags, tcb.agreed, with_ecn, now)
    if record.cookie is not None:
        transmit.options += fastopen.encode_answer(record.cookie, record.is_experimental, len(transmit.options))
        record.cookie = None
    transmit.window = record.syn_window
    return transmit


def syn_ack_due(tcb: Tcb, now: int) -> None:
    """Nobody answered the SYN-ACK (Linux's tcp_fastopen_synack_timer)."""
    record = tcb.fast_open
    assert record is not None
    sender = tcb.sender
    settings = tcb.host.settings
    tcb.host.counters.add("TCPTimeouts")
    most = tcb.options.syncnt or settings.tcp_synack_retries + 1
    if record.resends >= most:
        closing.time_out(tcb, now)
        return
    if sender.retransmits == 1:
        loss.enter_loss(sender, now)
    _repeat_syn_ack(tcb)
    record.resends += 1
    timeouts.count_timeout(sender, now)
    tcb.timers.arm_loss(LossTimer.SYN_ACK, now + min(SECOND << record.resends, settings.rto_max))


def _repeat_syn_ack(tcb: Tcb) -> None:
    tcb.host.counters.add("TcpRetransSegs")
    tcb.host.counters.add("TCPSynRetrans")
    opening.syn_ack_again(tcb.sender)
    tcb.syn_resends += 1
    tcb.owed.add(OWE_SYN)


def check_request(tcb: Tcb, segment: Segment, now: int) -> bool | None:
    """A segment for a child that waits for its third ACK (Linux's tcp_check_req). None: it goes on to the steps of a
    connection. Else it is done with, and True says that a RST answers it."""
    receiver = tcb.receiver
    flags = segment.flags
    behind = 0
    if segment.has_ts and tcb.agreed.ts_on:
        behind = (receiver.ts_recent - segment.ts_val) & 0xFFFFFFFF
    is_old = 0 < behind < 0x80000000
    if segment.seq == wrap(receiver.irs) and flags & (SYN | ACK | RST | FIN) == SYN and not is_old:
        tcb.host.counters.drop(Drop.REQUEST_REPEATED)
        if _take_turn(tcb, segment, now):
            _repeat_syn_ack(tcb)
        return False
    if is_old or not _is_in_window(tcb, segment):
        _refuse(tcb, segment, is_old, now)
        return False
    if segment.seq == wrap(receiver.irs):
        flags &= ~SYN
    return _judge_flags(tcb, segment, flags, now)


def _refuse(tcb: Tcb, segment: Segment, is_old: bool, now: int) -> None:
    """Old, or out of the window: an ACK answers."""
    tcb.host.counters.drop(Drop.PAWS if is_old else Drop.BEYOND_WINDOW)
    if is_old:
        tcb.host.counters.add("PAWSEstab")
    if not segment.flags & RST and _take_turn(tcb, segment, now):
        tcb.owed.add(OWE_ACK)


def _judge_flags(tcb: Tcb, segment: Segment, flags: int, now: int) -> bool | None:
    if flags & RST:
        return _take_rst(tcb, segment, now)
    if flags & SYN:  # an outsider's, perhaps: the connection stays
        return True
    if not flags & ACK:
        tcb.host.counters.drop(Drop.NO_ACK)
        return False
    return None


def _take_rst(tcb: Tcb, segment: Segment, now: int) -> bool:
    if segment.seq != wrap(tcb.receiver.rcv_nxt):  # RFC 5961 section 3.2
        tcb.host.counters.drop(Drop.RST_CHALLENGED)
        tcb.owed.add(OWE_ACK)
        return False
    leave_queue(tcb, True, now)
    closing.reset(tcb, now)
    return False


def _take_turn(tcb: Tcb, segment: Segment, now: int) -> bool:
    """A repeated SYN or an ACK out of window is to be answered. False: one was, less than tcp_invalid_ratelimit ago."""
    if segment.payload_length and not segment.flags & SYN:
        return True
    if ack_policy.take_turn(tcb.receiver, now):
        return True
    tcb.host.counters.add("TCPACKSkippedSynRecv")
    return False


def _is_in_window(tcb: Tcb, segment: Segment) -> bool:
    """Linux's tcp_in_window: it begins inside, or it is a probe at the right edge, or some of it reaches in."""
    receiver = tcb.receiver
    seq = unwrap(segment.seq, receiver.rcv_nxt)
    end = seq + segment.payload_length + (1 if segment.flags & SYN else 0) + (1 if segment.flags & FIN else 0)
    left, right = receiver.rcv_nxt, receiver.rcv_nxt + receiver.rcv_wnd
    if seq == left:
        return True
    if end > left and seq < right:
        return True
    return seq == right and seq == end


def complete(tcb: Tcb, segment: Segment, now: int) -> bool:
    """The third ACK of a child. False: it acknowledges what was never sent, and a RST answers."""
    sender = tcb.sender
    record = tcb.fast_open
    assert record is not None
    ack = unwrap(segment.ack, sender.snd_una)
    if not sender.snd_una <= ack <= sender.snd_nxt:
        if tcb.state is State.SYN_RECEIVED:
            tcb.host.counters.drop(Drop.REQUEST_WRONG_ACK)
            return False
        return True
    was_opening = tcb.state is State.SYN_RECEIVED
    tcb.move(Input.SYN_ACKED, now)
    leave_queue(tcb, False, now)
    if was_opening:
        _settle(tcb, segment, ack, now)
    ts_ecr = segment.ts_ecr if segment.has_ts and tcb.agreed.ts_on and segment.ts_ecr else -1
    opening.early_is_over(sender, ts_ecr, now)
    if record.ends_after_handshake and was_opening:
        buffer.queue_fin(sender, False)
        tcb.move(Input.FIN_SENT, now)
    return True


def _settle(tcb: Tcb, segment: Segment, ack: int, now: int) -> None:
    """ESTABLISHED: the round trip, the scaled window; and who waits hears of it."""
    sender = tcb.sender
    record = tcb.fast_open
    assert record is not None
    if ack == sender.snd_una:
        opening.measure_syn_ack(sender, segment, -1 if tcb.syn_resends else now - record.answered_at, now)
    opening.third_ack(sender, now)
    acks.expect_window_of(sender, unwrap(segment.seq, tcb.receiver.rcv_nxt) - 1)
    tcb.host.tell(EventKind.ESTABLISHED, tcb)
    tcb.host.tell(EventKind.WRITABLE, tcb)


def leave_queue(tcb: Tcb, by_reset: bool, now: int) -> None:
    """The handshake is over, one way or the other (Linux's reqsk_fastopen_remove)."""
    record = tcb.fast_open
    if record is None or record.queue is None:
        return
    queue, record.queue = record.queue, None
    queue.leave(by_reset and not tcb.in_accept_queue, now)
    tcb.timers.stop_syn_ack()
