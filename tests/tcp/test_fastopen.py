"""What a host and a listener keep of Fast Open: cookies, keys, the peers' cookies, the queue, black holes."""

from __future__ import annotations

import pytest

from ustack.settings import Settings, parse_fastopen_keys
from ustack.sockopts import SocketOptions
from ustack.tcp import fastopen
from ustack.units import SECOND
from ustack.wire.address import flow_key, parse_address

KEY = "a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4"


@pytest.mark.parametrize(
    ("size", "digest"), [(0, "310e0edd47db6f72"), (8, "6224939a79f5f593"), (16, "db9bc2577fcc2a3f")]
)
def test_siphash_is_the_reference(size, digest):
    assert fastopen.siphash(bytes(range(16)), bytes(range(size))).to_bytes(8, "little").hex() == digest


@pytest.mark.parametrize(
    ("client", "server", "key", "cookie"),
    [
        ("192.0.2.1", "192.168.0.1", KEY, "3021b9d889017eeb"),
        ("192.0.2.1", "192.168.0.1", "00000001-00000002-00000003-00000004", "6d239c6d1b1d2410"),
    ],
)
def test_cookies_are_the_kernels(client, server, key, cookie):
    """As Linux 6.18 gave them out (``ustack packetdrill --live``; the scripts of tests/rfc/7413 hold the IPv6 ones)."""
    made = flow_key(parse_address(client), 1234, parse_address(server), 8080)
    assert fastopen.cookie_for(parse_fastopen_keys(key)[0], made).hex() == cookie


@pytest.mark.parametrize("text", ["", "1-2-3", "1-2-3-4-5", "x-1-2-3", "1-2-3-100000000", "1-2-3-4,,", "1-2-3-4," * 3])
def test_wrong_keys(text):
    with pytest.raises(ValueError, match=r"tcp_fastopen_key|invalid literal"):
        parse_fastopen_keys(text)
    if text:
        with pytest.raises(ValueError, match=r"tcp_fastopen_key|invalid literal"):
            Settings(tcp_fastopen_key=text)


def test_a_key_is_random_until_it_is_set():
    host, other = fastopen.FastOpenHost(bytes(32)), fastopen.FastOpenHost(bytes(range(32)))
    assert host.keys(Settings(), SocketOptions()) == []
    host.make_key()
    other.make_key()
    assert host.keys(Settings(), SocketOptions()) != other.keys(Settings(), SocketOptions())
    named = Settings(tcp_fastopen_key=f"{KEY},1-2-3-4")
    assert len(host.keys(named, SocketOptions())) == 2
    own = SocketOptions()
    own.fastopen_key = bytes(range(32))
    assert host.keys(named, own) == [bytes(range(16)), bytes(range(16, 32))]


def test_peers_are_bounded():
    host = fastopen.FastOpenHost(bytes(32))
    for number in range(fastopen.MOST_PEERS + 100):
        host.remember(number.to_bytes(36, "little"))
        host.remember(bytes(36))
    assert len(host.peers) == fastopen.MOST_PEERS
    assert host.peer(bytes(36)) is not None  # renewed all the time
    host.forget_peers()
    assert host.peer(bytes(36)) is None


def test_a_reset_child_counts_for_a_minute():
    queue = fastopen.FastOpenQueue()
    assert queue.has_room(1, 0)
    queue.enter()
    assert not queue.has_room(1, 0)
    queue.leave(True, 0)
    assert not queue.has_room(1, 59 * SECOND)
    assert queue.has_room(1, 60 * SECOND)
    assert queue.length == 0


def test_a_pause_doubles_each_time():
    host = fastopen.FastOpenHost(bytes(32))
    settings = Settings(tcp_fastopen_blackhole_timeout_sec=10)
    assert not host.pause(Settings(), 0)  # off
    ends = []
    for _ in range(9):
        assert host.pause(settings, 0)
        ends.append(next(second for second in range(1000) if not host.is_paused(settings, second * SECOND)))
    assert ends == [10, 20, 40, 80, 160, 320, 640, 640, 640]
    host.trust_path()
    assert not host.is_paused(settings, 0)


@pytest.mark.parametrize("size", range(0, 40))
def test_any_length_of_a_cookie(size):
    found = fastopen.TcpOptions()
    found.fastopen = bytes(size)
    taken = fastopen.cookie_in(found)
    assert (taken is not None) is (size == 0 or (size % 2 == 0 and 4 <= size <= 16))
