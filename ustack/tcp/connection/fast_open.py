"""The client's side of Fast Open (RFC 7413 section 4.2.1): text in the first SYN, and what its answer says of it.

Linux's ``tcp_send_syn_data``, ``tcp_rcv_fastopen_synack`` and black-hole detection. What is kept stands in
:mod:`ustack.tcp.fastopen`, the server's side in ``fast_child.py``.
"""

from __future__ import annotations

from ustack.events import EventKind
from ustack.tcp import fastopen
from ustack.tcp.connection import contents, icmp_errors
from ustack.tcp.connection.tcb import Tcb
from ustack.tcp.fastopen import FastOpen
from ustack.tcp.owed import OWE_ACK, OWE_SYN
from ustack.tcp.receiver import ack_policy, segments
from ustack.tcp.sender import opening
from ustack.tcp.state import State
from ustack.wire.address import is_loopback
from ustack.wire.frame import Segment, Transmit
from ustack.wire.tcp import FIN, MAX_OPTIONS, TcpOptions

# The client


def begin_later(tcb: Tcb, now: int) -> None:
    """TCP_FASTOPEN_CONNECT: with a cookie at hand the SYN waits for the first write; else it asks for one."""
    record = FastOpen()
    tcb.fast_open = record
    if _may_send_text(tcb, record, now):
        record.is_deferred = True
        tcb.owed.drop(OWE_SYN)


def begin(tcb: Tcb, data: memoryview, now: int) -> int:
    """MSG_FASTOPEN, or the first write after ``begin_later``: the SYN leaves, with so much of ``data``.

    None of it when the peer's SYN came first and was answered: text waits for the end of the handshake then."""
    if tcb.state is not State.SYN_SENT or tcb.sender.snd_nxt != tcb.sender.iss:
        end_wait(tcb)
        return 0
    record = tcb.fast_open or FastOpen()
    tcb.fast_open = record
    if record.is_deferred:
        record.is_deferred = False
        tcb.created_at = now
        tcb.owed.add(OWE_SYN)
    if _may_send_text(tcb, record, now):
        record.text_sent = tcb.sender.send_ring.write(data[: max(_room(tcb), 0)])
    tcb.touch()
    return record.text_sent


def end_wait(tcb: Tcb) -> None:
    """A SYN or SYN-ACK leaves, whoever asked for it: the first write is like any other from now on."""
    if tcb.fast_open is not None:
        tcb.fast_open.is_deferred = False


def _may_send_text(tcb: Tcb, record: FastOpen, now: int) -> bool:
    """A cookie is at hand, or none is asked for (Linux's tcp_fastopen_cookie_check). Decides on the SYN's option."""
    host = tcb.host
    peer = host.fast_open.peer(tcb.flow.key)
    record.cookie = b""
    record.client_fail = 0
    if peer is not None:
        record.cookie = peer.cookie
        record.is_experimental = peer.is_experimental if peer.cookie else peer.try_experiment == fastopen.TRY_EXPERIMENT
    if host.fast_open.is_paused(host.settings, now):
        record.cookie = None
        return False
    record.checks_path = host.fast_open.failures > 0 and host.settings.tcp_fastopen_blackhole_timeout_sec > 0
    if host.settings.tcp_fastopen & fastopen.CLIENT_NO_COOKIE or tcb.options.fastopen_no_cookie:
        record.cookie = None
        return True
    if not record.cookie:
        record.client_fail = fastopen.NO_COOKIE_YET
    return bool(record.cookie)


def _room(tcb: Tcb) -> int:
    """Text that fits the SYN: the peer's MSS as last seen, less all the options that middleboxes may add (Linux)."""
    peer = tcb.host.fast_open.peer(tcb.flow.key)
    mss = peer.mss if peer is not None and peer.mss else tcb.agreed.advertised_mss
    if tcb.options.maxseg:
        mss = min(mss, tcb.options.maxseg)
    mss = min(mss, tcb.sender.path.mtu - tcb.flow.header_bytes())
    return max(mss, tcb.host.settings.tcp_min_snd_mss) - MAX_OPTIONS


def fill_syn(tcb: Tcb, transmit: Transmit, now: int) -> None:
    """The first SYN leaves: its option, and its text. Resends carry neither (section 4.1.3.1)."""
    record = tcb.fast_open
    assert record is not None
    cookie, record.cookie = record.cookie, None
    if cookie is not None:
        option = fastopen.encode_answer(cookie, record.is_experimental, len(transmit.options))
        transmit.options += option
        record.option_sent = bool(option)
    if record.text_sent:
        opening.text_in_syn(tcb.sender, transmit, record.text_sent, now)


