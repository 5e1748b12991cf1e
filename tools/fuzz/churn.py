"""Many connections, one after the other and side by side: what they cost must be given back."""

from __future__ import annotations

import gc

from tools.fuzz.invariants import check_empty, check_stack, require
from ustack.events import Event, Owner
from ustack.settings import Settings
from ustack.sim.network import SimHost, SimNetwork
from ustack.sockopts import SocketOptions
from ustack.stack.stack import Stack
from ustack.tcp.connection.connection import SHUT_WR, Connection
from ustack.tcp.listener import Listener
from ustack.wire.address import ANY, parse_address

SECOND = 1_000_000_000
PORT = 80


class Caller(Owner):
    """Says a word, hears it come back, and leaves, in one of several ways. It also serves the other end."""

    def __init__(self, host: SimHost, manner: int, calls: bool) -> None:
        self.host = host
        self.manner = manner
        self.calls = calls
        self.connection: Connection | None = None
        self.is_over = False

    def own(self, connection: Connection) -> None:
        self.connection = connection
        connection.owner = self
        if self.manner & 4:
            connection.options.keepalive = True
            connection.option_changed("keepalive", self.host.now)

    def on_event(self, event: Event) -> None:
        connection, now = self.connection, self.host.now
        if connection is None or self.is_over:
            return
        word = connection.read(100, now)
        if connection.error or (connection.at_eof() and not self.calls):
            self._leave(connection)
        elif self.calls and not connection.sender.send_ring.end and connection.writable():
            connection.write(b"word", now)
        elif word and not self.calls:
            connection.write(word, now)
        elif word:
            self._say_goodbye(connection)
        elif connection.at_eof():
            self._leave(connection)

    def _say_goodbye(self, connection: Connection) -> None:
        if self.manner & 3 == 0:
            connection.shutdown(SHUT_WR, self.host.now)
        elif self.manner & 3 == 1:
            connection.abort(self.host.now)
            self.is_over = True
        else:
            self._leave(connection)

    def _leave(self, connection: Connection) -> None:
        self.is_over = True
        connection.close(self.host.now)


class Exchange(Owner):
    """A listener whose connections are served by Callers."""

    def __init__(self, host: SimHost) -> None:
        self.host = host
        self.listener: Listener = host.stack.listen(ANY, PORT, 1000, SocketOptions(), host.now)
        self.listener.owner = self

    def on_event(self, event: Event) -> None:
        while (connection := self.listener.accept(self.host.now)) is not None:
            Caller(self.host, 0, False).own(connection)


def churn(rounds: int, width: int = 50) -> tuple[int, int]:
    """``rounds`` times ``width`` connections, opened together. Live objects after a tenth of them, and at the end."""
    network = SimNetwork()
    settings = Settings(tcp_timewait_length=1)
    hosts = []
    for number, name in enumerate(("left", "right"), 1):
        stack = Stack(settings, entropy=name.encode() * 8)
        hosts.append(network.add_host(name, stack, f"10.0.0.{number}/24"))
    left, right = hosts
    network.join(left, right)
    exchange = Exchange(right)
    remote = parse_address("10.0.0.2")
    counts = [0, 0]
    for turn in range(rounds):
        callers = [Caller(left, number, True) for number in range(width)]
        for caller in callers:
            caller.own(left.stack.connect(ANY, 0, remote, PORT, SocketOptions(), left.now))
        network.run_for(5 * SECOND)
        require(all(caller.is_over for caller in callers), "a call that does not end")
        for host in hosts:
            require(not host.stack.tcp.connections and not host.stack.tcp.time_waits, "left behind", host)
            check_stack(host.stack, network.now)
            host.events.clear()
        del callers, caller
        if turn in (rounds // 10, rounds - 1):
            gc.collect()
            counts[turn == rounds - 1] = len(gc.get_objects())
    exchange.listener.close(network.now)
    network.flush()
    network.run_until_quiet()
    for host in hosts:
        check_empty(host.stack)
    return counts[0], counts[1]
