"""How connections begin: the active open, SYN-SENT, the simultaneous open, the last step of every handshake."""

from __future__ import annotations

from ustack.drops import Drop
from ustack.seqnum import unwrap
from ustack.tcp import options
from ustack.tcp.connection import closing, contents, keepalive
from ustack.tcp.connection.tcb import Tcb
from ustack.tcp.constants import DEFAULT_MSS_V4, JIFFY
from ustack.tcp.events import EventKind
from ustack.tcp.options import SynOptions
from ustack.tcp.owed import OWE_ACK, OWE_SYN
from ustack.tcp.receiver import window
from ustack.tcp.sender import acks, buffer, control, mss
from ustack.tcp.state import Input
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
    tcb.sender.path_mtu = mtu
    tcb.agreed.advertised_mss = mss.own_mss(tcb.sender)
    tcb.receiver.rcv_mss = min(DEFAULT_MSS_V4, tcb.agreed.advertised_mss)
    tcb.sender.snd_mss = tcb.agreed.advertised_mss
    if tcb.host.settings.tcp_timestamps == 1:
        tcb.agreed.ts_offset = tcb.host.isn.timestamp_offset(tcb.flow.key)
    tcb.sender.congestion = control.make_control(tcb.sender)
    window.open_initial(tcb.receiver)


def open_actively(tcb: Tcb, mtu: int, now: int) -> None:
    """connect(): a SYN with ISS leaves (RFC 9293 section 3.10.1)."""
    prepare(tcb, mtu, now)
    tcb.host.counters.add("TcpActiveOpens")
    tcb.ecn.asked = tcb.host.settings.tcp_ecn == 1
    tcb.move(Input.SYN_SENT, now)
    tcb.owed.add(OWE_SYN)


def in_syn_sent(tcb: Tcb, segment: Segment, now: int) -> bool:
    """RFC 9293 section 3.10.7.3. True: a RST answers the segment."""
    has_ack = bool(segment.flags & ACK)
    if has_ack:
        ack = unwrap(segment.ack, tcb.sender.snd_una)
        is_wrong = ack <= tcb.sender.iss or ack > tcb.sender.snd_nxt
        if is_wrong or not _echo_is_ours(tcb, segment, now):
            if (
                is_wrong and tcb.sender.retransmits == 0
            ):  # our RST ends what the peer still remembers: try again (Linux)
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
    take_offer(tcb, segment, parse_options(segment.options), now)
    if has_ack:
        tcb.ecn.on = tcb.ecn.asked and segment.flags & (ECE | CWR) == ECE
        _answered(tcb, segment, now)
    else:
        tcb.simultaneous = True
        tcb.ecn.on = segment.flags & (ECE | CWR) == ECE | CWR and tcb.host.settings.tcp_ecn > 0
        tcb.move(Input.SYN_RECEIVED, now)
        tcb.sender.snd_wnd = segment.window
        tcb.sender.max_window = tcb.sender.snd_wnd
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


def take_offer(tcb: Tcb, segment: Segment, offer: TcpOptions, now: int) -> None:
    """The peer's SYN: its ISN, its options, its first window (never scaled)."""
    tcb.receiver.irs = segment.seq
    tcb.receiver.rcv_nxt = segment.seq + 1
    tcb.receiver.rcv_wup = tcb.receiver.rcv_nxt
    tcb.receiver.last_ack_sent = tcb.receiver.rcv_nxt
    offer.has_ts = segment.has_ts
    options.accept_offer(tcb, offer)
    if tcb.agreed.ts_on:
        tcb.receiver.ts_recent = segment.ts_val
        tcb.receiver.ts_recent_at = now
    window.settle_scale(tcb.receiver)
    tcb.sender.snd_wl1 = segment.seq


def _answered(tcb: Tcb, segment: Segment, now: int) -> None:
    """The SYN-ACK: ESTABLISHED, and its ACK (RFC 9293 section 3.10.7.3, fourth)."""
    tcb.move(Input.SYN_ACKED, now)
    acks.take_syn_ack(tcb.sender, segment, now)
    establish(tcb, now)
    tcb.owed.add(OWE_ACK)
    if segment.payload_length:
        contents.take_text(tcb, segment, tcb.receiver.irs + 1, now)
    if segment.flags & FIN:
        contents.take_fin(tcb, tcb.receiver.irs + 1 + segment.payload_length, now)


