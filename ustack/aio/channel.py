"""What a TCP transport does, compiled: data goes from the batch straight into ``data_received``.

:class:`ustack.aio.stream.StreamTransport` has asyncio's names for it, and asyncio's base class, which no compiled class
can have. What happens when a protocol raises, when the transport is closed while data waits, at the end of the stream
and when it is aborted is what asyncio's own transports on sockets do.
"""

from __future__ import annotations

import errno
from asyncio import constants, log
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from ustack.aio.driver import Driver
from ustack.errors import from_errno
from ustack.events import Event, Owner
from ustack.tcp.connection.connection import SHUT_WR, Connection
from ustack.tcp.state import State

READ_SIZE: Final = 256 * 1024
"""Bytes that one ``data_received`` brings at most."""


class Channel(Owner):
    """Between a connection and a protocol. ``face`` is the transport that the protocol knows.

    ``face`` pauses and resumes the protocol, and reports what is wrong; ``ended`` is called when all is over.
    """

    def __init__(self, driver: Driver, connection: Connection, face: Any, ended: Callable[[], None]) -> None:
        self.driver = driver
        self.connection = connection
        self.face: Any = face
        self.protocol: Any = None
        self.is_buffered = False
        """The protocol brings its own memory (asyncio.BufferedProtocol)."""
        self.is_reading_paused = True
        self.is_paused_on_purpose = False
        self.is_closing = False
        self.is_eof_due = False
        self.has_seen_eof = False
        self.is_lost = False
        self.pending_size = 0
        """Bytes that the send buffer has not taken yet."""
        self._lost_writes = 0
        self._pending: deque[memoryview] = deque()
        self._ended = ended
        connection.owner = self

    def begin(self) -> None:
        """Tells the protocol, and begins to read."""
        if self.is_lost:
            return
        try:
            self.protocol.connection_made(self.face)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.fatal(error, "Fatal error: protocol.connection_made() call failed.")
            return
        if self.is_reading_paused and not self.is_closing and not self.is_paused_on_purpose:
            self.is_reading_paused = False
            self._read()
            self.driver.flush()

    # What the stack tells

    def on_event(self, event: Event) -> None:
        """Something happened: what that is, the connection knows."""
        if self.is_lost:
            return
        connection = self.connection
        if not self.is_reading_paused:
            self._read()
        if self.pending_size and not self.is_lost:
            self._push()
        if connection.state is State.CLOSED and not self.is_lost and connection.unread() == 0:
            self._on_closed()

    def _on_closed(self) -> None:
        """Nothing more will come of the connection: an error, or the end of one that both sides have closed."""
        code = self.connection.take_error()
        if code:
            self.force_close(from_errno(code))
        elif not self.is_closing and not self.is_reading_paused:
            self.force_close(None)
        elif self.is_closing or self.pending_size:
            self.force_close(from_errno(errno.EPIPE) if self.pending_size else None)

    def _read(self) -> None:
        """Everything that is here goes to the protocol, as long as it wants it."""
        connection, now = self.connection, self.driver.now()
        while not self.is_reading_paused and not self.is_lost:
            if self.is_buffered:
                if not self._read_into_buffer(connection, now):
                    break
                continue
            data = connection.read(READ_SIZE, now)
            if not data:
                break
            try:
                self.protocol.data_received(data)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:
                self.fatal(error, "Fatal error: protocol.data_received() call failed.")
                return
        if not self.is_reading_paused and not self.is_lost and not self.has_seen_eof and connection.at_eof():
            self._on_eof()

    def _read_into_buffer(self, connection: Connection, now: int) -> bool:
        """A BufferedProtocol brings its own memory. Whether anything was read."""
        if not connection.unread():
            return False
        try:
            buffer = self.protocol.get_buffer(-1)
            if not len(buffer):
                raise RuntimeError("get_buffer() returned an empty buffer")
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.fatal(error, "Fatal error: protocol.get_buffer() call failed.")
            return False
        count = connection.read_into(buffer, now)
        try:
            self.protocol.buffer_updated(count)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.fatal(error, "Fatal error: protocol.buffer_updated() call failed.")
            return False
        return count > 0

    def _on_eof(self) -> None:
        self.has_seen_eof = True
        try:
            keeps_open = self.protocol.eof_received()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.fatal(error, "Fatal error: protocol.eof_received() call failed.")
            return
        if not keeps_open:
            self.close()

    # Reading

    def is_reading(self) -> bool:
        """Whether data comes to the protocol."""
        return not self.is_closing and not self.is_reading_paused

    def pause_reading(self) -> None:
        """No ``data_received`` until ``resume_reading``; the window closes when the receive buffer is full."""
        if self.is_reading() or not self.is_paused_on_purpose:
            self.is_paused_on_purpose = True
            self.is_reading_paused = True

    def resume_reading(self) -> None:
        """Data comes again; what waits comes in the next turn of the event loop."""
        if self.is_closing or not self.is_reading_paused:
            return
        self.is_paused_on_purpose = False
        self.is_reading_paused = False
        self.driver.defer(self._resume)

    def _resume(self) -> None:
        if not self.is_reading_paused and not self.is_lost:
            self._read()
            connection = self.connection
            if connection.state is State.CLOSED and not self.is_lost and connection.unread() == 0:
                self._on_closed()
            self.driver.flush()

    # Writing

    def write(self, data: object) -> None:
        """Sends, or keeps what the send buffer does not take. Raises TypeError, RuntimeError after write_eof()."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if self.is_eof_due:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self.is_lost or self._lost_writes:
            self._lost_writes += 1
            if self._lost_writes == constants.LOG_THRESHOLD_FOR_CONNLOST_WRITES:
                log.logger.warning("socket.send() raised exception.")
        elif data:
            self._send(data)

    def _send(self, data: bytes | bytearray | memoryview) -> None:
        if isinstance(data, bytes):
            taken = 0 if self.pending_size else self._take(data)
            if taken == len(data) or self.is_lost:
                return
            rest = memoryview(data)[taken:]
        else:
            view = memoryview(data).cast("B")
            taken = 0 if self.pending_size else self._take(view)
            if taken == len(view) or self.is_lost:
                return
            rest = memoryview(bytes(view[taken:]))
        self._pending.append(rest)
        self.pending_size += len(rest)
        self.connection.await_room()
        self.face._maybe_pause_protocol()

    def _take(self, data: object) -> int:
        """What the send buffer takes; on an error the connection is lost, in the next turn."""
        try:
            taken = self.connection.write(data, self.driver.now())
        except OSError as error:
            self.fatal(error, "Fatal write error on socket transport")
            return 0
        self.driver.flush()
        return taken

    def _push(self) -> None:
        """Sends what waits, as far as there is room."""
        pending = self._pending
        while pending and not self.is_lost:
            view = pending[0]
            taken = self._take(view)
            self.pending_size -= taken
            if taken < len(view):
                if not self.is_lost:
                    pending[0] = view[taken:]
                    self.connection.await_room()
                break
            pending.popleft()
        self.face._maybe_resume_protocol()
        if not self.pending_size and not self.is_lost:
            if self.is_closing:
                self._finish(None)
            elif self.is_eof_due:
                self._shut_down()

    def write_eof(self) -> None:
        """Half close: the peer sees the end after what was written."""
        if self.is_closing or self.is_eof_due:
            return
        self.is_eof_due = True
        if not self.pending_size and not self.is_lost:
            self._shut_down()

    def _shut_down(self) -> None:
        self.connection.shutdown(SHUT_WR, self.driver.now())
        self.driver.flush()

    # Ends

    def close(self) -> None:
        """Sends what waits, then closes; ``connection_lost(None)`` follows."""
        if self.is_closing:
            return
        self.is_closing = True
        self.is_reading_paused = True
        if not self.pending_size:
            self._finish(None)

    def fatal(self, error: BaseException, message: str) -> None:
        """Ends the connection. What is no fault of the network is told to the event loop's handler."""
        self.face._tell_fault(error, message)
        self.force_close(error)

    def force_close(self, error: BaseException | None) -> None:
        """Closes at once; what waits is not sent."""
        if self.is_lost:
            return
        self._pending.clear()
        self.pending_size = 0
        self.is_closing = True
        self.is_reading_paused = True
        self._finish(error)

    def _finish(self, error: BaseException | None) -> None:
        """The protocol learns of the end in the next turn, and then the connection is let go."""
        if not self.is_lost:
            self.is_lost = True
            self.driver.defer(lambda: self._lose(error))

    def _lose(self, error: BaseException | None) -> None:
        try:
            self.protocol.connection_lost(error if isinstance(error, Exception) else None)
        finally:
            connection = self.connection
            connection.owner = None
            if connection.state is not State.CLOSED:
                connection.close(self.driver.now())
            self.driver.flush()
            self._ended()
