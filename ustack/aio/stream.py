"""A TCP connection as an asyncio transport: data goes from the batch straight into ``data_received``.

What it does when a protocol raises, when it is closed while data waits, at the end of the stream and when it is aborted
is what asyncio's own transports on sockets do.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from asyncio import constants, transports
from collections import deque
from typing import TYPE_CHECKING, Any

from ustack.aio.ear import Ear
from ustack.aio.names import name_of
from ustack.errors import from_errno
from ustack.events import Event
from ustack.socket.socket import Socket
from ustack.socket.stream import StreamCore
from ustack.tcp.connection.connection import SHUT_WR, Connection
from ustack.tcp.state import State

if TYPE_CHECKING:
    from ustack.aio.host import AsyncHost
    from ustack.aio.server import Server

READ_SIZE = 256 * 1024
"""Bytes that one ``data_received`` brings at most."""


class StreamTransport(transports._FlowControlMixin):
    """One connection. Made by ``AsyncHost`` and ``Server``; all calls belong on the event loop's thread.

    The base is asyncio's own for flow control: ``loop.sendfile()`` asks for it.
    """

    _start_tls_compatible = True
    _sendfile_compatible = constants._SendfileMode.FALLBACK

    def __init__(
        self, host: AsyncHost, connection: Connection, protocol: asyncio.BaseProtocol, server: Server | None = None
    ) -> None:
        super().__init__(None, host.events)
        self._host = host
        self._events = host.events
        self._connection = connection
        self._server = server
        self._pending: deque[memoryview] = deque()
        self._pending_size = 0
        self._is_reading_paused = True
        self._is_paused_on_purpose = False
        self._is_closing = False
        self._is_eof_due = False
        self._has_seen_eof = False
        self._is_lost = False
        self._lost_writes = 0
        self._socket: Socket | None = None
        self._names = connection.local, connection.remote
        self._is_buffered = False
        self.set_protocol(protocol)
        connection.owner = self._ear = Ear(self.on_event)
        host.transports[self] = None
        if server is not None:
            server.attach(self)

    def start(self) -> None:
        """Tells the protocol, and begins to read: in the next turn of the event loop, as asyncio does."""
        self._events.call_soon(self._begin)

    def _begin(self) -> None:
        if self._is_lost:
            return
        try:
            self._protocol.connection_made(self)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._fatal(error, "Fatal error: protocol.connection_made() call failed.")
            return
        if self._is_reading_paused and not self._is_closing and not self._is_paused_on_purpose:
            self._is_reading_paused = False
            self._read()
            self._host.driver.flush()

    # What the stack tells

    def on_event(self, event: Event) -> None:
        """Something happened: what that is, the connection knows."""
        if self._is_lost:
            return
        connection = self._connection
        if not self._is_reading_paused:
            self._read()
        if self._pending and not self._is_lost:
            self._push()
        if connection.state is State.CLOSED and not self._is_lost and connection.unread() == 0:
            self._on_closed()

    def _on_closed(self) -> None:
        """Nothing more will come of the connection: an error, or the end of one that both sides have closed."""
        code = self._connection.take_error()
        if code:
            self._force_close(from_errno(code))
        elif not self._is_closing and not self._is_reading_paused:
            self._force_close(None)
        elif self._is_closing or self._pending:
            self._force_close(from_errno(errno.EPIPE) if self._pending else None)

    def _read(self) -> None:
        """Everything that is here goes to the protocol, as long as it wants it."""
        connection, now = self._connection, self._host.driver.now()
        while not self._is_reading_paused and not self._is_lost:
            if self._is_buffered:
                if not self._read_into_buffer(connection, now):
                    break
                continue
            data = connection.read(READ_SIZE, now)
            if not data:
                break
            try:
                self._protocol.data_received(data)  # type: ignore[attr-defined]
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:
                self._fatal(error, "Fatal error: protocol.data_received() call failed.")
                return
        if not self._is_reading_paused and not self._is_lost and not self._has_seen_eof and connection.at_eof():
            self._on_eof()

    def _read_into_buffer(self, connection: Connection, now: int) -> bool:
        """A BufferedProtocol brings its own memory. Whether anything was read."""
        if not connection.unread():
            return False
        try:
            buffer = self._protocol.get_buffer(-1)  # type: ignore[attr-defined]
            if not len(buffer):
                raise RuntimeError("get_buffer() returned an empty buffer")
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._fatal(error, "Fatal error: protocol.get_buffer() call failed.")
            return False
        count = connection.read_into(buffer, now)
        try:
            self._protocol.buffer_updated(count)  # type: ignore[attr-defined]
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._fatal(error, "Fatal error: protocol.buffer_updated() call failed.")
            return False
        return count > 0

    def _on_eof(self) -> None:
        self._has_seen_eof = True
        try:
            keeps_open = self._protocol.eof_received()  # type: ignore[attr-defined]
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._fatal(error, "Fatal error: protocol.eof_received() call failed.")
            return
        if not keeps_open:
            self.close()

    # Reading

    def is_reading(self) -> bool:
        """Whether data comes to the protocol."""
        return not self._is_closing and not self._is_reading_paused

    def pause_reading(self) -> None:
        """No ``data_received`` until ``resume_reading``; the window closes when the receive buffer is full."""
        if self.is_reading() or not self._is_paused_on_purpose:
            self._is_paused_on_purpose = True
            self._is_reading_paused = True

    def resume_reading(self) -> None:
        """Data comes again; what waits comes in the next turn of the event loop."""
        if self._is_closing or not self._is_reading_paused:
            return
        self._is_paused_on_purpose = False
        self._is_reading_paused = False
        self._events.call_soon(self._resume)

    def _resume(self) -> None:
        if not self._is_reading_paused and not self._is_lost:
            self._read()
            if self._connection.state is State.CLOSED and not self._is_lost and self._connection.unread() == 0:
                self._on_closed()
            self._host.driver.flush()

    # Writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Sends, or keeps what the send buffer does not take. Raises TypeError, RuntimeError after write_eof()."""
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if self._is_eof_due:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._is_lost or self._lost_writes:
            self._warn_of_lost_write()
            return
        if not data:
            return
        view = memoryview(data).cast("B")
        if not self._pending:
            taken = self._take(view)
            if taken == len(view) or self._is_lost:
                return
            view = view[taken:]
        self._pending.append(view if isinstance(data, bytes) else memoryview(bytes(view)))
        self._pending_size += len(view)
        self._connection.await_room()
        self._maybe_pause_protocol()  # type: ignore[attr-defined]

    def writelines(self, list_of_data: Any) -> None:
        """Sends one after the other."""
        for data in list_of_data:
            self.write(data)

    def _warn_of_lost_write(self) -> None:
        self._lost_writes += 1
        if self._lost_writes == constants.LOG_THRESHOLD_FOR_CONNLOST_WRITES:
            asyncio.log.logger.warning("socket.send() raised exception.")  # type: ignore[attr-defined]

    def _take(self, view: memoryview) -> int:
        """What the send buffer takes; on an error the connection is lost, in the next turn."""
        try:
            taken = self._connection.write(view, self._host.driver.now())
        except OSError as error:
            self._fatal(error, "Fatal write error on socket transport")
            return 0
        self._host.driver.flush()
        return taken

    def _push(self) -> None:
        """Sends what waits, as far as there is room."""
        while self._pending and not self._is_lost:
            view = self._pending[0]
            taken = self._take(view)
            self._pending_size -= taken
            if taken < len(view):
                self._pending[0] = view[taken:]
                self._connection.await_room()
                break
            self._pending.popleft()
        self._maybe_resume_protocol()  # type: ignore[attr-defined]
        if not self._pending and not self._is_lost:
            if self._is_closing:
                self._finish(None)
            elif self._is_eof_due:
                self._connection.shutdown(SHUT_WR, self._host.driver.now())
                self._host.driver.flush()

    def write_eof(self) -> None:
        """Half close: the peer sees the end after what was written."""
        if self._is_closing or self._is_eof_due:
            return
        self._is_eof_due = True
        if not self._pending and not self._is_lost:
            self._connection.shutdown(SHUT_WR, self._host.driver.now())
            self._host.driver.flush()

    def can_write_eof(self) -> bool:
        """TCP can."""
        return True

    def get_write_buffer_size(self) -> int:
        """Bytes that the send buffer has not taken yet."""
        return self._pending_size

    # Protocol and names

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Another protocol takes over."""
        self._protocol = protocol
        self._is_buffered = isinstance(protocol, asyncio.BufferedProtocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who is told what arrives."""
        return self._protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``peername``, ``sockname`` (as the standard library's), ``socket``: for options, with ustack's own socket."""
        if name in ("sockname", "peername"):
            return name_of(*self._names[name == "peername"])
        if name == "socket":
            return self._as_socket()
        return default

    def _as_socket(self) -> Socket:
        if self._socket is None:
            family = socket.AF_INET if self._connection.flow.is_v4 else socket.AF_INET6
            core = StreamCore(self._host.attachment, int(family))
            core.adopt(self._connection)
            self._connection.owner = self._ear
            self._socket = Socket(core, int(socket.IPPROTO_TCP), 0.0)
        return self._socket

    # Ends

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._is_closing

    def close(self) -> None:
        """Sends what waits, then closes; ``connection_lost(None)`` follows."""
        if self._is_closing:
            return
        self._is_closing = True
        self._is_reading_paused = True
        if not self._pending:
            self._finish(None)

    def abort(self) -> None:
        """Closes at once; what waits is not sent."""
        self._force_close(None)

    def reset(self) -> None:
        """RST to the peer, for a host that closes."""
        self._connection.abort(self._host.driver.now())
        self._force_close(from_errno(errno.ENETDOWN))

    def _fatal(self, error: BaseException, message: str) -> None:
        if not isinstance(error, OSError):
            self._report(error, message)
        elif self._events.get_debug():
            asyncio.log.logger.debug("%r: %s", self, message, exc_info=True)  # type: ignore[attr-defined]
        self._force_close(error)

    def _report(self, error: BaseException, message: str) -> None:
        context = {"message": message, "exception": error, "transport": self, "protocol": self._protocol}
        self._events.call_exception_handler(context)

    def _force_close(self, error: BaseException | None) -> None:
        if self._is_lost:
            return
        self._pending.clear()
        self._pending_size = 0
        self._is_closing = self._is_reading_paused = True
        self._finish(error)

    def _finish(self, error: BaseException | None) -> None:
        """The protocol learns of the end in the next turn, and then the connection is let go."""
        if not self._is_lost:
            self._is_lost = True
            self._events.call_soon(self._lose, error)

    def _lose(self, error: BaseException | None) -> None:
        try:
            self._protocol.connection_lost(error if isinstance(error, Exception) else None)
        finally:
            connection = self._connection
            connection.owner = None
            if connection.state is not State.CLOSED:
                connection.close(self._host.driver.now())
            self._host.driver.flush()
            self._host.transports.pop(self, None)
            if self._server is not None:
                self._server.detach(self)
            if self._socket is not None:
                self._socket.close()

    def __repr__(self) -> str:
        state = "lost" if self._is_lost else "closing" if self._is_closing else self._connection.state.name.lower()
        return f"<{type(self).__name__} {state} {self.get_extra_info('sockname')} {self.get_extra_info('peername')}>"
