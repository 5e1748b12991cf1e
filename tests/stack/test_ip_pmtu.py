"""What is known of a path, for how long, and from whom it is believed."""

from __future__ import annotations

import pytest

from tests.stack.test_ip import OURS, PEER, PEER6, SECOND, host
from ustack.network import Outgoing
from ustack.stack.pmtu import EXPIRY, MOST_PATHS, PathMtus
from ustack.wire.address import parse_address

OTHER = parse_address("10.0.0.7")


def test_nothing_is_known_at_first() -> None:
    assert PathMtus().mtu(PEER, 1500, 0) == 1500


def test_a_path_is_learned_for_one_destination_and_ten_minutes() -> None:
    ip = host()
    assert ip.learn_mtu(PEER, 1400, 5)
    assert ip.mtu_to(PEER, 6) == 1400
    assert ip.mtu_to(OTHER, 6) == 1500
    assert ip.mtu_to(PEER, 4 + EXPIRY) == 1400
    assert ip.mtu_to(PEER, 5 + EXPIRY) == 1500
    assert EXPIRY == 600 * SECOND


def test_it_never_rises_and_the_link_is_the_most() -> None:
    paths = PathMtus()
    assert not paths.learn(PEER, 1500, 1500, 0)
    assert not paths.learn(PEER, 9000, 1500, 0)
    assert paths.learn(PEER, 1300, 1500, 0)
    assert not paths.learn(PEER, 1400, 1500, 0)
    assert not paths.learn(PEER, 1300, 1500, 0)
    assert paths.learn(PEER, 1200, 1500, 0)
    assert paths.mtu(PEER, 1500, 0) == 1200
    assert paths.mtu(PEER, 1000, 0) == 1000


@pytest.mark.parametrize("claim", [0, 1, 68, 551])
def test_an_ipv4_path_below_552_is_552_without_the_bit(claim: int) -> None:
    ip = host()
    assert ip.may_forbid_fragments(PEER, 0)
    assert ip.learn_mtu(PEER, claim, 0)
    assert ip.mtu_to(PEER, 0) == 552
    assert not ip.may_forbid_fragments(PEER, 0)
    assert ip.datagram(Outgoing(OURS, PEER, 17, b""), 0)[0][6:8] == b"\0\0"
    assert ip.may_forbid_fragments(PEER, EXPIRY)


def test_552_itself_is_believed() -> None:
    ip = host()
    assert ip.learn_mtu(PEER, 552, 0)
    assert ip.may_forbid_fragments(PEER, 0)


def test_a_small_link_stays_small() -> None:
    paths = PathMtus()
    assert not paths.learn(PEER, 300, 400, 0)
    assert paths.is_locked(PEER, 0)
    assert paths.mtu(PEER, 400, 0) == 400


@pytest.mark.parametrize("claim", [0, 1279])
def test_an_ipv6_path_below_1280_is_ignored(claim: int) -> None:
    paths = PathMtus()
    assert not paths.learn(PEER6, claim, 1500, 0)
    assert paths.mtu(PEER6, 1500, 0) == 1500
    assert paths.learn(PEER6, 1280, 1500, 0)


def test_memory_is_bounded_and_the_oldest_goes() -> None:
    paths = PathMtus()
    for n in range(MOST_PATHS + 10):
        paths.learn(n.to_bytes(16, "big"), 1300, 1500, 0)
    assert len(paths) == MOST_PATHS
    assert paths.mtu((0).to_bytes(16, "big"), 1500, 0) == 1500
    assert paths.mtu((10).to_bytes(16, "big"), 1500, 0) == 1300
