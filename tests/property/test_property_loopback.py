"""A Stack that talks to itself: everything happens inside one ``poll_transmit``, and it must end."""

from __future__ import annotations

import random

import pytest

from tools.fuzz.invariants import check_empty, check_stack
from tools.fuzz.text import text
from ustack.settings import Settings
from ustack.sockopts import SocketOptions
from ustack.stack.stack import Stack
from ustack.tcp.connection.connection import Connection
from ustack.tcp.state import State
from ustack.units import SECOND
from ustack.wire.address import ANY, parse_address

OWN = parse_address("10.0.0.2")
MOST = 10_000


def rest(stack: Stack, now: int) -> None:
    """Nothing of it ever leaves the host."""
    assert stack.poll_transmit(now) is None
    while stack.next_event() is not None:
        pass
    check_stack(stack, now)


def run_out(stack: Stack, now: int) -> None:
    """Time passes until nothing is left to wait for."""
    for _ in range(MOST):
        deadline = stack.next_deadline()
        if deadline is None:
            break
        now = max(now, deadline)
        stack.on_deadline(now)
        rest(stack, now)
    check_empty(stack)


@pytest.mark.parametrize("seed", range(30))
def test_both_ends_on_one_stack(seed: int) -> None:
    rng = random.Random(seed)
    stack = Stack(Settings(tcp_congestion_control=rng.choice(("reno", "cubic", "bbr"))), entropy=bytes(range(32)))
    stack.add_address(OWN, 24)
    now = SECOND
    listener = stack.listen(ANY, 80, 5, SocketOptions(), now)
    address = rng.choice((OWN, parse_address("127.0.0.1")))
    ends: list[Connection] = [stack.connect(ANY, 0, address, 80, SocketOptions(), now)]
    rest(stack, now)
    accepted = listener.accept(now)
    assert accepted is not None
    assert accepted.state is State.ESTABLISHED
    ends.append(accepted)
    heard = {0: 0, 1: 0}
    for _ in range(100):
        which = rng.randrange(2)
        end = ends[which]
        if rng.random() < 0.5:
            end.write(text(end.sender.send_ring.end, rng.choice((1, 1000, 70_000))), now)
        else:
            data = end.read(rng.choice((10, 1 << 20)), now)
            assert data == text(heard[which], len(data))
            heard[which] += len(data)
        rest(stack, now)
        now += rng.choice((0, 1000, SECOND // 100))
        stack.on_deadline(now)
        rest(stack, now)
    for end in ends:
        end.close(now)
        rest(stack, now)
    listener.close(now)
    rest(stack, now)
    run_out(stack, now)


def test_a_connection_to_itself() -> None:
    """Same address and port at both ends: a simultaneous open (RFC 9293 section 3.5), as on Linux."""
    stack = Stack(Settings(), entropy=bytes(range(32)))
    stack.add_address(OWN, 24)
    now = SECOND
    only = stack.connect(OWN, 5000, OWN, 5000, SocketOptions(), now)
    rest(stack, now)
    assert only.state is State.ESTABLISHED
    only.write(b"to myself", now)
    rest(stack, now)
    assert only.read(100, now) == b"to myself"
    only.close(now)
    rest(stack, now)
    run_out(stack, now)
