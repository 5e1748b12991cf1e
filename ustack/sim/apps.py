"""Small applications for the simulated network: each owns an endpoint and acts on its events, as a program would."""

from __future__ import annotations

from hashlib import blake2b

from ustack.events import Event, Owner
from ustack.settings import Settings
from ustack.sim.network import SimHost
from ustack.sockopts import SocketOptions
from ustack.stack.stack import Stack
from ustack.tcp.connection.connection import SHUT_WR, Connection
from ustack.tcp.listener import Listener
from ustack.wire.address import ANY


def make_stack(seed: str, settings: Settings | None = None) -> Stack:
    """A Stack that does the same for the same seed."""
    return Stack(settings or Settings(), entropy=blake2b(seed.encode()).digest())


class Exchange(Owner):
    """One end of a connection: writes ``data``, shuts down, reads to the end, closes.

    ``received`` grows meanwhile; ``error`` is what the connection ended with, if it ended badly. ``read_size`` limits
    one read. ``late`` keeps the connection open until the peer has finished.
    """

    def __init__(self, host: SimHost, data: bytes = b"", *, read_size: int = 1 << 20, late: bool = False) -> None:
        self.host = host
        self.data = data
        self.read_size = read_size
        self.late = late
        self.written = 0
        self.received = bytearray()
        self.error: OSError | None = None
        self.is_finished = False
        self.is_reading = True
        """Switched off: a reader that has gone to sleep."""
        self.connection: Connection | None = None
        self._has_shut_down = False

    def own(self, connection: Connection) -> None:
        """Takes an accepted or a connecting connection."""
        self.connection = connection
        connection.owner = self
        self.act()

    def connect(self, remote: bytes, port: int, options: SocketOptions | None = None) -> Exchange:
        """Opens the connection from this host."""
        own = options or SocketOptions()
        self.own(self.host.stack.connect(ANY, 0, remote, port, own, self.host.now))
        self.host.flush()
        return self

    def on_event(self, event: Event) -> None:
        self.act()

    def act(self) -> None:
        """Does whatever can be done now."""
        connection, now = self.connection, self.host.now
        if connection is None or self.is_finished:
            return
        try:
            self._write(connection, now)
            self._read(connection, now)
        except OSError as error:
            self._end(error)
            return
        if connection.error:
            self._end(OSError(connection.error, "the connection broke"))
        elif connection.at_eof() and self.is_reading:
            self._shut_down(connection, now)
            if self._has_shut_down:
                connection.close(now)
                self.is_finished = True

    def _write(self, connection: Connection, now: int) -> None:
        while self.written < len(self.data):
            taken = connection.write(memoryview(self.data)[self.written : self.written + (1 << 20)], now)
            if not taken:
                return
            self.written += taken
        if not connection.writable():
            connection.await_room()
        elif not self.late:
            self._shut_down(connection, now)

    def _shut_down(self, connection: Connection, now: int) -> None:
        if not self._has_shut_down and self.written == len(self.data):
            self._has_shut_down = True
            connection.shutdown(SHUT_WR, now)

    def _read(self, connection: Connection, now: int) -> None:
        while self.is_reading and (data := connection.read(self.read_size, now)):
            self.received += data

    def _end(self, error: OSError) -> None:
        self.error = error
        self.is_finished = True
        connection = self.connection
        if connection is not None:
            connection.close(self.host.now)


class Server(Owner):
    """Listens on a port of a host and gives each connection to an Exchange of its own with ``data``."""

    def __init__(self, host: SimHost, port: int, data: bytes = b"", *, late: bool = False, backlog: int = 128) -> None:
        self.host = host
        self.data = data
        self.late = late
        self.exchanges: list[Exchange] = []
        self.listener: Listener = host.stack.listen(ANY, port, backlog, SocketOptions(), host.now)
        self.listener.owner = self

    def on_event(self, event: Event) -> None:
        while (connection := self.listener.accept(self.host.now)) is not None:
            exchange = Exchange(self.host, self.data, late=self.late)
            self.exchanges.append(exchange)
            exchange.own(connection)

    def close(self) -> None:
        self.listener.close(self.host.now)
        self.host.flush()
