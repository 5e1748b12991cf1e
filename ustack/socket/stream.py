"""SOCK_STREAM: Linux's ``inet_stream_connect``, ``inet_accept``, ``tcp_poll`` and ``tcp_close`` over a Connection
or a Listener. What it does with the text is in ``text.py``."""

from __future__ import annotations

import errno
import socket
from typing import Final

from ustack.socket.address import LOOPBACK_V4, Address
from ustack.socket.core import RCV_SHUTDOWN, SEND_SHUTDOWN, Attachment, failure
from ustack.socket.readiness import ERR, HUP, IN, OUT, PRI, RDHUP
from ustack.socket.text import MSG_DONTWAIT, MSG_FASTOPEN, TextCore, is_opening
from ustack.stack.ports import Reservation
from ustack.tcp import fastopen
from ustack.tcp.connection.connection import Connection
from ustack.tcp.state import State
from ustack.units import SECOND
from ustack.wire.address import ANY, ANY_V4, LOOPBACK, is_any, is_multicast, is_v4

_ABORTED_LOUDLY: Final = frozenset({State.ESTABLISHED, State.FIN_WAIT_1, State.FIN_WAIT_2, State.CLOSE_WAIT})
"""Where the end of a connection by connect() to AF_UNSPEC is an error for who still waits for it."""


