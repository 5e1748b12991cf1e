"""A host under test and one peer; at the end nothing that was sent is unaccounted for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

pytest.register_assert_rewrite("tests.tcp.peer", "tests.tcp.world", "tests.tcp.notation")

from tests.tcp.peer import Peer  # noqa: E402 - what it asserts is to be explained
from tests.tcp.world import VirtualHost  # noqa: E402

MakePeer = Callable[..., Peer]


@pytest.fixture
def make() -> Iterator[MakePeer]:
    """``make(tcp_retries2=3)``: a peer of a new host with these knobs. Whatever a host sent must have been expected."""
    hosts: list[VirtualHost] = []

    def made(family: int = 4, **knobs: object) -> Peer:
        hosts.append(VirtualHost(**knobs))
        return Peer(hosts[-1], family=family)

    yield made
    for host in hosts:
        assert [packet.summary() for _, packet in host.outbox] == []


@pytest.fixture
def peer(make: MakePeer) -> Peer:
    """The peer of a host with Linux's defaults."""
    return make()
