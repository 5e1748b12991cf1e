"""A stack small enough to be obviously right, for tests of those who drive one: datagrams in, datagrams out."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ustack.device.base import Device
from ustack.device.memory import MemoryPair
from ustack.driver.loop import Loop
from ustack.driver.thread import ThreadDriver
from ustack.events import Endpoint as Place
from ustack.events import Event, EventKind, Owner
from ustack.wire import ipv4, udp
from ustack.wire.address import parse_address
from ustack.wire.frame import Datagram, Frame, RawTransmit

HERE, THERE = parse_address("10.0.0.1"), parse_address("10.0.0.2")
PATIENCE = 30 * 1_000_000_000
"""How long (ns) until a test gives up: only a broken driver ever takes so long."""


def datagram(source: bytes, destination: bytes, port: int, payload: bytes) -> bytes:
    """A UDP packet from a port to the same port."""
    return ipv4.build(source, destination, 17, udp.build(source, destination, port, port, payload))


class Endpoint(Owner):
    """A port of a TinyStack, and its owner at the same time."""

    def __init__(self, stack: TinyStack, port: int) -> None:
        self.stack = stack
        self.port = port
        self.place = Place()
        self.place.owner = self
        self.inbox: deque[bytes] = deque()
        self.events: list[Event] = []

    def on_event(self, event: Event) -> None:
        self.events.append(event)

    def readable(self) -> bool:
        return bool(self.inbox)

    def send(self, payload: bytes) -> None:
        stack = self.stack
        stack.outbox.append(RawTransmit(datagram(stack.address, stack.peer, self.port, payload)))


class TinyStack:
    """The Stack's shape; ``fails`` makes it raise, ``deadline`` is what it asks for."""

    def __init__(self, address: bytes, peer: bytes) -> None:
        self.address, self.peer = address, peer
        self.ports: dict[int, Endpoint] = {}
        self.outbox: deque[RawTransmit] = deque()
        self.pending: deque[Event] = deque()
        self.deadline: int | None = None
        self.deadlines_met: list[int] = []
        self.threads: list[str] = []
        self.fails: BaseException | None = None
        self.echoes = False

    def open(self, port: int) -> Endpoint:
        endpoint = self.ports[port] = Endpoint(self, port)
        return endpoint

    def on_frames(self, frames: list[Frame], now: int) -> None:
        self.threads.append(threading.current_thread().name)
        if self.fails is not None:
            failure, self.fails = self.fails, None
            raise failure
        for frame in frames:
            assert isinstance(frame, Datagram)
            endpoint = self.ports.get(frame.destination_port)
            if self.echoes:
                answer = datagram(self.address, self.peer, frame.destination_port, frame.payload)
                self.outbox.append(RawTransmit(answer))
            elif endpoint is not None:
                endpoint.inbox.append(frame.payload)
                self.pending.append(Event(EventKind.READABLE, endpoint.place))

    def on_deadline(self, now: int) -> None:
        if self.deadline is not None and self.deadline <= now:
            self.deadline = None
            self.deadlines_met.append(now)
            for endpoint in self.ports.values():
                endpoint.inbox.append(b"deadline")
                self.pending.append(Event(EventKind.READABLE, endpoint.place))

    def has_work(self) -> bool:
        return True

    def poll_transmit(self, now: int) -> RawTransmit | None:
        return self.outbox.popleft() if self.outbox else None

    def next_deadline(self) -> int | None:
        return self.deadline

    def device_is_full(self, is_full: bool) -> None:
        """TCP's concern."""

    def next_event(self) -> Event | None:
        return self.pending.popleft() if self.pending else None


class World:
    """A driven TinyStack ``here``; ``far`` is the other end of its wire, played by the test or by an echo."""

    def __init__(self, device: Device | None = None) -> None:
        self.pair = MemoryPair()
        self.stack = TinyStack(HERE, THERE)
        anything: Any = self.stack
        self.driver = ThreadDriver(Loop(anything, device or self.pair.left, time.monotonic_ns))

    def arrive(self, payload: bytes, port: int) -> None:
        """A datagram reaches the stack's device."""
        self.pair.right.write_packets([datagram(THERE, HERE, port, payload)], 0)

    def receive(self, endpoint: Endpoint, deadline: int | None = None) -> bytes | None:
        """A blocking recv(), as the socket layer writes it."""
        driver = self.driver
        with driver.lock:
            if driver.wait(endpoint.readable, deadline, endpoint):
                return endpoint.inbox.popleft()
            return None

    def send(self, endpoint: Endpoint, payload: bytes) -> None:
        with self.driver.lock:
            endpoint.send(payload)
            self.driver.flush()

    def sent(self) -> list[Frame]:
        """What the stack has put on the wire."""
        return self.pair.right.receive(0)

    def is_polling(self) -> bool:
        return self.driver._lead_until != 0

    def guard_sleeps(self) -> bool:
        return self.driver._guard._until != 0

    def followers(self) -> int:
        return sum(len(sleepers) for sleepers in self.driver._sleepers.values())


@contextmanager
def world(device: Device | None = None) -> Iterator[World]:
    made = World(device)
    try:
        yield made
    finally:
        made.driver.close()
        made.pair.close()


def until(condition: Callable[[], object]) -> None:
    """Gives way to other threads until ``condition()``."""
    give_up = time.monotonic_ns() + PATIENCE
    while not condition():
        os.sched_yield()
        assert time.monotonic_ns() < give_up, "nothing happened"


class Caller(threading.Thread):
    """Runs ``action`` in a thread; ``result()`` joins, and returns or raises what it did."""

    def __init__(self, action: Callable[[], Any], name: str = "caller") -> None:
        super().__init__(name=name, daemon=True)
        self._action = action
        self._value: Any = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._value = self._action()
        except BaseException as error:
            self._error = error

    def result(self) -> Any:
        self.join(PATIENCE / 1e9)
        assert not self.is_alive(), "the thread still waits"
        if self._error is not None:
            raise self._error
        return self._value
