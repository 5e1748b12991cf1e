"""Two hosts on which the same test runs: two kernel sockets on loopback, or two ustack hosts on a pair in memory.

The kernel is the reference: what a test says of ``world`` is first of all true of Linux. The ustack hosts run
in virtual time and in the test's own thread: a blocked call turns both loops, and when nothing moves, the clock
jumps to the next deadline. A call that nothing can ever wake raises Deadlock.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from typing import Any

from ustack.device.link import add_route
from ustack.device.memory import MemoryPair
from ustack.device.namespace import Namespace, Visit, open_namespace
from ustack.driver.loop import Loop
from ustack.ring import RingMaker
from ustack.settings import Settings
from ustack.socket import Host
from ustack.stack.stack import Stack
from ustack.wire.address import parse_address

AF_INET = socket.AF_INET
SOCK_STREAM = socket.SOCK_STREAM
START = 1_000_000_000_000
V4, V6 = socket.AF_INET, socket.AF_INET6
STREAM, DGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM


def answer(call: Any, *arguments: Any) -> Any:
    """What a call returns, or the name of its errno."""
    try:
        return call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno or 0]


class Deadlock(AssertionError):  # noqa: N818 - named as what it is
    """The call would block for ever."""


class Network:
    """A clock that jumps, and the loops that live by it."""

    def __init__(self) -> None:
        self.time = START
        self.loops: list[Loop] = []
        self.deferred: deque[Callable[[], object]] = deque()

    def now(self) -> int:
        return self.time

    def turn(self) -> bool:
        """Every loop once; whether anything arrived anywhere."""
        while self.deferred:
            self.deferred.popleft()()
        moved = [loop.step(self.time) for loop in self.loops]
        return any(moved)

    def settle(self) -> None:
        """Until nothing moves at this instant."""
        for _ in range(100_000):
            if not self.turn() and not self._due():
                return
        raise Deadlock("the network never settles")

    def _due(self) -> bool:
        deadline = self.deadline()
        return deadline is not None and deadline <= self.time

    def deadline(self) -> int | None:
        deadlines = [at for loop in self.loops if (at := loop.deadline()) is not None]
        return min(deadlines, default=None)

    def pass_time(self, seconds: float) -> None:
        """Let the hosts live through ``seconds``."""
        end = self.time + int(seconds * 1e9)
        while True:
            self.settle()
            deadline = self.deadline()
            if deadline is None or deadline > end:
                break
            self.time = deadline
        self.time = end
        self.settle()


class VirtualDriver:
    """A driver for one host of a Network: waiting is turning the wheel."""

    def __init__(self, network: Network, loop: Loop) -> None:
        self.network = network
        self.loop = loop
        self.lock = threading.Lock()

    def now(self) -> int:
        return self.network.time

    def flush(self) -> None:
        self.loop.flush(self.network.time)

    def wake(self, waiter: object) -> None:
        """Nobody sleeps here."""

    def defer(self, action: Callable[[], object]) -> None:
        self.network.deferred.append(action)

    def wait(self, ready: Callable[[], bool], deadline: int | None, waiter: object) -> bool:
        network = self.network
        while not ready():
            if network.turn():
                continue
            at = network.deadline()
            if deadline is not None and (at is None or deadline <= at):
                network.time = max(network.time, deadline)
                network.turn()
                return ready()
            if at is None:
                raise Deadlock("nothing will ever wake this call")
            network.time = max(network.time, at)
        return True


def make_host(
    network: Network, device: Any, addresses: list[str], settings: Settings, seed: int, rings: RingMaker | None = None
) -> Host:
    stack = Stack(settings, entropy=bytes([seed]) * 32, rings=rings)
    for text in addresses:
        stack.add_address(parse_address(text), 64 if ":" in text else 24)
    stack.set_mtu(device.mtu)
    loop = Loop(stack, device, network.now)
    network.loops.append(loop)
    return Host(stack, VirtualDriver(network, loop), device_name="mem0")


class World:
    """What a test sees: a server's and a client's host."""

    is_kernel = False

    def __init__(self, settings: Settings | None = None) -> None:
        self.network = Network()
        self.pair = MemoryPair()
        settings = settings or Settings()
        self.server = make_host(self.network, self.pair.left, ["10.0.0.1", "fd00::1"], settings, 1)
        self.client = make_host(self.network, self.pair.right, ["10.0.0.2", "fd00::2"], settings, 2)
        self.opened: list[Any] = []

    def address(self, family: int = AF_INET) -> str:
        """The server's."""
        return "10.0.0.1" if family == socket.AF_INET else "fd00::1"

    def client_address(self, family: int = AF_INET) -> str:
        return "10.0.0.2" if family == socket.AF_INET else "fd00::2"

    def server_socket(self, family: int = AF_INET, kind: int = SOCK_STREAM, proto: int = 0) -> Any:
        return self.keep(self.server.socket(family, kind, proto))

    def socket(self, family: int = AF_INET, kind: int = SOCK_STREAM, proto: int = 0) -> Any:
        """A socket of the client's."""
        return self.keep(self.client.socket(family, kind, proto))

    def keep(self, found: Any) -> Any:
        """Close it at the end of the test."""
        self.opened.append(found)
        return found

    def settle(self) -> None:
        """Whatever is on its way arrives."""
        self.network.settle()

    def listener(self, family: int = AF_INET, backlog: int = 5) -> Any:
        found = self.server_socket(family)
        found.bind((self.address(family), 0))
        found.listen(backlog)
        return found

    def pair_of_streams(self, family: int = AF_INET) -> tuple[Any, Any]:
        """A connected client and the server's end."""
        listener = self.listener(family)
        client = self.socket(family)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        self.settle()
        return client, self.keep(server)

    def close(self) -> None:
        for found in self.opened:
            found.close()
        self.server.close()
        self.client.close()
        self.pair.close()


class KernelWorld(World):
    """Both hosts are the kernel, on loopback: in a network of their own where that is allowed (root).

    There no other process and no TIME-WAIT of an earlier test holds a port, every sysctl has its default, and what
    is for strangers ends on loopback. Only the sockets live there: names are resolved where the test runs.
    """

    is_kernel = True

    def __init__(self, *, own_network: bool = True) -> None:
        self.opened = []
        self.network_file = -1
        if own_network:
            with contextlib.suppress(PermissionError), Namespace():
                for everywhere in ("0.0.0.0/0", "::/0"):
                    add_route("lo", ip_network(everywhere))
                self.network_file = open_namespace()

    def address(self, family: int = AF_INET) -> str:
        return "127.0.0.1" if family == socket.AF_INET else "::1"

    client_address = address

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """What makes sockets by itself makes them in the world's network."""
        if self.network_file < 0:
            yield
            return
        with Visit(self.network_file):
            yield

    def server_socket(self, family: int = AF_INET, kind: int = SOCK_STREAM, proto: int = 0) -> Any:
        with self.inside():
            return self.keep(socket.socket(family, kind, proto))

    socket = server_socket

    def settle(self) -> None:
        """Loopback delivers within the sender's call."""

    def close(self) -> None:
        for found in self.opened:
            found.close()
        if self.network_file >= 0:
            os.close(self.network_file)
            self.network_file = -1
