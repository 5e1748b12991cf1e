"""A listener: the SYN queue of requests and the accept queue of connections (RFC 9293 section 3.10.7.2, listen(2)).

A request is a small record, as on Linux, and becomes a Connection when its third ACK arrives. The
application only takes connections from the accept queue: the handshake does not wait for accept().
"""

from __future__ import annotations

from collections import deque

from mypy_extensions import mypyc_attr

from ustack.drops import Drop
from ustack.events import Endpoint, EventKind
from ustack.seqnum import wrap
from ustack.sockopts import SocketOptions
from ustack.tcp import cookies, ecn, emit
from ustack.tcp.agreed import agree, our_offer
from ustack.tcp.connection import closing, fast_child, handshake
from ustack.tcp.connection.connection import Connection
from ustack.tcp.constants import TIMESTAMP_SPACE
from ustack.tcp.fastopen import FastOpenQueue
from ustack.tcp.flow import Flow
from ustack.tcp.receiver import window
from ustack.tcp.requests import Request, RequestTimes
from ustack.tcp.state import Input
from ustack.tcp.tcphost import TcpHost
from ustack.tcp.timers import Waiter
from ustack.units import MILLISECOND, SECOND
from ustack.wire.frame import Segment, Transmit
from ustack.wire.tcp import ACK, FIN, RST, SYN, TcpOptions, parse_options


@mypyc_attr(allow_interpreted_subclasses=True)
class ConnectionTable:
    """What a listener asks of the Stack that holds it. This one keeps nothing."""

    def mtu_to(self, destination: bytes, now: int) -> int:
        """Bytes of the largest IP packet that fits to ``destination``, as far as is known."""
        return 1500

    def adopt(self, connection: Connection) -> None:
        """A new connection is to be found from now on."""

    def forget_listener(self, listener: Listener) -> None:
        """Nobody listens there any more."""


