"""The states that a ladder reads off the segments are those that two real stacks go through."""

from __future__ import annotations

import pytest

from ustack.cli.lifelines import Lifeline, Lifelines
from ustack.settings import Settings
from ustack.sockopts import SocketOptions
from ustack.stack.stack import Stack
from ustack.tcp.connection.connection import Connection
from ustack.tcp.state import State
from ustack.wire.address import ANY, parse_address
from ustack.wire.frame import Segment
from ustack.wire.parse import parse_packet
from ustack.wire.split import cut

LEFT, RIGHT = parse_address("10.0.0.1"), parse_address("10.0.0.2")
MS = 1_000_000


class Pair:
    """Two stacks; one packet crosses at a time, and the states are compared after each."""

    def __init__(self) -> None:
        self.now = 1_000 * MS
        self.left, self.right = (Stack(Settings(), entropy=bytes([seed]) * 64) for seed in (1, 2))
        self.left.add_address(LEFT, 24)
        self.right.add_address(RIGHT, 24)
        self.lines = Lifelines()
        self.listener = self.right.listen(ANY, 80, 10, SocketOptions(), self.now)
        self.client = self.left.connect(ANY, 0, RIGHT, 80, SocketOptions(), self.now)
        self.server: Connection | None = None

    @property
    def line(self) -> Lifeline:
        return self.lines.connections[0]

    def settle(self) -> None:
        """Packets cross until both are silent."""
        for _ in range(100):
            crossed = [self._cross(self.left, self.right), self._cross(self.right, self.left)]
            if not any(crossed):
                deadlines = [d for d in (self.left.next_deadline(), self.right.next_deadline()) if d is not None]
                if not deadlines or min(deadlines) > self.now + 500 * MS:
                    return
                self.now = max(self.now, min(deadlines))
                self.left.on_deadline(self.now)
                self.right.on_deadline(self.now)

    def _cross(self, sender: Stack, receiver: Stack) -> bool:
        transmit = sender.poll_transmit(self.now)
        if transmit is None:
            return False
        for packet in cut(transmit):
            self.now += MS
            frame = parse_packet(packet)
            assert isinstance(frame, Segment)
            self.lines.see(frame, self.now)
            receiver.on_frames([frame], self.now)
        if self.server is None:
            self.server = self.listener.accept(self.now)
        row = self.line.rows[-1]
        assert row.left is self._state(self.left, self.client), self.line.rows
        if self.server is not None:
            assert row.right is self._state(self.right, self.server), self.line.rows
        return True

    @staticmethod
    def _state(stack: Stack, connection: Connection) -> State:
        waits = [(wait.local_port, wait.remote_port) for wait in stack.tcp.time_waits.values()]
        return (
            State.TIME_WAIT if (connection.flow.local_port, connection.flow.remote_port) in waits else connection.state
        )


@pytest.mark.parametrize("first", ["client", "server"])
def test_open_talk_close(first: str) -> None:
    pair = Pair()
    pair.settle()
    assert pair.server is not None
    pair.client.write(b"x" * 5000, pair.now)
    pair.settle()
    pair.server.write(b"y" * 300, pair.now)
    pair.settle()
    one, other = (pair.client, pair.server) if first == "client" else (pair.server, pair.client)
    one.shutdown(1, pair.now)
    pair.settle()
    other.write(b"z" * 100, pair.now)
    pair.settle()
    other.shutdown(1, pair.now)
    pair.settle()
    assert pair.line.is_over()
    assert {pair.line.left.state, pair.line.right.state} <= {State.TIME_WAIT, State.CLOSED}


def test_reset() -> None:
    pair = Pair()
    pair.settle()
    pair.client.abort(pair.now)
    pair.settle()
    assert pair.line.left.state is pair.line.right.state is State.CLOSED