def on_syn_ack(tcb: Tcb, segment: Segment, found: TcpOptions, now: int) -> None:
    """The SYN-ACK to a SYN of ours: keep the cookie, see what became of the text (tcp_rcv_fastopen_synack)."""
    record = tcb.fast_open
    assert record is not None
    if record.option_sent or record.text_sent:
        unacked = record.text_sent and tcb.sender.snd_una < tcb.sender.iss + 1 + record.text_sent
        _remember(tcb, record, found, bool(unacked))
        if unacked:
            record.client_fail = fastopen.SYN_RESENT if tcb.syn_resends else fastopen.TEXT_NOT_ACKED
            tcb.host.counters.add("TCPFastOpenActiveFail")
            icmp_errors.resend_without_congestion(tcb, now)
            return  # what is sent again carries the ACK
        if record.text_sent:
            record.text_acked = True
            opening.syn_text_taken(tcb.sender)
            tcb.host.counters.add("TCPFastOpenActive")
        take_syn_text(tcb, segment)
        if segment.flags & FIN:
            contents.take_fin(tcb, tcb.receiver.rcv_nxt, now)
    acknowledge(tcb, now)


def acknowledge(tcb: Tcb, now: int) -> None:
    """The third ACK: at once, or with the text that is about to leave (Linux waits at most TCP_DELACK_MAX for it)."""
    has_writer = tcb.fast_open is not None and tcb.fast_open.writer_waits
    if not has_writer and not tcb.options.defer_accept_s and not tcb.receiver.in_pingpong():
        tcb.owed.add(OWE_ACK)
        return
    ack_policy.wait_for_text(tcb.receiver, now)


def _remember(tcb: Tcb, record: FastOpen, found: TcpOptions, unacked: bool) -> None:
    cookie = fastopen.cookie_in(found) if record.option_sent else None
    peer = tcb.host.fast_open.remember(tcb.flow.key)
    if tcb.agreed.peer_mss:
        peer.mss = tcb.agreed.peer_mss
    if cookie:
        peer.cookie = cookie
        peer.is_experimental = found.fastopen_experimental
    elif record.option_sent and not tcb.syn_resends and cookie is None and not record.text_sent:
        tried = fastopen.TRIED_BOTH if record.is_experimental else fastopen.TRY_EXPERIMENT
        if tried > peer.try_experiment and not peer.cookie:
            peer.try_experiment = tried


def take_syn_text(tcb: Tcb, segment: Segment) -> None:
    """Text that came with the peer's SYN or SYN-ACK: taken as it is; what answers next acknowledges it."""
    if not segment.payload_length:
        return
    segments.take_early(tcb.receiver, segment)
    if tcb.fast_open is not None:
        tcb.fast_open.text_acked = True
    tcb.host.tell(EventKind.READABLE, tcb)


# Black holes


def doubt_path(tcb: Tcb, gives_up: bool, now: int) -> None:
    """An RTO: at the third in a row middleboxes are suspected (tcp_fastopen_active_detect_blackhole)."""
    record = tcb.fast_open
    if record is None or not (record.option_sent or record.text_sent or record.text_acked):
        return
    timeouts = tcb.sender.retransmits
    if timeouts == 2 or (timeouts < 2 and gives_up):
        _pause(tcb, now)
        tcb.host.counters.add("TCPFastOpenActiveFail")


def doubt_rst(tcb: Tcb, now: int) -> None:
    """A RST out of order, before any text came."""
    record = tcb.fast_open
    if record is None or not record.option_sent or tcb.state is not State.ESTABLISHED:
        return
    if not tcb.receiver.totals.data_segs_in:
        _pause(tcb, now)


def on_end(tcb: Tcb, now: int) -> None:
    """The connection leaves: did a FIN come out of order and no text, or is the path good after all?"""
    record = tcb.fast_open
    if record is None or not record.option_sent:
        return
    receiver = tcb.receiver
    if not receiver.totals.data_segs_in:
        if receiver.rcv_fin > receiver.rcv_nxt and not receiver.fin_received:
            _pause(tcb, now)
    elif record.checks_path and not is_loopback(tcb.flow.remote_address):
        tcb.host.fast_open.trust_path()


def _pause(tcb: Tcb, now: int) -> None:
    if tcb.host.fast_open.pause(tcb.host.settings, now):
        tcb.host.counters.add("TCPFastOpenBlackhole")