class Listener(Endpoint, Waiter):
    """A passive open on ``address`` (16 bytes; all zero for any) and ``port``."""

    def __init__(
        self, host: TcpHost, table: ConnectionTable, address: bytes, port: int, backlog: int, options: SocketOptions
    ) -> None:
        super().__init__()
        self.queued_at = 0
        self.host = host
        self.table = table
        self.address = address
        self.port = port
        self.backlog = backlog
        self.options = options
        self.requests: dict[bytes, Request] = {}
        self._times = RequestTimes(self.requests)
        self.queue: deque[Connection] = deque()
        self.fast_open = FastOpenQueue()
        self.is_open = True
        self.deadline = 0
        self.cookies_sent_at = -1

    # The application's calls

    def accept(self, now: int) -> Connection | None:
        """The oldest established connection nobody took yet; None when there is none."""
        if not self.queue:
            return None
        connection = self.queue.popleft()
        connection.leave_queue()
        return connection

    def readable(self) -> bool:
        return bool(self.queue)

    def close(self, now: int) -> None:
        """No more connections; those that nobody accepted are reset (Linux's inet_csk_listen_stop)."""
        self.is_open = False
        self.requests.clear()
        self.deadline = 0
        while self.queue:
            connection = self.queue.popleft()
            connection.leave_queue()
            closing.abort(connection, now)
            connection.touch()
        self.table.forget_listener(self)

    def is_full(self) -> bool:
        """The accept queue holds more than the backlog (Linux's sk_acceptq_is_full: one more than asked for)."""
        return len(self.queue) > self.backlog

    # SYN

    def on_segment(self, segment: Segment, now: int) -> bool:
        """A segment for this port from a peer without request or connection. True: a RST answers it."""
        flags = segment.flags
        if flags & RST:
            self.host.counters.drop(Drop.LISTEN_RST)
            return False
        if flags & ACK:
            return not self._try_cookie(segment, now)
        if not flags & SYN:
            self.host.counters.drop(Drop.LISTEN_NO_SYN)
            return False
        if flags & FIN:
            self.host.counters.drop(Drop.LISTEN_FIN)
            return False
        self._take_syn(segment, None, now)
        return False

    def take_syn_with(self, segment: Segment, iss: int, now: int) -> None:
        """A SYN that TIME-WAIT lets through, with the ISN that it chose (RFC 6191)."""
        self._take_syn(segment, iss, now)

    def _take_syn(self, segment: Segment, iss: int | None, now: int) -> None:
        settings = self.host.settings
        wants_cookie = False
        if iss is None and (settings.tcp_syncookies == 2 or len(self.requests) > self.backlog):  # one more, as Linux
            if not settings.tcp_syncookies:
                self.host.counters.add("TCPReqQFullDrop")
                self._drop_syn()
                return
            self.host.counters.add("TCPReqQFullDoCookies")
            wants_cookie = True
        if self.is_full():
            self._overflow()
            return
        most = settings.tcp_max_syn_backlog
        if not wants_cookie and not settings.tcp_syncookies and most - len(self.requests) < most >> 2:
            self._drop_syn()
            return
        offer = parse_options(segment.options)
        offer.has_ts = segment.has_ts
        request = self._request_for(segment, offer, segment.seq, now)
        request.ecn = ecn.mode_of_syn(settings, segment.flags, segment.tos)
        request.syn_ect = segment.tos & ecn.CE
        if wants_cookie:
            self._send_cookie(request, now)
            return
        request.iss = self.host.isn.isn(segment.key, now) if iss is None else iss
        judgement = fast_child.judge(self.host, self.fast_open, self.options, segment, now)
        if judgement.opens:
            child = self._child(request, now)
            fast_child.open_child(child, segment, self.fast_open, judgement, now)
            self._enqueue(child)
            self.host.tell(EventKind.ACCEPTABLE, self)
            return
        self.requests[segment.key] = request
        try:
            self._times.watch(request)
        except MemoryError:
            self._remove(request)  # nobody would ever look at it
            raise
        self.deadline = self._times.earliest()
        self._send_syn_ack(request, now, -1, judgement)

    def _drop_syn(self) -> None:
        self.host.counters.add("ListenDrops")
        self.host.counters.drop(Drop.SYN_QUEUE_FULL)

    def _overflow(self) -> None:
        self.host.counters.add("ListenOverflows")
        self.host.counters.add("ListenDrops")
        self.host.counters.drop(Drop.ACCEPT_QUEUE_FULL)

    def _request_for(self, segment: Segment, offer: TcpOptions, irs: int, now: int) -> Request:
        """What we and the peer's SYN, with sequence number ``irs``, agree upon. The ISN is still to be chosen."""
        settings = self.host.settings
        flow = Flow(segment.key, self.options)
        mss = self._own_mss(flow, now)
        taken = TIMESTAMP_SPACE if offer.has_ts and settings.tcp_timestamps else 0
        first, scale = window.initial(settings, self.options, mss - taken)
        offset = self.host.isn.timestamp_offset(segment.key) if settings.tcp_timestamps == 1 else 0
        terms = agree(our_offer(settings, mss, scale, offset), offer, flow.is_v4)
        request = Request(flow, irs, 0, terms, now)
        request.window = first
        if terms.ts_on:
            request.ts_recent = segment.ts_val
        if self.options.save_syn:
            request.saved_syn = segment.packet
        return request

    def _own_mss(self, flow: Flow, now: int) -> int:
        mss = self.table.mtu_to(flow.remote_address, now) - flow.header_bytes()
        if self.options.maxseg:
            mss = min(mss, self.options.maxseg)
        return min(mss, 65535)

    def _send_syn_ack(
        self, request: Request, now: int, ts_val: int = -1, judgement: fast_child.Judgement | None = None
    ) -> None:
        terms = request.agreed
        if ts_val < 0:
            ts_val = self.host.timestamp(terms.ts_offset, now)
        transmit = self._answer(
            request, request.iss, SYN | ACK | ecn.syn_ack_flags(request.ecn, request.syn_ect, request.synack_resends)
        )
        transmit.window = min(request.window, 65535)
        with_ecn = request.ecn == ecn.ACCURATE and not request.synack_resends and self.host.settings.tcp_ecn_option != 0
        transmit.options = emit.syn_option_bytes(terms, ts_val, request.ts_recent, with_ecn)
        if judgement is not None:
            transmit.options += judgement.option(len(transmit.options))
        request.answered_at = now
        self.host.reply(transmit)

    def _answer(self, request: Request, seq: int, flags: int) -> Transmit:
        transmit = emit.header(request.flow, self.host.settings, seq, flags)
        transmit.ack = wrap(request.irs + 1)
        return transmit

    # SYN cookies

    def _send_cookie(self, request: Request, now: int) -> None:
        self.host.counters.add("SyncookiesSent")
        terms = request.agreed
        request.iss = cookies.make(self.host.secret, request.key, request.irs, terms.peer_mss, now)
        ts_val = -1
        if terms.ts_on:
            ts_val = cookies.timestamp(self.host.timestamp(terms.ts_offset, now), terms, request.ecn != ecn.OFF)
        else:
            terms.keep_mss_only()
            request.ecn = ecn.OFF
        self._send_syn_ack(request, now, ts_val)
        self.cookies_sent_at = now

    def _try_cookie(self, segment: Segment, now: int) -> bool:
        """A bare ACK may complete a handshake that was kept in a cookie. False: it was none of ours."""
        settings = self.host.settings
        recent = settings.tcp_syncookies == 2 or (
            self.cookies_sent_at >= 0 and now - self.cookies_sent_at < cookies.MAX_AGE * cookies.MINUTE
        )
        if not settings.tcp_syncookies or not recent or segment.flags & SYN:
            self.host.counters.drop(Drop.LISTEN_ACK)
            return False
        cookie = wrap(segment.ack - 1)
        irs = wrap(segment.seq - 1)
        mss = cookies.check(self.host.secret, segment.key, cookie, irs, now)
        if mss == 0:
            self.host.counters.add("SyncookiesFailed")
            self.host.counters.drop(Drop.COOKIE_FAILED)
            return False
        self.host.counters.add("SyncookiesRecv")
        request = self._request_for(segment, cookies.offer_of(mss, segment.has_ts, segment.ts_ecr), irs, now)
        request.iss = cookie
        request.answered_at = -1
        if settings.tcp_ecn and segment.has_ts and cookies.offers_ecn(segment.ts_ecr):
            request.ecn = ecn.ACCURATE if ecn.ace_of(segment.flags) > 1 else ecn.CLASSIC
        if self.is_full():
            self._overflow()
        else:
            self._complete(request, segment, now)
        return True

    # The third ACK

    def on_request_segment(self, request: Request, segment: Segment, now: int) -> bool:
        """A segment of a peer whose SYN waits in the queue (Linux's tcp_check_req). True: a RST answers it."""
        flags = segment.flags
        behind = 0
        if segment.has_ts and request.agreed.ts_on:
            behind = (request.ts_recent - segment.ts_val) & 0xFFFFFFFF
        is_old = 0 < behind < 0x80000000
        if segment.seq == request.irs & 0xFFFFFFFF and flags & (SYN | ACK | RST | FIN) == SYN and not is_old:
            self.host.counters.drop(Drop.REQUEST_REPEATED)
            if self._take_turn(request, segment, now):
                request.synack_resends += 1
                request.deadline = now + min(SECOND << request.resends, self.host.settings.rto_max)
                self._send_syn_ack(request, now)
            return False
        if flags & (ACK | RST) == ACK and segment.ack != (request.iss + 1) & 0xFFFFFFFF:
            self.host.counters.drop(Drop.REQUEST_WRONG_ACK)
            return True
        if is_old or not self._is_in_window(request, segment):
            self._answer_unacceptable(request, segment, is_old, now)
            return False
        if flags & RST and segment.seq != (request.irs + 1) & 0xFFFFFFFF:  # RFC 5961 section 3.2
            self.host.counters.drop(Drop.RST_CHALLENGED)
            self._send_ack(request, now)
            return False
        if flags & (RST | SYN):
            self._remove(request)
            self.host.counters.add("EmbryonicRsts")
            self.host.counters.add("TcpAttemptFails")
            return bool(flags & SYN)
        if not flags & ACK:
            self.host.counters.drop(Drop.NO_ACK)
            return False
        return self._third_ack(request, segment, now)

    def _third_ack(self, request: Request, segment: Segment, now: int) -> bool:
        if self._is_deferred(request, segment):
            request.acked = True
            self.host.counters.add("TCPDeferAcceptDrop")
            return False
        if self.is_full():
            self._overflow()
            request.acked = True
            if self.host.settings.tcp_abort_on_overflow:
                self._remove(request)
                return True
            return False
        self._complete(request, segment, now)
        self._remove(request)  # not before: without memory for a connection the request stays
        return False

    def _is_in_window(self, request: Request, segment: Segment) -> bool:
        offset = (segment.seq - request.irs - 1) & 0xFFFFFFFF
        offered = min(request.window, 65535)  # as the SYN-ACK says it (Linux's tcp_synack_window)
        if offset < max(offered, 1) or (offset == offered and not segment.payload_length):
            return True
        length = segment.payload_length + (1 if segment.flags & FIN else 0)
        return 0 < (segment.seq + length - request.irs - 1) & 0xFFFFFFFF <= length

    def _answer_unacceptable(self, request: Request, segment: Segment, is_old: bool, now: int) -> None:
        if is_old:
            self.host.counters.add("PAWSEstab")
        self.host.counters.drop(Drop.PAWS if is_old else Drop.BEYOND_WINDOW)
        if not segment.flags & RST and self._take_turn(request, segment, now):
            self._send_ack(request, now)

    def _take_turn(self, request: Request, segment: Segment, now: int) -> bool:
        """A repeated SYN or an ACK out of window is to be answered. False: one was, less than tcp_invalid_ratelimit ago
        (Linux's tcp_oow_rate_limited; SYN-ACKs that the timer sends do not count)."""
        if segment.payload_length and not segment.flags & SYN:
            return True
        least = self.host.settings.tcp_invalid_ratelimit * MILLISECOND
        if request.limited_at >= 0 and now - request.limited_at < least:
            self.host.counters.add("TCPACKSkippedSynRecv")
            return False
        request.limited_at = now
        return True

    def _send_ack(self, request: Request, now: int) -> None:
        """A bare ACK of the SYN."""
        terms = request.agreed
        transmit = self._answer(request, request.iss + 1, ACK)
        transmit.window = min(request.window >> terms.rcv_wscale, 65535)
        if terms.ts_on:
            transmit.options = emit.timestamp_bytes(self.host.timestamp(terms.ts_offset, now), request.ts_recent)
        self.host.reply(transmit)

    def _is_deferred(self, request: Request, segment: Segment) -> bool:
        """TCP_DEFER_ACCEPT: an ACK without text is not enough, for a while."""
        if segment.payload_length or segment.flags & FIN:
            return False
        return request.resends < self._defer_resends()

    def _defer_resends(self) -> int:
        """SYN-ACK timeouts that fill TCP_DEFER_ACCEPT seconds (Linux's secs_to_retrans)."""
        count = 0
        while (1 << count) - 1 < self.options.defer_accept_s:
            count += 1
        return count

    def settle_deadline(self) -> None:
        """When the first request is due, whatever happened amid a step."""
        self.deadline = self._times.earliest()

    def forget(self, request: Request) -> None:
        """ICMP says that the host of ``request`` cannot be reached."""
        self._remove(request)
        self.deadline = self._times.earliest()
        self.host.counters.add("ListenDrops")

    def _remove(self, request: Request) -> None:
        self.requests.pop(request.key, None)

    def _complete(self, request: Request, segment: Segment, now: int) -> None:
        """The handshake is complete: a Connection, at once in the accept queue."""
        connection = self._child(request, now)
        self._enqueue(connection)
        connection.on_segment(segment, now)
        self.host.tell(EventKind.ACCEPTABLE, self)

    def _child(self, request: Request, now: int) -> Connection:
        connection = Connection(self.host, request.key, self.options.copy(), request.iss, now)
        connection.move(Input.LISTENING, now)
        handshake.prepare(connection, self.table.mtu_to(connection.flow.remote_address, now), now)
        connection.move(Input.SYN_RECEIVED, now)
        handshake.take_request(connection, request, now)
        self.host.counters.add("TcpPassiveOpens")
        return connection

    def _enqueue(self, connection: Connection) -> None:
        connection.await_accept()
        self.queue.append(connection)
        self.table.adopt(connection)

    # SYN-ACKs again

    def on_deadline(self, now: int) -> None:
        """Resend SYN-ACKs that nobody answered, forget requests that are too old (Linux's reqsk_timer_handler)."""
        settings = self.host.settings
        most = self.options.syncnt or settings.tcp_synack_retries
        while (request := self._times.take_due(now)) is not None:
            try:
                self._resend(request, most, now)
            finally:
                if request.key in self.requests:
                    self._times.watch(request)
        self.deadline = self._times.earliest()

    def _resend(self, request: Request, most: int, now: int) -> bool:
        """False: the request was given up."""
        defer = self._defer_resends()
        if request.resends >= most and not (request.acked and request.resends < defer):
            self._remove(request)
            return False
        waits_for_text = request.acked and request.resends < defer - 1  # a last chance before the time is over
        request.resends += 1
        wait = min(SECOND << request.resends, self.host.settings.rto_max)
        request.deadline = now + wait
        if not waits_for_text:
            self.host.counters.add("TCPSynRetrans")
            self.host.counters.add("TcpRetransSegs")
            request.synack_resends += 1
            self._send_syn_ack(request, now)
        return True
