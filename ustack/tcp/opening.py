"""How connections begin: the active open, SYN-SENT, the simultaneous open, the last step of every handshake."""

from __future__ import annotations

from ustack.drops import Drop
from ustack.seqnum import unwrap
from ustack.tcp import acks, delivery, ending, keepalive, options, sendbuffer, window
from ustack.tcp.constants import DEFAULT_MSS_V4, JIFFY
from ustack.tcp.events import EventKind
from ustack.tcp.options import SynOptions
from ustack.tcp.state import Input
from ustack.tcp.tcb import Tcb
from ustack.tcp.timers import LossTimer
from ustack.wire.frame import Segment
from ustack.wire.tcp import ACK, CWR, ECE, FIN, RST, SYN, TcpOptions, parse_options


class HandshakeRecord:
    """What a listener keeps of a SYN (``listener.Request`` fills it)."""

    def __init__(self, irs: int, iss: int, offer: SynOptions) -> None:
        self.irs = irs
        self.iss = iss
        self.offer = offer
        """What we agreed to: scale, SACK and timestamps of the peer's SYN that our settings allow."""
        self.rcv_wscale = 0
        self.ts_recent = max(offer.ts_val, 0)
        self.ts_offset = 0
        self.ecn = False
        self.resends = 0
        """How often the timer was due."""
        self.again = 0
        """SYN-ACKs but the first: the timer's, and answers to repeated SYNs."""
        self.answered_at = 0
        """When the (last) SYN-ACK left, ns; -1: a cookie does not tell."""


def prepare(tcb: Tcb, mtu: int, now: int) -> None:
    """What both kinds of open share: our MSS, our first window, our clock's offset."""
    tcb.path_mtu = mtu
    tcb.advertised_mss = options.own_mss(tcb)
    tcb.rcv_mss = min(DEFAULT_MSS_V4, tcb.advertised_mss)
    tcb.snd_mss = tcb.advertised_mss
    if tcb.env.settings.tcp_timestamps == 1:
        tcb.ts_offset = tcb.env.isn.timestamp_offset(tcb.key)
    tcb.congestion = options.make_control(tcb)
    window.open_initial(tcb)


def open_actively(tcb: Tcb, mtu: int, now: int) -> None:
    """connect(): a SYN with ISS leaves (RFC 9293 section 3.10.1)."""
    prepare(tcb, mtu, now)
    tcb.env.counters.add("TcpActiveOpens")
    tcb.ecn_asked = tcb.env.settings.tcp_ecn == 1
    tcb.move(Input.SYN_SENT, now)
    tcb.syn_owed = True


def in_syn_sent(tcb: Tcb, segment: Segment, now: int) -> bool:
    """RFC 9293 section 3.10.7.3. True: a RST answers the segment."""
    has_ack = bool(segment.flags & ACK)
    if has_ack:
        ack = unwrap(segment.ack, tcb.snd_una)
        is_wrong = ack <= tcb.iss or ack > tcb.snd_nxt
        if is_wrong or not _echo_is_ours(tcb, segment, now):
            if is_wrong and tcb.retransmits == 0:  # our RST ends what the peer still remembers: try again (Linux)
                tcb.timers.arm_loss(LossTimer.RTO, now + 2 * JIFFY)
            tcb.env.counters.drop(Drop.SYN_SENT_ACK)
            return not segment.flags & RST
    if segment.flags & RST:
        if has_ack:
            ending.reset(tcb, now)
        else:
            tcb.env.counters.drop(Drop.SYN_SENT_RST)
        return False
    if not segment.flags & SYN:
        tcb.env.counters.drop(Drop.SYN_SENT_NO_SYN)
        return False
    take_offer(tcb, segment, parse_options(segment.options), now)
    if has_ack:
        tcb.ecn_on = tcb.ecn_asked and segment.flags & (ECE | CWR) == ECE
        _answered(tcb, segment, now)
    else:
        tcb.simultaneous = True
        tcb.ecn_on = segment.flags & (ECE | CWR) == ECE | CWR and tcb.env.settings.tcp_ecn > 0
        tcb.move(Input.SYN_RECEIVED, now)
        tcb.snd_wnd = segment.window
        tcb.max_window = tcb.snd_wnd
        tcb.syn_owed = True
    return False


def _echo_is_ours(tcb: Tcb, segment: Segment, now: int) -> bool:
    """The SYN-ACK echoes a timestamp of this connection's SYNs (Linux's PAWSActive)."""
    if not segment.has_ts or segment.ts_ecr == 0:
        return True
    newest = tcb.env.timestamp(tcb.ts_offset, now)
    oldest = tcb.env.timestamp(tcb.ts_offset, tcb.created_at)
    if (newest - segment.ts_ecr) & 0xFFFFFFFF <= (newest - oldest) & 0xFFFFFFFF:
        return True
    tcb.env.counters.add("PAWSActive")
    return False


