"""Everything that is chosen at random comes out of the Stack's entropy, and in Linux's order."""

from __future__ import annotations

import errno
import itertools

import pytest

from ustack.entropy import Entropy
from ustack.settings import Settings
from ustack.sockopts import SocketOptions
from ustack.stack.stack import Stack
from ustack.units import SECOND
from ustack.wire import ipv4, udp
from ustack.wire.address import ANY_V4, parse_address
from ustack.wire.parse import parse_packet

OURS, PEER = parse_address("10.0.0.2"), parse_address("10.0.0.1")


def stack_with(seed: int, **knobs: object) -> Stack:
    stack = Stack(Settings().replace(**knobs), entropy=bytes([seed]) * 64)
    stack.add_address(OURS, 24)
    return stack


def shared() -> SocketOptions:
    own = SocketOptions()
    own.reuseaddr = True
    return own


def bound_ports(stack: Stack, count: int) -> list[int]:
    return [stack.bind_port(ANY_V4, 0, SocketOptions()).port for _ in range(count)]


def connected_ports(stack: Stack, count: int, port: int = 80, own: SocketOptions | None = None) -> list[int]:
    return [stack.connect(ANY_V4, 0, PEER, port, own or SocketOptions(), 0).flow.local_port for _ in range(count)]


def udp_ports(stack: Stack, count: int) -> list[int]:
    return [stack.udp_open(ANY_V4, 0, SocketOptions(), 0).port for _ in range(count)]


def echo_identifiers(stack: Stack, count: int) -> list[int]:
    return [stack.icmp_open(ANY_V4, 0, 0).identifier for _ in range(count)]


@pytest.mark.parametrize("choose", [bound_ports, connected_ports, udp_ports, echo_identifiers])
def test_another_entropy_chooses_otherwise_and_the_same_one_the_same(choose: object) -> None:
    assert callable(choose)
    first, again, other = (choose(stack_with(seed), 8) for seed in (1, 1, 2))
    assert first == again
    assert not set(first) & set(other)
    assert len(set(first)) == 8
    assert sorted(first) != first or sorted(other) != other or choose is connected_ports


def test_bind_prefers_odd_places_and_connect_even_ones() -> None:
    """Of the range from 32768 on (inet_csk_find_open_port, __inet_hash_connect)."""
    stack = stack_with(3)
    assert {port % 2 for port in bound_ports(stack, 40)} == {1}
    assert {port % 2 for port in connected_ports(stack, 40)} == {0}


def test_bind_with_so_reuseaddr_stays_in_the_lower_half_while_it_can() -> None:
    stack = stack_with(3)
    ports = [stack.bind_port(ANY_V4, 0, shared()).port for _ in range(40)]
    assert max(ports) < 32768 + 28232 // 2


@pytest.mark.parametrize("span", [(40000, 40000), (40000, 40001), (40000, 40009), (40001, 40008)])
def test_every_port_of_a_range_is_found_once_and_then_none(span: tuple[int, int]) -> None:
    count = span[1] - span[0] + 1
    whole = list(range(span[0], span[1] + 1))
    for seed, choose in itertools.product(range(5), (bound_ports, connected_ports)):
        stack = stack_with(seed, ip_local_port_range=span)
        assert sorted(choose(stack, count)) == whole
        with pytest.raises(OSError, match=r"Address already in use|Cannot assign") as caught:
            choose(stack, 1)
        assert caught.value.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL)


def test_ports_of_one_destination_come_in_strides() -> None:
    """The next connect() begins behind the last one's port, up to eight steps further on; another far end elsewhere."""
    stack = stack_with(4)
    ports = connected_ports(stack, 50)
    steps = [(after - before) % 28232 for before, after in itertools.pairwise(ports)]
    assert set(steps) <= set(range(2, 18, 2))
    assert len(set(steps)) > 3
    other = connected_ports(stack, 1, 81)[0]
    assert abs(other - ports[-1]) > 16


def test_a_range_of_the_sockets_own_is_tried_port_by_port() -> None:
    """IP_LOCAL_PORT_RANGE."""
    stack = stack_with(5)
    own = SocketOptions()
    own.local_port_range = 50010 << 16 | 50001
    assert sorted(connected_ports(stack, 10, 80, own)) == list(range(50001, 50011))
    with pytest.raises(OSError, match="Cannot assign"):
        connected_ports(stack, 1, 80, own)


def test_bind_shares_no_port_that_it_chooses_itself() -> None:
    """ip_autobind_reuse is 0."""
    stack = stack_with(6, ip_local_port_range=(40000, 40001))
    assert sorted(stack.bind_port(ANY_V4, 0, shared()).port for _ in range(2)) == [40000, 40001]
    with pytest.raises(OSError, match="Address already in use"):
        stack.bind_port(ANY_V4, 0, shared())


def errors_sent(stack: Stack, at: int) -> int:
    """How many of 100 datagrams to closed ports, each of another peer, are answered."""
    for number in range(100):
        source = PEER[:12] + bytes([172, 16, at & 255, number])
        packet = ipv4.build(source, OURS, 17, udp.build(source, OURS, 9, 9, b"x"))
        stack.on_frames([parse_packet(packet)], 1000 * SECOND + at)
    count = 0
    while stack.poll_transmit(1000 * SECOND + at) is not None:
        count += 1
    return count


def test_how_many_icmp_errors_leave_at_once_is_not_foreseen() -> None:
    """SAD DNS: who sees a burst of exactly 50 learns whether his spoofed datagrams hit an open port."""
    counts = {errors_sent(stack_with(seed), 0) for seed in range(30)}
    assert len(counts) > 5
    assert all(25 <= count <= 100 for count in counts)


def test_icmp_errors_go_on_as_they_may() -> None:
    """icmp_msgs_per_sec, refilled every 20 ms at the earliest."""
    stack = stack_with(7)
    assert errors_sent(stack, 0) > 25
    assert errors_sent(stack, SECOND // 100) == 0
    assert 10 <= errors_sent(stack, SECOND // 50) <= 40
    assert stack.counters["IcmpOutRateLimitGlobal"] > 100


def test_draws_are_even() -> None:
    entropy = Entropy(b"secret")
    draws = [entropy.below(3) for _ in range(3000)]
    assert all(900 < draws.count(value) < 1100 for value in range(3))