def take_request(tcb: Tcb, request: HandshakeRecord, now: int) -> None:
    """A listener's request becomes this connection: SYN and SYN-ACK have crossed (the ACK is processed next)."""
    offer = request.offer
    tcb.receiver.irs = request.irs
    tcb.receiver.rcv_nxt = request.irs + 1
    tcb.receiver.rcv_wup = tcb.receiver.rcv_nxt
    tcb.receiver.last_ack_sent = tcb.receiver.rcv_nxt
    tcb.sender.snd_wl1 = request.irs
    tcb.agreed.ts_offset = request.ts_offset
    agreed = TcpOptions()
    agreed.mss = offer.mss
    agreed.wscale = offer.wscale
    agreed.sack_permitted = offer.sack
    agreed.has_ts = offer.ts_val >= 0
    options.accept_offer(tcb, agreed)
    if tcb.agreed.ts_on:
        tcb.receiver.ts_recent = request.ts_recent
        tcb.receiver.ts_recent_at = now
    tcb.agreed.rcv_wscale = request.rcv_wscale
    window.settle_scale(tcb.receiver)
    tcb.ecn.on = request.ecn
    tcb.syn_resends = request.again
    tcb.sender.totals.bytes_acked = -1  # the SYN of a passive open is not counted, the peer's is (Linux)
    tcb.receiver.totals.segs_in = 1
    answered_at = request.answered_at if request.answered_at >= 0 else now
    tcb.sender.scoreboard.sent(tcb.sender.iss, tcb.sender.iss + 1, answered_at)
    if request.again or request.answered_at < 0:  # Karn: no round trip is measured by this one
        tcb.sender.scoreboard.mark_all_lost()
        tcb.sender.scoreboard.resent(tcb.sender.iss, tcb.sender.iss + 1, answered_at)
        tcb.sender.scoreboard.total_retrans = request.again
    tcb.sender.snd_nxt = tcb.sender.iss + 1


def complete(tcb: Tcb, segment: Segment, now: int) -> bool:
    """SYN-RECEIVED and an ACK: ESTABLISHED if it acknowledges our SYN (section 3.10.7.4, fifth).

    False: it does not, and a RST answers."""
    ack = unwrap(segment.ack, tcb.sender.snd_una)
    if not tcb.sender.snd_una < ack <= tcb.sender.snd_nxt:
        tcb.host.counters.drop(Drop.REQUEST_WRONG_ACK)
        return False
    tcb.move(Input.SYN_ACKED, now)
    tcb.sender.snd_wl1 = unwrap(segment.seq, tcb.receiver.rcv_nxt) - 1
    establish(tcb, now)
    if tcb.sender.fin_queued:
        tcb.move(Input.FIN_SENT, now)
    return True


def establish(tcb: Tcb, now: int) -> None:
    """Both SYNs are acknowledged: buffers, congestion control and keepalive begin (Linux's tcp_init_transfer)."""
    settings = tcb.host.settings
    mss.settle_mss(tcb.sender)
    tcb.sender.congestion = control.make_control(tcb.sender)
    if tcb.syn_resends > 1:
        tcb.sender.congestion.cwnd = tcb.sender.snd_mss  # RFC 5681 section 3.1, once more than one SYN was lost (Linux)
    if tcb.sender.rtt.srtt == 0:
        tcb.sender.rtt.fall_back()
    tcb.sender.retransmits = 0
    tcb.sender.probes_out = 0
    tcb.sender.retrans_since = 0
    tcb.receiver.sizing.space = min(tcb.receiver.rcv_wnd, settings.tcp_init_cwnd * tcb.agreed.advertised_mss)
    tcb.sender.small_sent = tcb.sender.snd_una
    buffer.grow(tcb.sender)
    keepalive.restart(tcb, now)
    tcb.host.tell(EventKind.ESTABLISHED, tcb)
    tcb.host.tell(EventKind.WRITABLE, tcb)
