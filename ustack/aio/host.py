"""``AsyncHost``: asyncio's functions for connections and servers, on a stack of one's own."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl as ssl_module
from asyncio import sslproto, staggered
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from ustack.aio.datagram import DatagramTransport
from ustack.aio.driver import Driver
from ustack.aio.ear import Ear
from ustack.aio.names import resolve
from ustack.aio.server import Server
from ustack.aio.stream import StreamTransport
from ustack.counters import Counters
from ustack.errors import from_errno
from ustack.events import Event
from ustack.socket.core import Attachment
from ustack.sockopts import SocketOptions
from ustack.stack.stack import Stack
from ustack.tcp.connection.connection import Connection
from ustack.tcp.listener import Listener
from ustack.tcp.state import State
from ustack.trace import Event as TraceEvent
from ustack.trace import Trace, trace
from ustack.wire.address import ANY, ANY_V4, is_v4

STREAM_LIMIT = 64 * 1024
P = TypeVar("P", bound=asyncio.BaseProtocol)
Factory = Callable[[], asyncio.BaseProtocol]


class AsyncHost:
    """A host on a network, in one event loop. Its functions have asyncio's names and arguments."""

    def __init__(self, stack: Stack, driver: Driver) -> None:
        self.stack = stack
        self.driver = driver
        self.events = driver.events
        self.attachment = Attachment(stack, driver)
        self.transports: dict[Any, None] = {}
        """In the order in which they began."""
        self.servers: dict[Server, None] = {}
        driver.failed = self._on_failure

    @property
    def counters(self) -> Counters:
        """As nstat shows them."""
        return self.stack.counters

    def trace(self, tell: Callable[[TraceEvent], object], *, counters: bool = False) -> Trace:
        """Calls ``tell`` with each thing that the stack does, with its reason (:mod:`ustack.trace`)."""
        return trace(self.stack, tell, counters=counters)

    # Connecting

    async def create_connection(  # noqa: PLR0913 - asyncio's own arguments
        self,
        protocol_factory: Callable[[], P],
        host: str | None = None,
        port: int | str | None = None,
        *,
        ssl: ssl_module.SSLContext | bool | None = None,
        family: int = 0,
        flags: int = 0,
        local_addr: tuple[str, int] | None = None,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        happy_eyeballs_delay: float | None = None,
        all_errors: bool = False,
    ) -> tuple[asyncio.Transport, P]:
        """As ``loop.create_connection()``. Raises what connect() raises: ECONNREFUSED, ETIMEDOUT, ENETUNREACH ..."""
        if server_hostname is not None and not ssl:
            raise ValueError("server_hostname is only meaningful with ssl")
        if ssl and server_hostname is None:
            if not host:
                raise ValueError("You must set server_hostname when using ssl without a host")
            server_hostname = host
        targets = await resolve(host, port, socket.SOCK_STREAM, family, flags)
        sources = await resolve(*local_addr, socket.SOCK_STREAM, family, flags) if local_addr else []
        connection = await self._connect_to_one(targets, sources, happy_eyeballs_delay, all_errors)
        protocol = protocol_factory()
        if not ssl:
            transport = StreamTransport(self, connection, protocol)
            await self._started(transport)
            return transport, protocol
        context = ssl_module.create_default_context() if ssl is True else ssl
        waiter = self.events.create_future()
        how = {"ssl_handshake_timeout": ssl_handshake_timeout, "ssl_shutdown_timeout": ssl_shutdown_timeout}
        made = self._tls(connection, protocol, context, waiter, None, server_hostname=server_hostname, **how)
        try:
            await waiter
        except BaseException:
            made.close()
            raise
        return made, protocol

    async def _started(self, transport: StreamTransport | DatagramTransport) -> None:
        """Returns when the protocol knows of its transport; who is cancelled meanwhile leaves none behind."""
        waiter = self.events.create_future()
        transport.start()
        self.events.call_soon(_set, waiter)
        try:
            await waiter
        except BaseException:
            transport.close()
            raise

    def _tls(
        self,
        connection: Connection,
        protocol: asyncio.BaseProtocol,
        context: ssl_module.SSLContext,
        waiter: asyncio.Future[None] | None,
        server: Server | None,
        **how: Any,
    ) -> asyncio.Transport:
        """asyncio's own TLS between the connection and the protocol."""
        between = sslproto.SSLProtocol(self.events, protocol, context, waiter, server is not None, **how)  # type: ignore[arg-type]
        StreamTransport(self, connection, between, server).start()
        return between._app_transport

    async def _connect_to_one(
        self, targets: list[tuple[int, bytes, int]], sources: list[tuple[int, bytes, int]],
        delay: float | None, all_errors: bool,
    ) -> Connection:  # fmt: skip
        """The first address that answers: one after the other, or ``delay`` seconds apart (RFC 8305)."""
        errors: list[Exception] = []
        found: Connection | None = None
        if delay is None or len(targets) == 1:
            for target in targets:
                try:
                    found = await self._connect(target, sources)
                    break
                except OSError as error:
                    errors.append(error)
        else:
            attempts = [lambda target=target: self._connect(target, sources) for target in targets]
            found, _, raised = await staggered.staggered_race(attempts, delay, loop=self.events)
            errors = [one for one in raised if isinstance(one, Exception)]
        if found is not None:
            return found
        if all_errors:
            raise ExceptionGroup("create_connection failed", errors)
        if len(errors) == 1 or all(str(one) == str(errors[0]) for one in errors):
            raise errors[0]
        raise OSError(f"Multiple exceptions: {', '.join(str(one) for one in errors)}")

    async def _connect(self, target: tuple[int, bytes, int], sources: list[tuple[int, bytes, int]]) -> Connection:
        family, address, port = target
        local, local_port = ANY_V4 if is_v4(address) else ANY, 0
        if sources:
            fit = [one for one in sources if one[0] == family]
            if not fit:
                raise OSError(f"no matching local address with family={family} found")
            _, local, local_port = fit[0]
        self._check_open()
        connection = self.stack.connect(local, local_port, address, port, SocketOptions(), self.driver.now())
        done = self.events.create_future()

        def told(event: Event) -> None:
            if not connection.is_opening() and not done.done():
                done.set_result(None)

        connection.owner = Ear(told)
        self.driver.flush()
        try:
            await done
        except BaseException:
            connection.owner = None
            connection.abort(self.driver.now())
            self.driver.flush()
            raise
        connection.owner = None
        if connection.state is State.CLOSED:
            code = connection.take_error() or errno.ECONNABORTED
            error = from_errno(code)
            raise type(error)(code, f"Connect call failed {(target[1:])}: {error.strerror}") from None
        return connection

    async def open_connection(
        self, host: str | None = None, port: int | str | None = None, *, limit: int = STREAM_LIMIT, **how: Any
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """As ``asyncio.open_connection()``; other arguments are those of ``create_connection``."""
        reader = asyncio.StreamReader(limit=limit, loop=self.events)
        protocol = asyncio.StreamReaderProtocol(reader, loop=self.events)
        transport, _ = await self.create_connection(lambda: protocol, host, port, **how)
        return reader, asyncio.StreamWriter(transport, protocol, reader, self.events)

    # Serving

    async def create_server(  # noqa: PLR0913 - asyncio's own arguments
        self,
        protocol_factory: Factory,
        host: str | Iterable[str] | None = None,
        port: int | str | None = None,
        *,
        family: int = 0,
        flags: int = socket.AI_PASSIVE,
        backlog: int = 100,
        ssl: ssl_module.SSLContext | None = None,
        reuse_address: bool | None = None,
        reuse_port: bool | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        start_serving: bool = True,
    ) -> Server:
        """As ``loop.create_server()``. Raises EADDRINUSE, EADDRNOTAVAIL; TypeError for ``ssl`` that is no context."""
        if isinstance(ssl, bool):
            raise TypeError("ssl argument must be an SSLContext or None")
        places = await self._places(host, port, family, flags)

        def listen() -> list[Listener]:
            return self._listen(places, backlog, reuse_port)

        def take(connection: Connection, server: Server) -> None:
            protocol = protocol_factory()
            if ssl is None:
                StreamTransport(self, connection, protocol, server).start()
            else:
                self._tls(connection, protocol, ssl, None, server, ssl_handshake_timeout=ssl_handshake_timeout,
                          ssl_shutdown_timeout=ssl_shutdown_timeout)  # fmt: skip

        server = Server(self, listen, take)
        if start_serving:
            await server.start_serving()
        return server

    async def _places(
        self, host: str | Iterable[str] | None, port: Any, family: int, flags: int
    ) -> list[tuple[bytes, int]]:
        if host == "" or host is None:
            return [(ANY, int(port or 0))]
        hosts = [host] if isinstance(host, str) else list(host)
        found: list[tuple[bytes, int]] = []
        for one in hosts:
            for _, address, number in await resolve(one, port, socket.SOCK_STREAM, family, flags):
                if (address, number) not in found:
                    found.append((address, number))
        return found

    def _listen(self, places: list[tuple[bytes, int]], backlog: int, reuse_port: bool | None) -> list[Listener]:
        self._check_open()
        listeners: list[Listener] = []
        try:
            for address, port in places:
                options = SocketOptions()
                options.reuseaddr = True
                options.reuseport = bool(reuse_port)
                most = min(backlog, self.stack.settings.somaxconn)
                listeners.append(self.stack.listen(address, port, most, options, self.driver.now()))
        except OSError:
            for listener in listeners:
                listener.close(self.driver.now())
            raise
        return listeners

    async def start_server(
        self,
        client_connected_cb: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any],
        host: str | Iterable[str] | None = None,
        port: int | str | None = None,
        *,
        limit: int = STREAM_LIMIT,
        **how: Any,
    ) -> Server:
        """As ``asyncio.start_server()``; other arguments are those of ``create_server``."""

        def factory() -> asyncio.StreamReaderProtocol:
            reader = asyncio.StreamReader(limit=limit, loop=self.events)
            return asyncio.StreamReaderProtocol(reader, client_connected_cb, loop=self.events)

        return await self.create_server(factory, host, port, **how)

    # Datagrams

    async def create_datagram_endpoint(
        self,
        protocol_factory: Callable[[], asyncio.DatagramProtocol],
        local_addr: tuple[str, int] | None = None,
        remote_addr: tuple[str, int] | None = None,
        *,
        family: int = 0,
        flags: int = 0,
        reuse_port: bool | None = None,
        allow_broadcast: bool | None = None,
    ) -> tuple[DatagramTransport, asyncio.DatagramProtocol]:
        """As ``loop.create_datagram_endpoint()``. Raises EADDRINUSE, EADDRNOTAVAIL, ENETUNREACH."""
        if local_addr is None and remote_addr is None and not family:
            raise ValueError("unexpected address family")
        remote = (await resolve(*remote_addr, socket.SOCK_DGRAM, family, flags))[0] if remote_addr else None
        local = (await resolve(*local_addr, socket.SOCK_DGRAM, family, flags))[0] if local_addr else None
        options = SocketOptions()
        options.reuseport, options.broadcast = bool(reuse_port), bool(allow_broadcast)
        is_six = family == socket.AF_INET6 or (remote is not None and not is_v4(remote[1]))
        address, port = (local[1], local[2]) if local else (ANY if is_six else ANY_V4, 0)
        self._check_open()
        endpoint = self.stack.udp_open(address, port, options, self.driver.now())
        try:
            if remote is not None:
                endpoint.connect(remote[1], remote[2])
        except OSError:
            endpoint.close()
            raise
        protocol = protocol_factory()
        transport = DatagramTransport(self, endpoint, protocol)
        await self._started(transport)
        return transport, protocol

    # The end

    def _check_open(self) -> None:
        if self.driver.is_closed:
            raise from_errno(errno.ENETDOWN)

    def _on_failure(self, error: OSError) -> None:
        """The device is gone: every connection ends with its error."""
        for server in list(self.servers):
            server.close()
        for transport in list(self.transports):
            transport.reset()

    def close(self) -> None:
        """Servers close, connections are reset, the device is given back. Protocols learn of it in the next turn."""
        if self.driver.is_closed:
            return
        for server in list(self.servers):
            server.close()
        for transport in list(self.transports):
            transport.reset()
        self.driver.close()
        self.attachment.closed = True

    async def aclose(self) -> None:
        """close(), and waits until every protocol has learned of it."""
        self.close()
        while self.transports:
            await asyncio.sleep(0)

    async def __aenter__(self) -> AsyncHost:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<ustack.aio.AsyncHost{' closed' if self.driver.is_closed else ''} transports={len(self.transports)}>"


def _set(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
