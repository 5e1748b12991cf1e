"""A listening server: asyncio's ``Server`` over listeners of the stack."""

from __future__ import annotations

import asyncio
import socket
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ustack.aio.ear import Ear
from ustack.aio.names import name_of
from ustack.events import Event
from ustack.tcp.connection.connection import Connection
from ustack.tcp.listener import Listener
from ustack.wire.address import is_v4

if TYPE_CHECKING:
    from ustack.aio.host import AsyncHost
    from ustack.aio.stream import StreamTransport


class ServerSocket:
    """What ``Server.sockets`` shows of a listener: its name, and what kind of socket it is."""

    type = socket.SOCK_STREAM
    proto = int(socket.IPPROTO_TCP)

    def __init__(self, listener: Listener) -> None:
        self._name = name_of(listener.address, listener.port)
        self.family = socket.AF_INET if is_v4(listener.address) else socket.AF_INET6

    def getsockname(self) -> tuple[Any, ...]:
        """The address and port that it listens on."""
        return self._name


class Server(asyncio.AbstractServer):
    """Hands each connection to ``take``; ``start`` listens."""

    def __init__(
        self,
        host: AsyncHost,
        listen: Callable[[], list[Listener]],
        take: Callable[[Connection, Server], None],
    ) -> None:
        self._host = host
        self._listen = listen
        self._take = take
        self._listeners: list[Listener] | None = []
        self._is_serving = False
        self._clients: weakref.WeakSet[StreamTransport] = weakref.WeakSet()
        self._active = 0
        self._waiters: list[asyncio.Future[None]] | None = []
        self._forever: asyncio.Future[None] | None = None

    def on_event(self, event: Event) -> None:
        """Connections wait for accept()."""
        for listener in self._listeners or ():
            while (connection := listener.accept(self._host.driver.now())) is not None:
                self._take(connection, self)

    def attach(self, transport: StreamTransport) -> None:
        """A connection of this server begins."""
        self._active += 1
        self._clients.add(transport)

    def detach(self, transport: StreamTransport) -> None:
        """It has ended."""
        self._active -= 1
        self._clients.discard(transport)
        if self._active == 0 and self._listeners is None:
            self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that it belongs to."""
        return self._host.events

    def is_serving(self) -> bool:
        """Whether connections are accepted."""
        return self._is_serving

    @property
    def sockets(self) -> tuple[ServerSocket, ...]:
        """One for each address that it listens on, with ``getsockname()``."""
        return tuple(ServerSocket(listener) for listener in self._listeners or ())

    def listen(self) -> None:
        """Takes the addresses, and begins to accept. Raises EADDRINUSE, EADDRNOTAVAIL."""
        if self._is_serving or self._listeners is None:
            return
        self._listeners = self._listen()
        self._is_serving = True
        for listener in self._listeners:
            listener.owner = Ear(self.on_event)
        self._host.servers[self] = None

    async def start_serving(self) -> None:
        """Begins to accept; nothing when it does already."""
        self.listen()
        await asyncio.sleep(0)

    async def serve_forever(self) -> None:
        """Accepts until it is cancelled; then it closes. Raises RuntimeError when closed, or asked twice."""
        if self._forever is not None:
            raise RuntimeError(f"server {self!r} is already being awaited on serve_forever()")
        if self._listeners is None:
            raise RuntimeError(f"server {self!r} is closed")
        self.listen()
        self._forever = self._host.events.create_future()
        try:
            await self._forever
        except asyncio.CancelledError:
            try:
                self.close()
                await self.wait_closed()
            finally:
                raise
        finally:
            self._forever = None

    def close(self) -> None:
        """No more connections; those that are open go on."""
        listeners, self._listeners = self._listeners, None
        if listeners is None:
            return
        self._is_serving = False
        self._host.servers.pop(self, None)
        for listener in listeners:
            listener.owner = None
            listener.close(self._host.driver.now())
        self._host.driver.flush()
        if self._forever is not None and not self._forever.done():
            self._forever.cancel()
        if self._active == 0:
            self._wake()

    def close_clients(self) -> None:
        """Closes every connection, once what was written is sent (Python 3.13)."""
        for transport in list(self._clients):
            transport.close()

    def abort_clients(self) -> None:
        """Closes every connection at once (Python 3.13)."""
        for transport in list(self._clients):
            transport.abort()

    async def wait_closed(self) -> None:
        """Returns when it is closed and all its connections have ended."""
        if self._waiters is None or (self._active == 0 and self._listeners is None):
            return
        waiter = self._host.events.create_future()
        self._waiters.append(waiter)
        await waiter

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()
        await self.wait_closed()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} sockets={[one.getsockname() for one in self.sockets]!r}>"
