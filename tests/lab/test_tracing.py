"""``Host.trace``: events while it runs, none after, and a trace that breaks is left behind."""

from __future__ import annotations

import errno
import os

import pytest

from tests.scenarios.two_hosts import TwoHosts
from ustack.trace import Called, Event, Moved
from ustack.trace.snapshot import of_connection


@pytest.fixture
def hosts() -> TwoHosts:
    return TwoHosts("delay=10ms")


def refuse(event: Event) -> None:
    raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def test_events_come_until_it_is_closed(hosts: TwoHosts) -> None:
    events: list[Event] = []
    listener = hosts.listen()
    with hosts.client.trace(events.append):
        client = hosts.connect()
        served = hosts.accept(listener)
        client.sendall(b"x" * 100)
        hosts.settle()
    states = [event.after for event in events if isinstance(event, Moved)]
    assert states == ["SYN_SENT", "ESTABLISHED"]
    calls = [event.what() for event in events if isinstance(event, Called)]
    assert calls == ["connect()", "send() = 100 bytes"]
    count = len(events)
    client.sendall(b"y")
    hosts.settle()
    assert len(events) == count
    assert hosts.near.stack.observer is None
    assert len(served.recv(200)) == 101
    hosts.close()


def test_two_at_a_time(hosts: TwoHosts) -> None:
    first: list[Event] = []
    second: list[Event] = []
    listener = hosts.listen()
    trace = hosts.server.trace(first.append)
    with hosts.server.trace(second.append, counters=True):
        hosts.connect()
    assert first == [event for event in second if event.kind != "counter"]
    assert len(second) > len(first)
    hosts.accept(listener)
    assert len(first) > len([event for event in second if event.kind != "counter"])
    trace.close()
    trace.close()
    hosts.close()


def test_one_that_breaks_ends_with_one_warning_and_the_traffic_goes_on(hosts: TwoHosts) -> None:
    said: list[str] = []
    events: list[Event] = []
    listener = hosts.listen()
    hosts.client.trace(refuse, complain=said.append)
    hosts.client.trace(events.append)
    hosts.connect()
    hosts.accept(listener)
    assert said == ["the trace has ended: Broken pipe. The traffic goes on."]
    assert any(isinstance(event, Moved) and event.after == "ESTABLISHED" for event in events)
    hosts.close()


def test_without_anybody_to_tell_it_is_a_warning(hosts: TwoHosts) -> None:
    hosts.listen()
    hosts.client.trace(refuse)
    with pytest.warns(RuntimeWarning, match="the trace has ended: Broken pipe"):
        hosts.connect()
    hosts.close()


def test_a_trace_of_a_large_transfer_takes_bounded_memory(hosts: TwoHosts) -> None:
    """What a trace keeps is a snapshot for each connection that lives."""
    seen = [0]

    def count(event: Event) -> None:
        seen[0] += 1

    trace = hosts.client.trace(count)
    listener = hosts.listen()
    for _ in range(20):
        client = hosts.connect()
        served = hosts.accept(listener)
        client.sendall(bytes(20_000))
        hosts.settle()
        assert len(served.recv(1 << 20)) == 20_000
        client.close()
        served.close()
        hosts.pass_time(70)
    assert seen[0] > 20 * 20
    assert not trace.watch.snapshots()
    trace.close()
    hosts.close()


def test_what_was_before_a_trace_began_is_not_told(hosts: TwoHosts) -> None:
    listener = hosts.listen()
    client = hosts.connect()
    hosts.accept(listener)
    hosts.settle()
    events: list[Event] = []
    with hosts.client.trace(events.append):
        client.sendall(b"x")
        hosts.settle()
    assert [event.what() for event in events if isinstance(event, Called | Moved)] == ["send() = 1 bytes"]
    hosts.close()


def test_who_is_idle_is_not_looked_at(hosts: TwoHosts, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many connections there are, a segment costs a trace as many snapshots as with one."""
    looks = []
    monkeypatch.setattr("ustack.trace.watch.of_connection", lambda one: looks.append(one) or of_connection(one))
    listener = hosts.listen()
    counts = []
    for others in (0, 50):
        clients = [hosts.connect() for _ in range(others + 1)]
        for _ in clients:
            hosts.accept(listener)
        hosts.pass_time(3)  # the SYN's timer has been looked at, too
        with hosts.client.trace(lambda event: None):
            looks.clear()
            clients[0].sendall(b"x")
            hosts.settle()
        counts.append(len(looks))
    assert counts[0] == counts[1] > 0
    hosts.close()
