"""How connections begin: the active open, SYN-SENT, the simultaneous open, the last step of every handshake."""

from __future__ import annotations

from ustack.drops import Drop
from ustack.events import EventKind
from ustack.seqnum import unwrap
from ustack.tcp import agreed
from ustack.tcp.connection import closing, fast_child, fast_open, keepalive
from ustack.tcp.connection.tcb import Tcb
from ustack.tcp.constants import JIFFY
from ustack.tcp.owed import OWE_SYN
from ustack.tcp.receiver import ack_policy, segments, window
from ustack.tcp.requests import Request
from ustack.tcp.sender import acks, opening
from ustack.tcp.state import Input
from ustack.tcp.timers import LossTimer
from ustack.wire.frame import Segment
from ustack.wire.tcp import ACK, FIN, RST, SYN, TcpOptions, parse_options


def prepare(tcb: Tcb, mtu: int, now: int) -> None:
    """What both kinds of open share: our MSS, our first window, our clock's offset."""
    announced = opening.prepare(tcb.sender, mtu)
    offset = tcb.host.isn.timestamp_offset(tcb.flow.key) if tcb.host.settings.tcp_timestamps == 1 else 0
    tcb.agreed.announce(announced, window.open_initial(tcb.receiver, announced), offset)


def open_actively(tcb: Tcb, mtu: int, now: int) -> None:
    """connect(): a SYN with ISS leaves (RFC 9293 section 3.10.1)."""
    prepare(tcb, mtu, now)
    tcb.host.counters.add("TcpActiveOpens")
    tcb.ecn.ask(tcb.host.settings)
    tcb.offer = our_offer(tcb)
    if not tcb.options.quickack:
        ack_policy.expect_answers(tcb.receiver)
    tcb.move(Input.SYN_SENT, now)
    tcb.owed.add(OWE_SYN)
    if tcb.options.fastopen_connect:
        fast_open.begin_later(tcb, now)


def in_syn_sent(tcb: Tcb, segment: Segment, now: int) -> bool:
    """RFC 9293 section 3.10.7.3. True: a RST answers the segment."""
    has_ack = bool(segment.flags & ACK)
    if has_ack:
        ack = unwrap(segment.ack, tcb.sender.snd_una)
        is_wrong = ack <= tcb.sender.iss or ack > tcb.sender.snd_nxt
        if is_wrong or not _echo_is_ours(tcb, segment, now):
            if is_wrong and tcb.sender.retransmits == 0 and not tcb.waits_for_write():
                # our RST ends what the peer still remembers: try again (Linux)
                tcb.timers.arm_loss(LossTimer.RTO, now + 2 * JIFFY)
            tcb.host.counters.drop(Drop.SYN_SENT_ACK)
            return not segment.flags & RST
    if segment.flags & RST:
        if has_ack:
            closing.reset(tcb, now)
        else:
            tcb.host.counters.drop(Drop.SYN_SENT_RST)
        return False
    if not segment.flags & SYN:
        tcb.host.counters.drop(Drop.SYN_SENT_NO_SYN)
        return False
    found = parse_options(segment.options)
    take_offer(tcb, segment, found, now)
    if has_ack:
        tcb.ecn.take_syn_ack(segment.flags, segment.tos)
        if tcb.ecn.accurate and found.accecn_kind >= 0:
            tcb.ecn.take_option(found.accecn_kind, found.accecn, 0)
        _answered(tcb, segment, found, now)
    else:
        tcb.simultaneous = True
        tcb.ecn.take_syn(segment.flags, segment.tos)
        tcb.move(Input.SYN_RECEIVED, now)
        acks.take_first_window(tcb.sender, segment.window)
        tcb.answers_syn = True
        tcb.owed.add(OWE_SYN)
    return False


def _echo_is_ours(tcb: Tcb, segment: Segment, now: int) -> bool:
    """The SYN-ACK echoes a timestamp of this connection's SYNs (Linux's PAWSActive)."""
    if not segment.has_ts or segment.ts_ecr == 0:
        return True
    newest = tcb.host.timestamp(tcb.agreed.ts_offset, now)
    oldest = tcb.host.timestamp(tcb.agreed.ts_offset, tcb.created_at)
    if (newest - segment.ts_ecr) & 0xFFFFFFFF <= (newest - oldest) & 0xFFFFFFFF:
        return True
    tcb.host.counters.add("PAWSActive")
    return False


