"""TCP of one Stack: whose segment is it? Connections, TIME-WAIT, listeners, and the RST for the rest."""

from __future__ import annotations

import errno
from hashlib import blake2s

from ustack.drops import Drop
from ustack.errors import from_errno
from ustack.seqnum import wrap
from ustack.sockopts import SocketOptions
from ustack.stack.deadlines import Deadlines
from ustack.stack.ip import Ip
from ustack.stack.ports import Ports, Reservation
from ustack.stack.timewait import TimeWait, Verdict
from ustack.tcp import emit
from ustack.tcp.connection import fast_open, handshake, icmp_errors
from ustack.tcp.connection.connection import Connection
from ustack.tcp.listener import ConnectionTable, Listener
from ustack.tcp.receiver import segments
from ustack.tcp.sender import mss
from ustack.tcp.state import State
from ustack.tcp.tcphost import TcpHost
from ustack.units import MILLISECOND
from ustack.wire.address import ANY, ANY_V4, flow_key, is_loopback, is_v4, reverse_key
from ustack.wire.frame import Segment
from ustack.wire.icmp_error import IcmpError, IcmpKind


class TcpLayer(ConnectionTable):
    """The tables of TCP: who has which flow key, who listens where."""

    def __init__(self, host: TcpHost, ip: Ip, ports: Ports, deadlines: Deadlines) -> None:
        self.host = host
        self.ip = ip
        self.ports = ports
        self.deadlines = deadlines
        self.connections: dict[bytes, Connection] = {}
        self.time_waits: dict[bytes, TimeWait] = {}
        self.listeners: dict[int, list[Listener]] = {}
        self._listening: dict[bytes, list[Listener]] = {}  # the same by address and port: no search for a SYN
        self._reservations: dict[Listener, Reservation] = {}

    # Segments in

    def on_segment(self, segment: Segment, now: int) -> None:
        """One segment or run that IP let through: to its connection, or to what else can take it."""
        connection = self.find(segment.key, now)
        if connection is None:
            self._without_connection(segment, now)
        elif connection.on_segment(segment, now):
            self.refuse(segment)

    def find(self, key: bytes, now: int) -> Connection | None:
        """The connection with this key, if it lives: the one look-up, wherever a segment comes from.

        One that ended since ``poll_transmit`` was last asked (in the same batch, by a timer, by its holder) is let go
        of here, so that the next segment of the key meets what it would meet a moment later."""
        connection = self.connections.get(key)
        if connection is None or not connection.is_over():
            return connection
        while (transmit := connection.poll_transmit(now)) is not None:
            self.host.reply(transmit)  # its RST, or the ACK of the FIN
        self.settle(connection, now)
        return None

    def _without_connection(self, segment: Segment, now: int) -> None:
        waiting = self._time_wait(segment.key, now)
        if waiting is not None:
            self._in_time_wait(waiting, segment, now)
            return
        listener = self.find_listener(segment)
        if listener is None:
            self.host.counters.drop(Drop.NO_SOCKET if segment.destination_port else Drop.ZERO_PORT)
            self.refuse(segment)
            return
        self._to_listener(listener, segment, now)

    def _to_listener(self, listener: Listener, segment: Segment, now: int) -> None:
        request = listener.requests.get(segment.key)
        if request is not None:
            wants_reset = listener.on_request_segment(request, segment, now)
        else:
            wants_reset = listener.on_segment(segment, now)
        self.deadlines.watch(listener, listener.deadline)
        if wants_reset:
            self.refuse(segment)

    def watch_listener(self, segment: Segment) -> None:
        """What ``segment`` asked of its listener ended halfway: the listener's requests are due as they were."""
        listener = self.find_listener(segment)
        if listener is not None:
            listener.settle_deadline()
            self.deadlines.watch(listener, listener.deadline)

    def _in_time_wait(self, waiting: TimeWait, segment: Segment, now: int) -> None:
        verdict = waiting.judge(segment, self.host, now)
        self.deadlines.watch(waiting, waiting.deadline)
        if verdict is Verdict.NEW:
            listener = self.find_listener(segment)
            if listener is not None:
                self.forget_time_wait(waiting)
                listener.take_syn_with(segment, waiting.next_isn(), now)
                self.deadlines.watch(listener, listener.deadline)
                return
            verdict = Verdict.ACK
        if verdict is Verdict.ACK:
            if not waiting.is_fin_again(segment):
                self.host.counters.drop(Drop.TIME_WAIT)
            self.host.reply(waiting.last_ack(self.host, now))
        elif verdict is Verdict.GONE:
            self.forget_time_wait(waiting)

    def take_icmp(self, error: IcmpError, now: int) -> None:
        """An ICMP error quotes a segment of ours (RFC 9293 section 3.9.2.2)."""
        key = reverse_key(error.key)
        connection = self.find(key, now)
        if connection is None:
            self._about_request(key, error)
        elif error.kind is IcmpKind.TOO_BIG:
            if icmp_errors.take_too_big(connection, error.seq, error.mtu, now):
                self.ip.learn_mtu(connection.flow.remote_address, error.mtu, now)
        else:
            icmp_errors.take_unreachable(connection, error.seq, error.code_errno, now)
        if connection is not None:
            connection.touch()

    def _about_request(self, key: bytes, error: IcmpError) -> None:
        """The error may quote a SYN-ACK: who cannot be reached loses its half-open connection (tcp_req_err())."""
        listener = self.listener_of(key)
        request = listener.requests.get(key) if listener is not None else None
        if listener is None or request is None:
            self.host.counters.drop(Drop.ICMP_UNMATCHED)
        elif error.seq != wrap(request.iss):
            self.host.counters.drop(Drop.ICMP_OUT_OF_WINDOW)
        elif error.ends_request:
            listener.forget(request)

    def look_up_doubted_paths(self, now: int) -> None:
        """TCP doubts some paths (R1, RFC 9293 section 3.8.3): IP looks them up anew (Linux's dst_negative_advice).

        One device and no gateways leave only the path's MTU to doubt: what has expired counts no more."""
        doubted = self.host.doubted_paths
        while doubted:
            connection = doubted.popleft()
            assert isinstance(connection, Connection)
            self.look_up_path(connection, now)

    def look_up_path(self, connection: Connection, now: int) -> None:
        """Segments become as long as the path to the peer carries now: one that was learned to be narrow, by whichever
        connection, or whose news are too old (RFC 1191 section 6.3; Linux's tcp_current_mss asks dst_mtu)."""
        remote = connection.flow.remote_address
        version = self.ip.paths.version
        until = self.ip.paths.until(remote, now)
        mss.look_up(connection.sender, self.ip.mtu_to(remote, now), version, until)

    def refuse(self, segment: Segment) -> None:
        """Answer with a RST, if the segment is none itself."""
        transmit = emit.reset_for(segment, self.host.settings)
        if transmit is not None:
            self.host.counters.add("TcpOutRsts")
            self.host.reply(transmit)

    # Listeners

    def find_listener(self, segment: Segment) -> Listener | None:
        return self.listener_of(segment.key)

    def listener_of(self, key: bytes) -> Listener | None:
        """The listener with the most exact address; of a SO_REUSEPORT group the one that the flow's hash names."""
        group = self._group_at(key[16:32], key[34:36])
        if not group:
            return None
        if len(group) == 1:
            return group[0]
        digest = blake2s(key, digest_size=4, key=self.host.secret, person=b"group")
        return group[int.from_bytes(digest.digest(), "big") % len(group)]

    def _group_at(self, destination: bytes, port: bytes) -> list[Listener] | None:
        """Who listens at the address itself, else at any IPv4 address, else at any address at all."""
        group = self._listening.get(destination + port)
        v4 = is_v4(destination)
        if group is None and v4:
            group = self._listening.get(ANY_V4 + port)
        if group is None:
            group = self._listening.get(ANY + port)
            if group is not None and v4 and group[-1].options.v6only:
                group = [listener for listener in group if not listener.options.v6only]
        return group

    def listen(self, reservation: Reservation, backlog: int, options: SocketOptions) -> Listener:
        """A passive open on a reserved port. Raises EADDRINUSE when somebody listens there."""
        if not self.ports.may_listen(reservation):
            raise from_errno(errno.EADDRINUSE)
        reservation.is_listening = True
        listener = Listener(self.host, self, reservation.address, reservation.port, backlog, options)
        self._reservations[listener] = reservation
        self.listeners.setdefault(reservation.port, []).append(listener)
        self._listening.setdefault(_place(listener), []).append(listener)
        return listener

    def forget_listener(self, listener: Listener) -> None:
        group = self.listeners.get(listener.port)
        if group is not None and listener in group:
            group.remove(listener)
            if not group:
                del self.listeners[listener.port]
            same = self._listening[_place(listener)]
            same.remove(listener)
            if not same:
                del self._listening[_place(listener)]
        self.deadlines.forget(listener)
        held = self._reservations.pop(listener, None)
        if held is not None:
            held.release()

    # Connections

    def mtu_to(self, destination: bytes, now: int) -> int:
        return self.ip.mtu_to(destination, now)

    def adopt(self, connection: Connection) -> None:
        """A new connection has its place in the table."""
        self.connections[connection.flow.key] = connection
        flow = connection.flow
        holds_port = self.ports.use(flow.local_port, connection.options)
        connection.enter_table(holds_port, self.ip.is_local(flow.remote_address))
        connection.touch()

    def addresses_changed(self) -> None:
        """Whose peer is this host itself may be another than before."""
        for connection in self.connections.values():
            connection.see_peer(self.ip.is_local(connection.flow.remote_address))

    def connect(
        self, local: tuple[bytes, int], remote: tuple[bytes, int], options: SocketOptions, now: int
    ) -> Connection:
        """An active open from a concrete address; port 0: an ephemeral one. Raises EADDRNOTAVAIL."""
        address, port = local
        peer, peer_port = remote
        recycled: TimeWait | None = None
        if port:
            key = flow_key(peer, peer_port, address, port)
            if not self._is_free(key, now):
                raise from_errno(errno.EADDRNOTAVAIL)
        else:
            key = self._ephemeral_key(address, remote, options, now)
        recycled = self._time_wait(key, now)
        iss = self.host.isn.isn(key, now)
        if recycled is not None:
            iss = recycled.next_isn()
            self.forget_time_wait(recycled)
            self.host.counters.add("TCPTimeWaitReused")
        connection = Connection(self.host, key, options, iss, now)
        if recycled is not None:
            segments.follow(connection.receiver, recycled.ts_recent, recycled.ts_recent_at)
        self.adopt(connection)
        handshake.open_actively(connection, self.ip.mtu_to(peer, now), now)
        return connection

    def _ephemeral_key(self, address: bytes, remote: tuple[bytes, int], options: SocketOptions, now: int) -> bytes:
        peer, peer_port = remote
        step = 1 if options.local_port_range else 2
        search = self.ports.search(address + peer, peer_port, self.port_range(options), step)
        head = peer + address + peer_port.to_bytes(2, "big")
        while (port := search.next()) >= 0:
            if port in self.ports.bound:
                continue
            key = head + port.to_bytes(2, "big")
            if self._is_free(key, now):
                self.ports.found(search)
                return key
        raise from_errno(errno.EADDRNOTAVAIL)

    def port_range(self, options: SocketOptions) -> tuple[int, int]:
        """The ports that may be chosen for a socket (ip_local_port_range, IP_LOCAL_PORT_RANGE)."""
        low, high = self.host.settings.ip_local_port_range
        if options.local_port_range:
            low = max(low, options.local_port_range & 0xFFFF)
            high = min(high, options.local_port_range >> 16 or 0xFFFF)
        return low, max(low, high)

    def _is_free(self, key: bytes, now: int) -> bool:
        """No connection has the four-tuple, or one in TIME-WAIT lets go of it (tcp_tw_reuse)."""
        if self.find(key, now) is not None:
            return False
        waiting = self._time_wait(key, now)
        if waiting is None:
            return True
        settings = self.host.settings
        allowed = settings.tcp_tw_reuse == 1 or (settings.tcp_tw_reuse == 2 and is_loopback(key[:16]))
        old_enough = now - waiting.ts_recent_at > settings.tcp_tw_reuse_delay * MILLISECOND
        return allowed and waiting.ts_on and old_enough

    # What poll_transmit does with a connection that has nothing more to send

    def settle(self, connection: Connection, now: int) -> None:
        """Nothing more leaves now: watch its deadline, or let it go."""
        if connection.state is State.CLOSED:
            self._drop(connection, now)
        elif connection.state is State.TIME_WAIT:
            if self._drop(connection, now):  # the holder may close it long after
                self._wait(connection, now)
        else:
            self.deadlines.watch(connection, connection.next_deadline())

    def _drop(self, connection: Connection, now: int) -> bool:
        """False: it had gone before."""
        if self.connections.get(connection.flow.key) is not connection:
            return False
        del self.connections[connection.flow.key]
        if connection.fast_open is not None:
            fast_open.on_end(connection, now)
        if connection.holds_port:
            self.ports.leave(connection.flow.local_port)
        if connection.is_counted_orphan:
            self.host.orphans -= 1
        connection.timers.stop_all()
        self.deadlines.forget(connection)
        return True

    def _wait(self, connection: Connection, now: int) -> None:
        """TIME-WAIT begins: a small record takes the connection's place."""
        settings = self.host.settings
        if len(self.time_waits) >= settings.tcp_max_tw_buckets:
            self.host.counters.add("TCPTimeWaitOverflow")
            return
        if settings.tcp_timewait_length <= 0:
            return
        waiting = TimeWait(connection, now)
        waiting.restart(self.host, now)
        self.deadlines.watch(waiting, waiting.deadline)  # before it can be found: nothing stays without an end
        self.time_waits[connection.flow.key] = waiting
        waiting.holds_port = self.ports.use(connection.flow.local_port, connection.options)

    def _time_wait(self, key: bytes, now: int) -> TimeWait | None:
        """The record with this key, unless its time has come."""
        waiting = self.time_waits.get(key)
        if waiting is not None and waiting.deadline <= now:
            self.expire_time_wait(waiting, now)
            return None
        return waiting

    def forget_time_wait(self, waiting: TimeWait) -> None:
        """The record goes."""
        if self.time_waits.get(waiting.key) is waiting:
            del self.time_waits[waiting.key]
            self.deadlines.forget(waiting)
            if waiting.holds_port:
                self.ports.leave(int.from_bytes(waiting.key[34:36], "big"))

    def expire_time_wait(self, waiting: TimeWait, now: int) -> None:
        """Its deadline may have come."""
        if waiting.deadline <= now:
            self.host.counters.add("TW")
            self.forget_time_wait(waiting)
        else:
            self.deadlines.watch(waiting, waiting.deadline)


def _place(listener: Listener) -> bytes:
    return listener.address + listener.port.to_bytes(2, "big")
