"""Initial sequence numbers (RFC 6528; scenario B9)."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.tcp.peer import Peer
from tests.tcp.world import SECOND
from ustack.settings import Settings
from ustack.sockopts import SocketOptions
from ustack.stack.stack import Stack
from ustack.tcp.isn import IsnGenerator
from ustack.wire.address import flow_key, parse_address

A, B = parse_address("10.0.0.1"), parse_address("10.0.0.2")
KEY = flow_key(A, 5000, B, 80)
MICROSECOND = 1000


@pytest.mark.rfc9293("MUST-8")
@pytest.mark.scenario("B9")
def test_the_clock_ticks_every_four_microseconds() -> None:
    isn = IsnGenerator(b"s" * 32)
    first = isn.isn(KEY, 0)
    assert isn.isn(KEY, 3999) == first
    assert isn.isn(KEY, 4000) == (first + 1) & 0xFFFFFFFF
    assert isn.isn(KEY, SECOND) == (first + 250_000) & 0xFFFFFFFF


@pytest.mark.scenario("B9")
def test_one_turn_takes_four_and_three_quarter_hours() -> None:
    isn = IsnGenerator(b"s" * 32)
    turn = (1 << 32) * 4 * MICROSECOND
    assert isn.isn(KEY, turn) == isn.isn(KEY, 0)
    assert round(turn / SECOND / 3600, 2) == 4.77


@pytest.mark.parametrize(
    "other",
    [flow_key(A, 5001, B, 80), flow_key(A, 5000, B, 81), flow_key(B, 5000, A, 80), flow_key(A, 80, B, 5000)],
)
@pytest.mark.rfc9293("SHLD-1")
@pytest.mark.scenario("B9")
def test_every_part_of_the_tuple_counts(other: bytes) -> None:
    isn = IsnGenerator(b"s" * 32)
    assert isn.isn(other, 0) != isn.isn(KEY, 0)


@pytest.mark.rfc9293("MUST-9")
@pytest.mark.scenario("B9")
def test_the_secret_counts() -> None:
    assert IsnGenerator(b"s" * 32).isn(KEY, 0) != IsnGenerator(b"t" * 32).isn(KEY, 0)
    with pytest.raises(ValueError, match="16 to 32"):
        IsnGenerator(b"short")


@pytest.mark.rfc9293("SHLD-1")
def test_isns_of_neighbours_are_no_series() -> None:
    isn = IsnGenerator(b"s" * 32)
    numbers = [isn.isn(flow_key(A, port, B, 80), 0) for port in range(1000, 2000)]
    assert len(set(numbers)) == 1000
    steps = {(later - sooner) & 0xFFFFFFFF for sooner, later in pairwise(numbers)}
    assert len(steps) == 999
    assert all(400 < sum(number >> bit & 1 for number in numbers) < 600 for bit in range(32))


@pytest.mark.rfc9293("MUST-8")
@pytest.mark.scenario("B9")
def test_the_same_tuple_never_goes_back(peer: Peer) -> None:
    numbers = []
    for _ in range(5):
        peer.host.connect(peer.port)
        peer.expect("S 0")
        numbers.append(peer.iss)
        peer.send("R. 0 ack 1")
        peer.host.advance(SECOND)
    assert [(later - sooner) & 0xFFFFFFFF for sooner, later in pairwise(numbers)] == [250_000] * 4


def test_both_directions_of_a_host_use_it(peer: Peer) -> None:
    peer.host.listen(80)
    peer.send("S 0")
    peer.expect("S. 0 ack 1")
    key = flow_key(parse_address("10.0.0.1"), peer.port, parse_address("10.0.0.2"), 80)
    assert peer.iss == peer.host.stack.host.isn.isn(key, peer.host.now)


@pytest.mark.rfc9293("MUST-9")
def test_who_sees_all_segments_of_one_host_cannot_tell_the_next_number() -> None:
    """Two hosts that differ in their entropy only: same addresses, ports and instants, unrelated ISNs."""
    numbers: list[list[int]] = []
    for entropy in (b"a" * 32, b"b" * 32):
        stack = Stack(Settings(), entropy=entropy)
        stack.add_address(A, 24)
        numbers.append([])
        for port in range(5000, 5010):
            numbers[-1].append(stack.connect(A, port, B, 80, SocketOptions(), 0).sender.iss)
    differences = {(first - second) & 0xFFFFFFFF for first, second in zip(*numbers, strict=True)}
    assert len(differences) == 10
    assert 0 not in differences
