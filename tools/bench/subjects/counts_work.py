"""Work that is the same in every run, for counting instructions: two Stacks, packets in memory, a clock that jumps.

    counts_work.py SCENARIO TIMES

bulk: MiB from one to the other, cut and merged by the C core. ping: 1-byte round trips. connect: connections.
"""

from __future__ import annotations

import sys
from typing import Any

from ustack import native
from ustack.settings import Settings
from ustack.sockopts import SocketOptions
from ustack.stack.stack import Stack
from ustack.wire.address import parse_address

LEFT, RIGHT = parse_address("10.0.0.1"), parse_address("10.0.0.2")
PORT = 7
DELAY = 50_000
"""Nanoseconds from one end to the other."""

MEBIBYTE = 1 << 20


class End:
    """One host: its stack and the parser of what it receives."""

    def __init__(self, address: bytes, seed: int) -> None:
        self.stack = Stack(Settings(), entropy=bytes([seed]) * 64, rings=native.NativeRings())
        self.stack.add_address(address, 24)
        self.receiver = native.Receiver()

    def send(self, now: int) -> list[bytes]:
        """What leaves, as packets of the wire."""
        packets: list[bytes] = []
        while len(packets) < 2000 and (transmit := self.stack.poll_transmit(now)) is not None:
            packets += native.cut(transmit)
        return packets

    def take(self, packets: list[bytes], now: int) -> None:
        """What arrives, in batches as a device would make them; what happened is thrown away."""
        for start in range(0, len(packets), 64):
            self.stack.on_frames(self.receiver.receive_packets(packets[start : start + 64]), now)
        deadline = self.stack.next_deadline()
        if deadline is not None and deadline <= now:
            self.stack.on_deadline(now)
        while self.stack.next_event() is not None:
            pass


class World:
    """Both ends and the time."""

    def __init__(self) -> None:
        self.now = 1_000_000_000
        self.left, self.right = End(LEFT, 1), End(RIGHT, 2)
        self.listener = self.right.stack.listen(RIGHT, PORT, 128, SocketOptions(), self.now)

    def carry(self) -> bool:
        """Everything that waits goes one way and the other; False when there was nothing."""
        there, back = self.left.send(self.now), self.right.send(self.now)
        self.now += DELAY
        self.right.take(there, self.now)
        self.left.take(back, self.now)
        return bool(there or back)

    def connect(self) -> tuple[Any, Any]:
        """An established pair."""
        options = SocketOptions()
        options.nodelay = True
        ours = self.left.stack.connect(LEFT, 0, RIGHT, PORT, options, self.now)
        for _ in range(10):
            self.carry()
            theirs = self.listener.accept(self.now)
            if theirs is not None:
                return ours, theirs
        raise RuntimeError("no connection")


def bulk(times: int) -> None:
    """`times` MiB, through 1 MiB writes and reads."""
    world = World()
    ours, theirs = world.connect()
    data, buffer = bytes(MEBIBYTE), bytearray(MEBIBYTE)
    sent = received = 0
    while received < times * MEBIBYTE:
        if sent < times * MEBIBYTE:
            sent += ours.write(
                data[: times * MEBIBYTE - sent] if sent + MEBIBYTE > times * MEBIBYTE else data, world.now
            )
        world.carry()
        while got := theirs.read_into(buffer, world.now):
            received += got


def ping(times: int) -> None:
    """`times` round trips of a byte over one connection."""
    world = World()
    ours, theirs = world.connect()
    for _ in range(times):
        ours.write(b"u", world.now)
        world.carry()
        theirs.write(theirs.read(16, world.now), world.now)
        world.carry()
        if ours.read(16, world.now) != b"u":
            raise RuntimeError("no echo")


def connect(times: int) -> None:
    """`times` connections one after the other, closed by both ends."""
    world = World()
    for _ in range(times):
        ours, theirs = world.connect()
        ours.close(world.now)
        world.carry()
        theirs.close(world.now)
        while world.carry():
            pass


if __name__ == "__main__":
    {"bulk": bulk, "ping": ping, "connect": connect}[sys.argv[1]](int(sys.argv[2]))
