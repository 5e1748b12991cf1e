"""The text of a stream: Linux's ``tcp_recvmsg`` and ``tcp_sendmsg`` over a Connection."""

from __future__ import annotations

import errno
import functools
import socket
from typing import Final

from ustack.socket.core import RCV_SHUTDOWN, SEND_SHUTDOWN, Attachment, Core, failure
from ustack.tcp.connection.connection import Connection
from ustack.tcp.listener import Listener
from ustack.tcp.sender import refusals
from ustack.tcp.sender.buffer import ENDS_RECORD, MORE_FOLLOWS
from ustack.tcp.state import State

MSG_OOB: Final = int(socket.MSG_OOB)
MSG_PEEK: Final = int(socket.MSG_PEEK)
MSG_TRUNC: Final = int(socket.MSG_TRUNC)
MSG_DONTWAIT: Final = int(socket.MSG_DONTWAIT)
MSG_WAITALL: Final = int(socket.MSG_WAITALL)
MSG_MORE: Final = int(socket.MSG_MORE)
MSG_EOR: Final = int(socket.MSG_EOR)
MSG_ERRQUEUE: Final = int(socket.MSG_ERRQUEUE)
MSG_FASTOPEN: Final = 0x20000000


class TextCore(Core):
    """What a TCP socket that has a connection does with it."""

    def __init__(self, net: Attachment, family: int) -> None:
        super().__init__(net, family)
        self.listener: Listener | None = None
        self.connection: Connection | None = None

    def receive(self, view: memoryview, flags: int, limit: int | None) -> int:
        """recv(2) into ``view``. Returns how much; 0 at the end of the stream."""
        if flags & (MSG_OOB | MSG_ERRQUEUE):
            return self._receive_aside(view, flags)
        size = len(view)
        wanted = size if flags & MSG_WAITALL else min(self.options.rcvlowat, size)
        if flags & MSG_DONTWAIT:
            limit = 0
        copied = 0
        kept = 0
        deadline = self.deadline(limit, self.rcvtimeo)
        while True:
            copied = self._copy(view, flags, copied)
            if copied >= (wanted or 1) or (not size and self._has_unread()) or self._is_read_out(copied, limit):
                break
            if copied and self._stops_at_mark(copied if flags & MSG_PEEK else 0):
                break
            if flags & MSG_PEEK:
                kept = self.unread()
            if not self.wait(functools.partial(self._has_news, kept), deadline):
                if copied:
                    break
                raise failure(errno.EAGAIN)
        return copied

    def _copy(self, view: memoryview, flags: int, copied: int) -> int:
        """Bytes in ``view`` after taking what there is now."""
        connection = self.connection
        if connection is None:
            return copied
        if flags & MSG_PEEK:
            found = connection.peek(len(view))
            if not flags & MSG_TRUNC:
                view[: len(found)] = found
            return len(found)
        if flags & MSG_TRUNC:
            return copied + connection.skip(len(view) - copied, self.now())
        return copied + connection.read_into(view[copied:] if copied else view, self.now())

    def _is_read_out(self, copied: int, limit: int | None) -> bool:
        """Nothing more will come without waiting: true when the call is to return what it has, 0 at the
        end of the stream. Raises what Linux's recv() reports when it has nothing."""
        connection = self.connection
        if copied:
            return limit == 0 or self._pending_error() != 0 or self._is_over()
        if connection is not None and connection.at_eof():
            return True
        if self._pending_error():
            raise failure(self.take_error())
        if self._is_over() and (connection is not None or self.shut & RCV_SHUTDOWN):
            return True
        if connection is None or self.listener is not None:
            raise failure(errno.ENOTCONN)
        if limit == 0:
            raise failure(errno.EAGAIN)
        return False

    def _is_over(self) -> bool:
        """No further byte can arrive (RCV_SHUTDOWN, or the end of the connection)."""
        connection = self.connection
        if self.shut & RCV_SHUTDOWN:
            return True
        return connection is not None and (connection.at_eof() or connection.state is State.CLOSED)

    def _stops_at_mark(self, ahead: int) -> bool:
        """No call reads over the urgent mark."""
        return self.connection is not None and self.connection.at_mark(ahead)

    def _has_unread(self) -> bool:
        return self.connection is not None and self.connection.unread() > 0

    def _has_news(self, had: int) -> bool:
        """More than ``had`` bytes, or a reason not to wait for them."""
        connection = self.connection
        if connection is None or self._is_over() or self._pending_error():
            return True
        return connection.unread() > had

    def _pending_error(self) -> int:
        return self.error or (self.connection.error if self.connection is not None else 0)

    def _receive_aside(self, view: memoryview, flags: int) -> int:
        """MSG_OOB and MSG_ERRQUEUE."""
        connection = self.connection
        if flags & MSG_ERRQUEUE:
            raise failure(errno.EAGAIN)
        if connection is None:
            raise failure(errno.ENOTCONN if self.listener is not None else errno.EINVAL)
        byte = connection.read_urgent(bool(flags & MSG_PEEK))  # raises EINVAL, EAGAIN
        size = min(len(view), len(byte))
        if not flags & MSG_TRUNC:
            view[:size] = byte[:size]
        return size

    def read(self, size: int, limit: int | None) -> bytes:
        """recv(2) without flags, into new bytes: the common case."""
        if self.options.rcvlowat > 1:
            space = bytearray(size)
            with memoryview(space) as view:
                count = self.receive(view, 0, limit)
            return bytes(space[:count])
        deadline = -1
        while True:
            connection = self.connection
            if connection is not None and (found := connection.read(size, self.now())):
                return found
            if self._is_read_out(0, limit):
                return b""
            if deadline == -1:
                deadline = self.deadline(limit, self.rcvtimeo) or 0
            if not self.wait(self._has_text, deadline or None):
                raise failure(errno.EAGAIN)

    def read_into(self, view: memoryview, limit: int | None) -> int:
        """recv(2) without flags into ``view``: the common case."""
        connection = self.connection
        if connection is not None and self.options.rcvlowat <= 1:
            count = connection.read_into(view, self.now())
            if count:
                return count
        return self.receive(view, 0, limit)

    def _has_text(self) -> bool:
        return self._has_news(0)

    def send(self, data: memoryview, flags: int, limit: int | None) -> int:
        """send(2): with no limit it returns when the last byte is in the send buffer."""
        if flags & MSG_DONTWAIT:
            limit = 0
        connection = self._await_connection(limit)
        if flags & MSG_OOB and data:
            connection.urgent_follows(len(data))
        how = (MORE_FOLLOWS if flags & MSG_MORE else 0) | (ENDS_RECORD if flags & MSG_EOR else 0)
        return self._write(connection, data, how, limit)

    def _write(self, connection: Connection, data: memoryview, how: int, limit: int | None) -> int:
        sent = 0
        size = len(data)
        deadline = self.deadline(limit, self.sndtimeo)
        while True:
            if self._may_not_send(connection):
                if sent:
                    return sent
                raise failure(self.take_error() or errno.EPIPE)
            sent += connection.write(data[sent:] if sent else data, self.now(), how)
            if sent >= size:
                return sent
            if limit == 0:
                break
            if not self.wait(connection.writable, deadline):
                break
        if not sent:
            raise failure(errno.EAGAIN)
        return sent

    def _may_not_send(self, connection: Connection) -> bool:
        return bool(self._pending_error() or self.shut & SEND_SHUTDOWN) or connection.state is State.CLOSED

    def _await_connection(self, limit: int | None) -> Connection:
        """For send(): a connection in its opening is waited for. Raises EPIPE where there is none, EAGAIN."""
        connection = self.connection
        if connection is None:
            raise failure(self.take_error() or errno.EPIPE)
        if is_opening(connection):
            if limit == 0:
                raise failure(errno.EAGAIN)
            if not self.wait(lambda: not is_opening(connection), self.deadline(limit, self.sndtimeo)):
                raise failure(errno.EAGAIN)
        return connection

    def take_error(self) -> int:
        code = super().take_error()
        connection = self.connection
        if not code and connection is not None:
            code = connection.take_error()
        return code

    def take_any_error(self) -> int:
        code = self.take_error()
        connection = self.connection
        if not code and connection is not None:
            code = refusals.take_error(connection.sender)
        return code


def is_opening(connection: Connection) -> bool:
    """The handshake is not done."""
    return connection.is_opening()