class StreamCore(TextCore):
    """A TCP socket: unbound, bound, listening, connecting or connected."""

    kind = int(socket.SOCK_STREAM)
    protocol = int(socket.IPPROTO_TCP)

    def __init__(self, net: Attachment, family: int) -> None:
        super().__init__(net, family)
        self.reservation: Reservation | None = None
        self.bound: Address | None = None
        """What bind() led to (its port may still be 0: IP_BIND_ADDRESS_NO_PORT)."""
        self.chosen_port = False
        """The application named the port: it stays when the listener is shut down (SOCK_BINDPORT_LOCK)."""
        self.connecting = False
        """SS_CONNECTING: connect() began and has not reported its end yet."""

    # Names

    def wildcard(self) -> bytes:
        return ANY_V4 if self.family == socket.AF_INET else ANY

    def local_name(self) -> Address:
        if self.connection is not None:
            return self.connection.local
        if self.listener is not None:
            return self.listener.address, self.listener.port
        if self.reservation is not None:
            return self.reservation.address, self.reservation.port
        return self.bound or (self.wildcard(), 0)

    def peer_name(self) -> Address:
        connection = self.connection
        if connection is None or connection.state in (State.CLOSED, State.SYN_SENT):
            raise failure(errno.ENOTCONN)
        return connection.remote

    def accepted_from(self) -> Address:
        return self.peer_name() if self.connection is None else self.connection.remote

    def bind(self, address: bytes, port: int) -> None:
        if self.family == socket.AF_INET6 and self.options.v6only and is_v4(address):
            raise failure(errno.EINVAL)
        self.net.stack.check_local(address, self.options)
        if self.bound is not None or self.listener is not None or self.connection is not None:
            raise failure(errno.EINVAL)
        self.chosen_port = port != 0
        if port or not self.options.bind_address_no_port:
            self.reservation = self.net.stack.bind_port(address, port, self.options)
            port = self.reservation.port
        self.bound = (address, port)
        if address != ANY and not is_v4(address):
            self.options.v6only = True  # as Linux tells it: the address takes nothing else

    # Opening

    def listen(self, backlog: int) -> None:
        if self.connection is not None:
            raise failure(errno.EINVAL)
        most = self.net.stack.settings.somaxconn
        backlog = backlog if 0 <= backlog < most else most
        if self.listener is not None:
            self.listener.backlog = backlog
            return
        allowed = self.net.stack.settings.tcp_fastopen
        if allowed & fastopen.SERVER and allowed & fastopen.ALL_LISTENERS and not self.options.fastopen_qlen:
            self.options.fastopen_qlen = backlog
            self.net.stack.host.fast_open.make_key()
        address, port = self.bound or (self.wildcard(), 0)
        self.listener = self.net.stack.listen(address, port, backlog, self.options, self.now(), self.reservation)
        self.listener.owner = self
        self.reservation = None

    def accept(self, limit: int | None) -> StreamCore:
        listener = self.listener
        if listener is None:
            raise failure(errno.EINVAL)
        deadline = self.deadline(limit, self.rcvtimeo)
        while True:
            connection = listener.accept(self.now())
            if connection is not None:
                break
            if limit == 0:
                raise failure(errno.EAGAIN)
            done = self.wait(lambda: listener is not self.listener or listener.readable(), deadline)
            if self.listener is not listener:
                raise failure(errno.EINVAL)
            if not done:
                raise failure(errno.EAGAIN)
        child = StreamCore(self.net, self.family)
        child.adopt(connection)
        child.rcvtimeo, child.sndtimeo = self.rcvtimeo, self.sndtimeo
        child.stored = dict(self.stored)
        child.linger_s = self.linger_s
        return child

    def adopt(self, connection: Connection) -> None:
        """Become the holder of an established connection."""
        self.connection = connection
        self.options = connection.options
        self.bound = connection.local
        connection.owner = self

    def connect(self, address: bytes, port: int, limit: int | None) -> None:
        if self.listener is not None:
            raise failure(errno.EISCONN)
        if self.connection is not None and not self.connecting:
            raise failure(errno.EISCONN)
        pending = errno.EALREADY
        connection = self.connection
        if connection is None:
            connection = self._make_connection(address, port)
            self.net.driver.flush()
            if connection.waits_for_write():
                return
            pending = errno.EINPROGRESS
            if limit == 0:  # told even when the answer is here already, by a loop-back
                raise failure(pending)
        elif connection.waits_for_write():
            pending = errno.EISCONN
        self._await_opening(connection, pending, limit)

    def _await_opening(self, connection: Connection, pending: int, limit: int | None) -> None:
        """Wait until the connection is open. Raises ``pending`` when that takes too long, and why it failed."""
        if is_opening(connection):
            if limit == 0:
                raise failure(pending)
            if not self.wait(lambda: not is_opening(connection), self.deadline(limit, self.sndtimeo)):
                raise failure(pending)
        self.connecting = False
        if connection.state is State.CLOSED:
            code = self.take_error() or errno.ECONNABORTED
            self._forget_connection()
            raise failure(code)

    def send(self, data: memoryview, flags: int, limit: int | None) -> int:
        """send(2), also of what opens the connection with its text (MSG_FASTOPEN, TCP_FASTOPEN_CONNECT)."""
        connection = self.connection
        if flags & MSG_FASTOPEN or (connection is not None and connection.waits_for_write()):
            return self.send_to(data, flags | MSG_FASTOPEN, limit, None)
        return super().send(data, flags, limit)

    def send_to(self, data: memoryview, flags: int, limit: int | None, to: Address | None) -> int:
        """sendto(2): TCP passes over the address, unless MSG_FASTOPEN opens the connection (tcp_sendmsg_fastopen)."""
        if not flags & MSG_FASTOPEN:
            return self.send(data, flags, limit)
        if not self.net.stack.settings.tcp_fastopen & fastopen.CLIENT:
            raise failure(errno.EOPNOTSUPP)
        if flags & MSG_DONTWAIT:
            limit = 0
        pending, sent = errno.EINPROGRESS, 0
        connection = self.connection
        if connection is None or not self.connecting or connection.waits_for_write():
            connection, sent = self._open_with(data, to)
        elif is_opening(connection):
            pending = errno.EALREADY
        connection.expect_write(limit != 0 and sent < len(data))
        try:
            self._await_opening(connection, pending, limit)
        except OSError as error:
            if sent and error.errno == errno.EINPROGRESS:
                return sent
            raise
        if sent == len(data):
            return sent
        return sent + super().send(data[sent:], flags & ~MSG_FASTOPEN, limit)

    def _open_with(self, data: memoryview, to: Address | None) -> tuple[Connection, int]:
        """A SYN with as much of ``data`` as Fast Open allows; how much that is."""
        connection = self.connection
        if connection is None or not connection.waits_for_write():
            if connection is not None or self.listener is not None:
                raise failure(errno.EISCONN)
            if to is None:
                raise failure(errno.EINVAL)
            connection = self._make_connection(*to)
        sent = connection.open_with(data, self.now())
        self.net.driver.flush()
        return connection, sent

    def _make_connection(self, address: bytes, port: int) -> Connection:
        """Its SYN has not left yet."""
        if self.family == socket.AF_INET6 and self.options.v6only and is_v4(address):
            raise failure(errno.ENETUNREACH)
        if is_any(address):
            address = LOOPBACK_V4 if self.family == socket.AF_INET or is_v4(address) else LOOPBACK
        local, local_port = self.bound or (self.wildcard(), 0)
        if is_multicast(local) or self.net.stack.ip.is_broadcast(local):
            local = self.wildcard()
        connection = self.net.stack.connect(
            local, local_port, address, port, self.options, self.now(), self.reservation
        )
        connection.owner = self
        self.connection = connection
        self.connecting = True
        self.shut = self.error = 0
        return connection

    def _forget_connection(self) -> None:
        """The connection failed: the socket is as before connect(), still bound if it was."""
        self.connection = None
        self.shut = 0

    # Looking and closing

    def poll(self) -> int:
        if self.listener is not None:
            return IN if self.listener.readable() else 0
        connection = self.connection
        if connection is None:
            return OUT | HUP | (IN | RDHUP if self.shut & RCV_SHUTDOWN else 0)
        state = connection.state
        mask = ERR if self._pending_error() else 0
        if connection.urgent_readable():
            mask |= PRI
        if state is State.CLOSED:
            return mask | IN | OUT | RDHUP | HUP
        ended = self.shut & RCV_SHUTDOWN or connection.at_eof() or connection.received_fin()
        if ended:
            mask |= IN | RDHUP
            if self.shut & SEND_SHUTDOWN:
                mask |= HUP
        if is_opening(connection):
            return mask | OUT if connection.waits_for_write() else mask
        if self._has_enough(connection):
            mask |= IN
        if self.shut & SEND_SHUTDOWN or connection.writable():
            mask |= OUT
        else:
            connection.await_room()
        return mask

    def _has_enough(self, connection: Connection) -> bool:
        """SO_RCVLOWAT is reached. An urgent byte that is next is no text."""
        passed = not self.options.oobinline and connection.at_mark()
        return connection.unread() >= self.options.rcvlowat + int(passed)

    def shutdown(self, how: int) -> None:
        if not socket.SHUT_RD <= how <= socket.SHUT_RDWR:
            raise failure(errno.EINVAL)
        if self.listener is not None:
            if how != socket.SHUT_WR:
                self.listener.close(self.now())
                self.listener = None
                self.reservation = self._rebind()
            return
        connection = self.connection
        if connection is None or connection.state in (State.CLOSED, State.TIME_WAIT):
            self.shut |= how + 1
            raise failure(errno.ENOTCONN)
        if is_opening(connection) and not connection.simultaneous:
            connection.abort(self.now())
            connection.take_error()
            self.connecting = False
            self._forget_connection()
            return
        self.shut |= how + 1
        connection.shutdown(how, self.now())

    def _rebind(self) -> Reservation | None:
        """After a listener was shut down its address is still bound, so that listen() may follow."""
        if self.bound is None or not self.chosen_port:
            self.bound = (self.bound[0], 0) if self.bound is not None else None
            return None
        return self.net.stack.bind_port(self.bound[0], self.bound[1], self.options)

    def disconnect(self) -> None:
        """connect() to AF_UNSPEC (tcp_disconnect()): the connection is aborted, and the socket may connect again."""
        connection = self.connection
        if self.listener is not None:
            self.shutdown(socket.SHUT_RD)
        if connection is None:
            return
        if is_opening(connection) or connection.state in _ABORTED_LOUDLY:
            self.error = errno.ECONNRESET
        connection.abort(self.now())
        connection.owner = None
        self.connecting = False
        if self.reservation is None and self.bound is not None and self.bound[1]:
            self.bound = None
        self._forget_connection()

    def at_mark(self) -> bool:
        """SIOCATMARK."""
        if self.listener is not None:
            raise failure(errno.EINVAL)
        return self.connection is not None and self.connection.at_mark()

    def close(self) -> None:
        now = self.now()
        if self.listener is not None:
            self.listener.close(now)
        if self.connection is not None:
            self._close_connection(self.connection, now)
        if self.reservation is not None:
            self.reservation.release()
        self.listener = self.reservation = None

    def _close_connection(self, connection: Connection, now: int) -> None:
        if self.options.linger_s == 0 or (is_opening(connection) and not connection.simultaneous):
            connection.abort(now)
        else:
            connection.close(now)
        if self.options.linger_s > 0:
            self.net.driver.flush()
            self.net.driver.wait(lambda: not _is_lingering(connection), now + self.options.linger_s * SECOND, self)
        connection.owner = None

    # Options

    def is_live(self) -> bool:
        return self.connection is not None

    def tuned_buffer(self, field: str) -> int:
        """Bytes of a buffer that follows the connection's pace; 0 before there is one."""
        connection = self.connection
        if connection is None:
            return 0
        return connection.receiver.rcv_buffer if field == "rcvbuf" else connection.sender.buffer.size

    def option_changed(self, name: str) -> None:
        if self.connection is not None:
            self.connection.option_changed(name, self.now())

    def unread(self) -> int:
        if self.listener is not None:
            raise failure(errno.EINVAL)
        return self.connection.unread() if self.connection is not None else 0

    def unsent(self) -> int:
        if self.listener is not None:
            raise failure(errno.EINVAL)
        return self.connection.unacknowledged() if self.connection is not None else 0


def _is_lingering(connection: Connection) -> bool:
    """Our FIN is not acknowledged yet: close() with SO_LINGER waits for it."""
    return connection.state in (State.FIN_WAIT_1, State.CLOSING, State.LAST_ACK)
