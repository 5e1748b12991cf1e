"""The guard leaves packets to an application that is at work, and takes those that nobody else takes."""

from __future__ import annotations

import os
import select
from array import array
from collections.abc import Iterator

import pytest

from tests.driver.driver_world import Caller, World, until, world
from ustack import native
from ustack.driver import guard

HOUR = 3_600 * 1_000_000_000
MOMENT = 1_000_000


class Fds:
    """A bell, a device and the epoll set that a guard sleeps in."""

    def __init__(self) -> None:
        self.bell, self.device = (os.eventfd(0, os.EFD_NONBLOCK) for _ in range(2))
        self.epoll = select.epoll()
        self.epoll.register(self.bell, select.EPOLLIN)
        self.epoll.register(self.device, select.EPOLLIN | select.EPOLLONESHOT)

    def watch(self, turns: int, timeout: int, tick: int, grace: int = MOMENT) -> int:
        fds = (self.bell, self.device, self.epoll.fileno())
        return native.watch(fds, array("q", [turns]), timeout, tick, grace)


@pytest.fixture
def fds() -> Iterator[Fds]:
    made = Fds()
    yield made
    made.epoll.close()
    os.close(made.bell)
    os.close(made.device)


@pytest.mark.parametrize("tick", [0, MOMENT])
@pytest.mark.parametrize("grace", [0, MOMENT])
def test_a_packet_that_nobody_comes_for_is_seen(fds: Fds, tick: int, grace: int) -> None:
    os.eventfd_write(fds.device, 1)
    assert fds.watch(0, HOUR, tick, grace) == native.WATCHED_LEFT_OVER
    assert fds.watch(2, -1, tick, grace) == native.WATCHED_LEFT_OVER


def test_a_packet_is_the_leaders_while_somebody_leads(fds: Fds) -> None:
    os.eventfd_write(fds.device, 1)
    assert fds.watch(1, 3 * MOMENT, MOMENT) == native.WATCHED_LONG
    assert fds.watch(1, HOUR, 0) == native.WATCHED_TAKEN


@pytest.mark.parametrize("tick", [0, MOMENT])
def test_nothing_arrives(fds: Fds, tick: int) -> None:
    assert fds.watch(0, 3 * MOMENT, tick) == native.WATCHED_LONG
    assert fds.watch(0, 0, tick) == native.WATCHED_LONG


@pytest.mark.parametrize("tick", [0, HOUR])
@pytest.mark.parametrize("turns", [0, 1])
def test_the_bell_is_heard_at_once(fds: Fds, tick: int, turns: int) -> None:
    os.eventfd_write(fds.bell, 1)
    assert fds.watch(turns, -1, tick) == native.WATCHED_BELL


def converse(here: World, rounds: int) -> None:
    """An application that is at work: so the guard, when it is woken, begins to rest."""
    endpoint = here.stack.open(1)
    for _ in range(rounds):
        here.arrive(b"x", 1)
        assert here.receive(endpoint) == b"x"


def rest(here: World) -> None:
    """Until the guard rests, and sleeps."""
    with here.driver.lock:
        here.driver.flush()
    minder = here.driver._guard
    woken: list[int] = []
    work = minder._work
    minder._work = lambda found: (woken.append(found), work(found))[1]  # type: ignore[method-assign]
    while not minder._rests_until:
        converse(here, 10 + guard.WATCH)
        before = len(woken)
        minder.call()
        until(lambda before=before: len(woken) > before and here.guard_sleeps())


def test_a_rest_delays_no_packet_that_nobody_else_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "REST", HOUR)
    monkeypatch.setattr(guard, "REST_MAX", HOUR)
    with world() as here:
        rest(here)
        here.stack.threads.clear()
        here.stack.echoes = True
        here.arrive(b"ping", 9)  # the application is elsewhere, and would not come for an hour
        until(here.sent)
        assert here.stack.threads == ["ustack guard"]
        until(lambda: not here.driver._guard._rests_until)


def test_after_such_a_packet_the_guard_watches_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "REST", HOUR)
    monkeypatch.setattr(guard, "TICK", HOUR)  # a rest would now be a deaf one
    with world() as here:
        monkeypatch.setattr(guard, "TICK", MOMENT)
        rest(here)
        here.stack.echoes = True
        here.arrive(b"ping", 9)
        until(here.sent)
        monkeypatch.setattr(guard, "TICK", HOUR)
        for _ in range(10):
            here.stack.echoes = False
            converse(here, 1)
            here.stack.echoes = True
            here.arrive(b"ping", 9)
            until(here.sent)


def test_a_resting_guard_leaves_packets_to_the_leader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "REST", HOUR)
    monkeypatch.setattr(guard, "REST_MAX", HOUR)
    monkeypatch.setattr(guard, "GRACE", HOUR)  # the application always comes within the grace
    with world() as here:
        rest(here)
        here.stack.threads.clear()
        converse(here, 1000)
        endpoint = here.stack.open(2)
        caller = Caller(lambda: here.receive(endpoint))
        until(here.is_polling)
        here.arrive(b"x", 2)
        assert caller.result() == b"x"
        assert "ustack guard" not in here.stack.threads


def test_turns_are_odd_while_somebody_leads() -> None:
    with world() as here:
        endpoint = here.stack.open(1)
        assert here.driver.turns[0] == 0
        caller = Caller(lambda: here.receive(endpoint))
        until(here.is_polling)
        assert here.driver.turns[0] == 1
        here.arrive(b"x", 1)
        caller.result()
        assert here.driver.turns[0] == 2