def take_offer(tcb: Tcb, segment: Segment, offer: TcpOptions, now: int) -> None:
    """The peer's SYN: its ISN, its options, its first window (never scaled)."""
    tcb.irs = segment.seq
    tcb.rcv_nxt = segment.seq + 1
    tcb.rcv_wup = tcb.rcv_nxt
    tcb.last_ack_sent = tcb.rcv_nxt
    offer.has_ts = segment.has_ts
    options.accept_offer(tcb, offer)
    if tcb.ts_on:
        tcb.ts_recent = segment.ts_val
        tcb.ts_recent_at = now
    window.settle_scale(tcb)
    tcb.snd_wl1 = segment.seq


def _answered(tcb: Tcb, segment: Segment, now: int) -> None:
    """The SYN-ACK: ESTABLISHED, and its ACK (RFC 9293 section 3.10.7.3, fourth)."""
    tcb.move(Input.SYN_ACKED, now)
    acks.take_syn_ack(tcb, segment, now)
    establish(tcb, now)
    tcb.ack_now = True
    if segment.payload_length:
        delivery.take_text(tcb, segment, tcb.irs + 1, now)
    if segment.flags & FIN:
        delivery.take_fin(tcb, tcb.irs + 1 + segment.payload_length, now)


def take_request(tcb: Tcb, request: HandshakeRecord, now: int) -> None:
    """A listener's request becomes this connection: SYN and SYN-ACK have crossed (the ACK is processed next)."""
    offer = request.offer
    tcb.irs = request.irs
    tcb.rcv_nxt = request.irs + 1
    tcb.rcv_wup = tcb.rcv_nxt
    tcb.last_ack_sent = tcb.rcv_nxt
    tcb.snd_wl1 = request.irs
    tcb.ts_offset = request.ts_offset
    agreed = TcpOptions()
    agreed.mss = offer.mss
    agreed.wscale = offer.wscale
    agreed.sack_permitted = offer.sack
    agreed.has_ts = offer.ts_val >= 0
    options.accept_offer(tcb, agreed)
    if tcb.ts_on:
        tcb.ts_recent = request.ts_recent
        tcb.ts_recent_at = now
    tcb.rcv_wscale = request.rcv_wscale
    window.settle_scale(tcb)
    tcb.ecn_on = request.ecn
    tcb.syn_resends = request.again
    tcb.bytes_acked = -1  # the SYN of a passive open is not counted, the peer's is (Linux)
    tcb.total_segs_in = 1
    answered_at = request.answered_at if request.answered_at >= 0 else now
    tcb.board.sent(tcb.iss, tcb.iss + 1, answered_at)
    if request.again or request.answered_at < 0:  # Karn: no round trip is measured by this one
        tcb.board.mark_all_lost()
        tcb.board.resent(tcb.iss, tcb.iss + 1, answered_at)
        tcb.board.total_retrans = request.again
    tcb.snd_nxt = tcb.iss + 1


def complete(tcb: Tcb, segment: Segment, now: int) -> bool:
    """SYN-RECEIVED and an ACK: ESTABLISHED if it acknowledges our SYN (section 3.10.7.4, fifth).

    False: it does not, and a RST answers."""
    ack = unwrap(segment.ack, tcb.snd_una)
    if not tcb.snd_una < ack <= tcb.snd_nxt:
        tcb.env.counters.drop(Drop.REQUEST_WRONG_ACK)
        return False
    tcb.move(Input.SYN_ACKED, now)
    tcb.snd_wl1 = unwrap(segment.seq, tcb.rcv_nxt) - 1
    establish(tcb, now)
    if tcb.fin_queued:
        tcb.move(Input.FIN_SENT, now)
    return True


def establish(tcb: Tcb, now: int) -> None:
    """Both SYNs are acknowledged: buffers, congestion control and keepalive begin (Linux's tcp_init_transfer)."""
    settings = tcb.env.settings
    options.settle_mss(tcb)
    tcb.congestion = options.make_control(tcb)
    if tcb.syn_resends > 1:
        tcb.congestion.cwnd = tcb.snd_mss  # RFC 5681 section 3.1, once more than one SYN was lost (Linux)
    if tcb.rtt.srtt == 0:
        tcb.rtt.fall_back()
    tcb.retransmits = 0
    tcb.probes_out = 0
    tcb.retrans_since = 0
    tcb.rcv_space = min(tcb.rcv_wnd, settings.tcp_init_cwnd * tcb.advertised_mss)
    tcb.small_sent = tcb.snd_una
    sendbuffer.grow(tcb)
    keepalive.restart(tcb, now)
    tcb.env.tell(EventKind.ESTABLISHED, tcb)
    tcb.env.tell(EventKind.WRITABLE, tcb)
