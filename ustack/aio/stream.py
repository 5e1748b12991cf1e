"""A TCP connection as an asyncio transport: asyncio's names for what :mod:`ustack.aio.channel` does."""

from __future__ import annotations

import asyncio
import errno
import socket
from asyncio import constants, log, transports
from typing import TYPE_CHECKING, Any

from ustack.aio.channel import Channel
from ustack.aio.names import name_of
from ustack.errors import from_errno
from ustack.socket.socket import Socket
from ustack.socket.stream import StreamCore
from ustack.tcp.connection.connection import Connection

if TYPE_CHECKING:
    from ustack.aio.host import AsyncHost
    from ustack.aio.server import Server


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
        self._channel = Channel(host.driver, connection, self, self._on_ended)
        self._server = server
        self._socket: Socket | None = None
        self._names = connection.local, connection.remote
        self.set_protocol(protocol)
        host.transports[self] = None
        if server is not None:
            server.attach(self)

    def start(self) -> None:
        """Tells the protocol, and begins to read: in the next turn of the event loop, as asyncio does."""
        self._events.call_soon(self._channel.begin)

    # Reading

    def is_reading(self) -> bool:
        """Whether data comes to the protocol."""
        return self._channel.is_reading()

    def pause_reading(self) -> None:
        """No ``data_received`` until ``resume_reading``; the window closes when the receive buffer is full."""
        self._channel.pause_reading()

    def resume_reading(self) -> None:
        """Data comes again; what waits comes in the next turn of the event loop."""
        self._channel.resume_reading()

    # Writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Sends, or keeps what the send buffer does not take. Raises TypeError, RuntimeError after write_eof()."""
        self._channel.write(data)

    def writelines(self, list_of_data: Any) -> None:
        """Sends one after the other."""
        for data in list_of_data:
            self.write(data)

    def write_eof(self) -> None:
        """Half close: the peer sees the end after what was written."""
        self._channel.write_eof()

    def can_write_eof(self) -> bool:
        """TCP can."""
        return True

    def get_write_buffer_size(self) -> int:
        """Bytes that the send buffer has not taken yet."""
        return self._channel.pending_size

    # Protocol and names

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Another protocol takes over."""
        self._protocol = self._channel.protocol = protocol
        self._channel.is_buffered = isinstance(protocol, asyncio.BufferedProtocol)

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
            self._connection.owner = self._channel
            self._socket = Socket(core, int(socket.IPPROTO_TCP), 0.0)
        return self._socket

    # Ends

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._channel.is_closing

    def close(self) -> None:
        """Sends what waits, then closes; ``connection_lost(None)`` follows."""
        self._channel.close()

    def abort(self) -> None:
        """Closes at once; what waits is not sent."""
        self._channel.force_close(None)

    def reset(self) -> None:
        """RST to the peer, for a host that closes."""
        self._connection.abort(self._host.driver.now())
        self._channel.force_close(from_errno(errno.ENETDOWN))

    def _force_close(self, error: BaseException | None) -> None:
        """What asyncio's TLS calls when a handshake fails."""
        self._channel.force_close(error)

    def _tell_fault(self, error: BaseException, message: str) -> None:
        """For the channel: the event loop's handler hears of what is no fault of the network."""
        if not isinstance(error, OSError):
            context = {"message": message, "exception": error, "transport": self, "protocol": self._protocol}
            self._events.call_exception_handler(context)
        elif self._events.get_debug():
            log.logger.debug("%r: %s", self, message, exc_info=True)

    def _on_ended(self) -> None:
        """For the channel: the protocol has heard of the end, and the connection is let go."""
        self._host.transports.pop(self, None)
        if self._server is not None:
            self._server.detach(self)
        if self._socket is not None:
            self._socket.close()

    def __repr__(self) -> str:
        lost, closing = self._channel.is_lost, self._channel.is_closing
        state = "lost" if lost else "closing" if closing else self._connection.state.name.lower()
        return f"<{type(self).__name__} {state} {self.get_extra_info('sockname')} {self.get_extra_info('peername')}>"
