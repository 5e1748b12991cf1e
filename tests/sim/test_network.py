"""The simulated network itself: time, routes, links."""

from __future__ import annotations

import pytest

from ustack.device.impairment import Impairment, parse_impairment
from ustack.sim.apps import Exchange, Server, make_stack
from ustack.sim.clock import Clock
from ustack.sim.driver import SimDriver
from ustack.sim.network import BUSY_EVENTS, SimHost, SimNetwork
from ustack.socket import Host
from ustack.wire.address import parse_address

SECOND = 1_000_000_000
RIGHT = parse_address("10.0.0.2")


def pair(impairment: str = "", trace: bool = False) -> tuple[SimNetwork, SimHost, SimHost]:
    network = SimNetwork(trace=trace)
    left = network.add_host("left", make_stack("left"), "10.0.0.1/24", "fd00::1/64")
    right = network.add_host("right", make_stack("right"), "10.0.0.2/24", "fd00::2/64")
    network.join(left, right, parse_impairment(impairment))
    return network, left, right


def test_events_happen_in_order_and_those_of_one_instant_as_they_were_asked_for() -> None:
    clock = Clock()
    seen: list[tuple[str, int]] = []
    for name, at in (("b", 20), ("c", 20), ("a", 10)):
        clock.at(at, lambda name=name: seen.append((name, clock.now)))  # type: ignore[misc]
    clock.after(15, lambda: clock.at(3, lambda: seen.append(("past", clock.now))))
    while clock.step():
        pass
    assert seen == [("a", 10), ("past", 15), ("b", 20), ("c", 20)]
    assert clock.next_at() is None


@pytest.mark.parametrize("address", ["10.0.0.2", "fd00::2"])
def test_a_transfer_over_a_perfect_link_takes_no_time(address: str) -> None:
    network, left, right = pair()
    server = Server(right, 80, b"answer")
    exchange = Exchange(left, b"question").connect(parse_address(address), 80)
    assert network.run_until(lambda: exchange.is_finished and server.exchanges[0].is_finished)
    assert network.now == network.start
    assert (exchange.error, bytes(exchange.received)) == (None, b"answer")
    assert bytes(server.exchanges[0].received) == b"question"


def test_delay_shows_in_the_time_and_in_the_trace() -> None:
    network, left, right = pair("delay=20ms", trace=True)
    server = Server(right, 80)
    Exchange(left).connect(RIGHT, 80)
    assert network.run_until(lambda: bool(server.exchanges))
    assert network.now - network.start == 60_000_000
    starts = [line.split(" 10.0.0")[0] for line in network.trace]
    assert starts[:3] == ["0.000000 left > right", "0.020000 right > left", "0.040000 left > right"]


def test_a_link_that_is_down_loses_everything_and_says_so() -> None:
    network, left, right = pair(trace=True)
    Server(right, 80)
    network.links[0].is_up = False
    exchange = Exchange(left).connect(RIGHT, 80)
    assert network.run_until(lambda: exchange.is_finished)
    assert isinstance(exchange.error, TimeoutError)
    assert all(line.endswith("(lost)") for line in network.trace)
    assert len(network.trace) >= 7


def test_a_link_may_tamper_and_has_an_mtu() -> None:
    network, left, right = pair()
    Server(right, 80)
    link = network.links[0]
    seen: list[tuple[str, int]] = []

    def swallow(sender: SimHost, packet: bytes) -> list[bytes]:
        seen.append((sender.name, len(packet)))
        return []

    link.tamper = swallow
    exchange = Exchange(left).connect(RIGHT, 80)
    network.run_for(SECOND)
    assert seen[0] == ("left", 60)
    link.tamper = None
    link.mtu = 59
    network.run_for(SECOND)
    assert exchange.connection is not None
    assert not right.stack.tcp.connections
    link.mtu = 1500
    assert network.run_until(lambda: exchange.connection is not None and exchange.connection.writable())
    assert link.far_end(left) is right
    assert link.path_from(left) is link.paths[0]
    link.change(Impairment(delay=5))
    assert link.paths[1].impairment.delay == 5


def test_what_has_no_way_is_counted() -> None:
    network = SimNetwork()
    alone = network.add_host("alone", make_stack("alone"), "10.0.0.1/24")
    Exchange(alone).connect(RIGHT, 80)
    assert alone.unroutable_packets == 1
    assert repr(alone) == "SimHost(alone)"


def test_three_hosts_find_their_neighbours() -> None:
    network = SimNetwork()
    hosts = [network.add_host(f"h{n}", make_stack(f"h{n}"), f"10.0.0.{n}/24") for n in (1, 2, 3)]
    for left, right in ((0, 1), (1, 2), (0, 2)):
        network.join(hosts[left], hosts[right])
    servers = [Server(host, 80, host.name.encode()) for host in hosts]
    answers = [Exchange(left).connect(parse_address(f"10.0.0.{right}"), 80) for left in hosts for right in (1, 2, 3)]
    assert network.run_until(lambda: all(answer.is_finished for answer in answers))
    assert [bytes(answer.received) for answer in answers] == [b"h1", b"h2", b"h3"] * 3
    assert len(servers) == 3


def test_a_loop_without_time_is_found() -> None:
    network = SimNetwork()

    def again() -> None:
        network.clock.after(0, again)

    again()
    with pytest.raises(RuntimeError, match=f"{BUSY_EVENTS + 1} events at one instant"):
        network.run_for(1)


def test_sockets_in_virtual_time() -> None:
    network, left, right = pair("delay=50ms")
    hosts = [Host(side.stack, SimDriver(side)) for side in (left, right)]
    server = hosts[1].create_server(("10.0.0.2", 80))
    client = hosts[0].create_connection(("10.0.0.2", 80), timeout=10)
    served, peer = server.accept()
    assert peer[0] == "10.0.0.1"
    client.sendall(b"x" * 50_000)
    client.shutdown(1)
    received = 0
    while data := served.recv(65536):
        received += len(data)
    assert received == 50_000
    client.settimeout(3)
    before = network.now
    with pytest.raises(TimeoutError):
        client.recv(1)
    assert network.now - before == 3 * SECOND
    client.settimeout(None)
    with pytest.raises(RuntimeError, match="never end"):
        client.recv(1)
    for socket in (client, served, server):
        socket.close()
    for host in hosts:
        host.close()