def our_offer(tcb: Tcb) -> agreed.Agreed:
    """What our SYN offers."""
    own = tcb.agreed
    return agreed.our_offer(tcb.host.settings, own.advertised_mss, own.rcv_wscale, own.ts_offset)


def take_offer(tcb: Tcb, segment: Segment, offer: TcpOptions, now: int) -> None:
    """The peer's SYN, which answers ours or crosses it: its ISN, its options."""
    offer.has_ts = segment.has_ts
    begin(tcb, segment.seq, agreed.agree(tcb.offer, offer, tcb.flow.is_v4), segment.ts_val, now)


def begin(tcb: Tcb, irs: int, terms: agreed.Agreed, ts_val: int, now: int) -> None:
    """The peer's SYN had sequence number ``irs`` and, where timestamps are agreed upon, ``ts_val``."""
    tcb.agreed.become(terms)
    segments.begin(tcb.receiver, irs, ts_val, now)
    window.settle_scale(tcb.receiver)
    opening.take_syn(tcb.sender, irs)


def _answered(tcb: Tcb, segment: Segment, found: TcpOptions, now: int) -> None:
    """The SYN-ACK: ESTABLISHED, and its ACK (RFC 9293 section 3.10.7.3, fourth)."""
    tcb.move(Input.SYN_ACKED, now)
    acks.take_syn_ack(tcb.sender, segment, now)
    establish(tcb, now)
    segments.opened(tcb.receiver, 0, now)
    if tcb.fast_open is not None:
        fast_open.on_syn_ack(tcb, segment, found, now)
        return
    fast_open.acknowledge(tcb, now)
    if segment.payload_length or segment.flags & FIN:
        tcb.host.counters.drop(Drop.SYN_ACK_TEXT)  # left for their repetition, as Linux does


def take_request(tcb: Tcb, request: Request, now: int) -> None:
    """A listener's request becomes this connection: SYN and SYN-ACK have crossed (the ACK is processed next)."""
    begin(tcb, request.irs, request.agreed, request.ts_recent, now)
    window.was_offered(tcb.receiver, request.window)
    tcb.ecn.take_request(request.ecn, request.syn_ect)
    tcb.syn_resends = request.synack_resends
    tcb.saved_syn = request.saved_syn
    segments.opened(tcb.receiver, 1, now)
    answered_at = request.answered_at if request.answered_at >= 0 else now
    opening.syn_was_answered(
        tcb.sender, answered_at, request.synack_resends, request.synack_resends > 0 or request.answered_at < 0
    )


def complete(tcb: Tcb, segment: Segment, now: int) -> bool:
    """SYN-RECEIVED and an ACK: ESTABLISHED if it acknowledges our SYN (section 3.10.7.4, fifth).

    False: it does not, and a RST answers."""
    if tcb.fast_open is not None and tcb.fast_open.is_waiting():
        return fast_child.complete(tcb, segment, now)
    ack = unwrap(segment.ack, tcb.sender.snd_una)
    if not tcb.sender.snd_una < ack <= tcb.sender.snd_nxt:
        tcb.host.counters.drop(Drop.REQUEST_WRONG_ACK)
        return False
    tcb.move(Input.SYN_ACKED, now)
    if tcb.simultaneous:
        opening.crossing_syn_taken(tcb.sender)
    elif tcb.ecn.accurate:
        tcb.ecn.take_third_ack(segment.flags, segment.payload_length == 0)
    acks.expect_window_of(tcb.sender, unwrap(segment.seq, tcb.receiver.rcv_nxt) - 1)
    establish(tcb, now)
    if tcb.sender.fin_queued:
        tcb.move(Input.FIN_SENT, now)
    return True


def establish(tcb: Tcb, now: int) -> None:
    """Both SYNs are acknowledged: buffers, congestion control and keepalive begin (Linux's tcp_init_transfer)."""
    opening.establish(tcb.sender, tcb.syn_resends > 1)
    window.establish(tcb.receiver, now)
    window.guess_rcv_mss(tcb.receiver, tcb.sender.snd_mss)
    keepalive.restart(tcb, now)
    tcb.host.tell(EventKind.ESTABLISHED, tcb)
    tcb.host.tell(EventKind.WRITABLE, tcb)
