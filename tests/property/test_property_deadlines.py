"""The heap of deadlines against a dictionary: whoever waits is found in time, and what is over is not kept."""

from __future__ import annotations

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ustack.ring import RingMaker
from ustack.settings import Settings
from ustack.sockopts import SocketOptions
from ustack.stack.deadlines import MOST_STALE, Deadlines
from ustack.tcp.listener import ConnectionTable, Listener
from ustack.tcp.tcphost import TcpHost
from ustack.wire.address import ANY


def sleeper(number: int) -> Listener:
    """Somebody who can wait; ``port`` is its number."""
    host = TcpHost(Settings(), RingMaker(), bytes(32))
    return Listener(host, ConnectionTable(), ANY, number, 1, SocketOptions())


STEPS = st.lists(
    st.tuples(st.sampled_from(["watch", "forget", "time"]), st.integers(0, 5), st.integers(1, 50)), max_size=200
)


@given(STEPS)
def test_nobody_is_called_late_and_nobody_who_has_gone(steps: list[tuple[str, int, int]]) -> None:
    heap, now = Deadlines(), 0
    sleepers = [sleeper(number) for number in range(6)]
    wanted: dict[int, int] = {}
    for what, number, length in steps:
        if what == "watch":
            wanted[number] = now + length
            heap.watch(sleepers[number], now + length)
        elif what == "forget":
            wanted.pop(number, None)
            heap.forget(sleepers[number])
        else:
            now += length
            while (taken := heap.take_due(now)) is not None:
                assert isinstance(taken, Listener)
                at = wanted.get(taken.port, 0)
                assert at, "called though it has gone"
                if at <= now:
                    del wanted[taken.port]
                else:
                    heap.watch(taken, at)
            assert all(at > now for at in wanted.values()), "somebody was not called"
        first = heap.earliest()
        assert first == 0 if not wanted else 0 < first <= min(wanted.values())


@pytest.mark.parametrize("moves", [0, 1000])
def test_a_deadline_that_moves_to_and_fro_leaves_no_trail(moves: int) -> None:
    """A connection with keepalive: an RTO in 200 ms, answered, then two hours of silence expected; again and again."""
    heap, one = Deadlines(), sleeper(0)
    for second in range(1, 5000):
        heap.watch(one, second * moves + 10**12)
        heap.watch(one, second * 1000 + 200)
        assert heap.take_due(second * 1000 + 200) is one
    assert len(heap) <= 2 * MOST_STALE + 2


def test_who_has_gone_is_not_kept_alive() -> None:
    heap, keeper = Deadlines(), sleeper(0)
    heap.watch(keeper, 10**15)
    for number in range(1, 1000):
        mortal = sleeper(number)
        heap.watch(mortal, 10**12)
        heap.forget(mortal)
    del mortal
    gc.collect()
    assert sum(isinstance(found, Listener) for found in gc.get_objects()) <= MOST_STALE + 2
    assert heap.earliest() == 10**15
