"""A host under test and one peer; at the end nothing that was sent is unaccounted for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.tcp.kernel_twin import KernelHost, kernel, why_not
from tests.tcp.peer import Peer
from tests.tcp.world import VirtualHost

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


@pytest.fixture(scope="module")
def twin() -> Iterator[KernelHost]:
    """The kernel, in a namespace of its own."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with kernel() as host:
        host.be_patient()
        yield host


@pytest.fixture(params=["ustack", pytest.param("kernel", marks=[pytest.mark.kernel, pytest.mark.tun])])
def either(request: pytest.FixtureRequest, make: MakePeer) -> Iterator[Peer]:
    """The same dialogue with ustack and with the kernel: for tests that let no time pass and look at the wire only."""
    if request.param == "ustack":
        yield make()
        return
    host: KernelHost = request.getfixturevalue("twin")
    host.next_port += 1
    yield Peer(host, host.next_port, host.next_port)
    left = [packet.summary() for _, packet in host.outbox]
    host.outbox.clear()
    assert left == []


@pytest.fixture
def peer(make: MakePeer) -> Peer:
    """The peer of a host with Linux's defaults."""
    return make()
