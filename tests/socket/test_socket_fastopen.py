"""Fast Open through sockets, both ends ustack: how many round trips, which counters, which errors."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

import pytest

from tests.socket.socket_world import World
from ustack.settings import Settings

TCP_FASTOPEN, TCP_FASTOPEN_CONNECT, MSG_FASTOPEN, TCP_INFO = 23, 30, 0x20000000, 11
SYN_DATA, TFO_CHILD = 32, 128


@pytest.fixture
def fast() -> Iterator[World]:
    made = World(Settings(tcp_fastopen=3))
    yield made
    made.close()


def listen(world: World, family: int = socket.AF_INET, qlen: int = 5):
    listener = world.server_socket(family)
    listener.bind((world.address(family), 80))
    listener.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, qlen)
    listener.listen(5)
    return listener


def options_of(one) -> int:
    return one.getsockopt(socket.IPPROTO_TCP, TCP_INFO, 256)[5]


def first_visit(world: World, listener, family: int = socket.AF_INET):
    """A client that asks for a cookie and has it afterwards."""
    client = world.socket(family)
    assert client.sendto(b"first", MSG_FASTOPEN, listener.getsockname()) == 5
    server, _ = listener.accept()
    assert server.recv(100) == b"first"
    assert not options_of(client) & SYN_DATA
    client.close()
    server.close()
    world.settle()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_the_second_visit_carries_text(fast: World, family: int) -> None:
    listener = listen(fast, family)
    first_visit(fast, listener, family)
    client = fast.socket(family)
    assert client.sendto(b"second", MSG_FASTOPEN, listener.getsockname()) == 6
    server, _ = listener.accept()
    assert server.recv(100) == b"second"
    assert options_of(client) & (SYN_DATA | TFO_CHILD) == SYN_DATA
    assert options_of(server) & (SYN_DATA | TFO_CHILD) == SYN_DATA | TFO_CHILD
    server.sendall(b"answer")
    assert client.recv(100) == b"answer"
    assert fast.client.counters["TCPFastOpenActive"] == 1
    assert fast.server.counters["TCPFastOpenPassive"] == 1
    assert fast.server.counters["TCPFastOpenCookieReqd"] == 1
    server.close()


def test_everything_arrives_when_more_is_sent_than_fits(fast: World) -> None:
    listener = listen(fast)
    first_visit(fast, listener)
    client = fast.socket()
    text = bytes(range(256)) * 40
    assert client.sendto(text, MSG_FASTOPEN, listener.getsockname()) == len(text)
    server, _ = listener.accept()
    taken = b""
    while len(taken) < len(text):
        taken += server.recv(1 << 16)
    assert taken == text
    server.close()


def test_connect_waits_for_the_first_write(fast: World) -> None:
    listener = listen(fast)
    first_visit(fast, listener)
    client = fast.socket()
    client.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
    client.connect(listener.getsockname())
    fast.settle()
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.accept()
    client.sendall(b"text")
    server, _ = listener.accept()
    server.setblocking(True)
    assert server.recv(100) == b"text"
    assert options_of(client) & SYN_DATA
    server.close()


def test_errors_of_a_socket_that_does_not_block(fast: World) -> None:
    listener = listen(fast)
    client = fast.socket()
    client.setblocking(False)
    with pytest.raises(BlockingIOError) as found:
        client.sendto(b"text", MSG_FASTOPEN, listener.getsockname())
    assert found.value.errno == errno.EINPROGRESS
    fast.settle()
    assert client.sendto(b"text", MSG_FASTOPEN, listener.getsockname()) == 4
    with pytest.raises(OSError, match=r".") as connected:
        client.sendto(b"text", MSG_FASTOPEN, listener.getsockname())
    assert connected.value.errno == errno.EISCONN


def test_a_timeout_is_the_standard_librarys(fast: World) -> None:
    """A socket with a time-out does not block in the kernel: EINPROGRESS comes through, as from CPython's sendto()."""
    listener = listen(fast)
    client = fast.socket()
    client.settimeout(5)
    with pytest.raises(BlockingIOError) as found:
        client.sendto(b"text", MSG_FASTOPEN, listener.getsockname())
    assert found.value.errno == errno.EINPROGRESS


def test_nobody_to_send_to(fast: World) -> None:
    client = fast.socket()
    with pytest.raises(OSError, match=r".") as found:
        client.send(b"text", MSG_FASTOPEN)
    assert found.value.errno == errno.EINVAL
    with pytest.raises(ConnectionRefusedError):
        client.sendto(b"text", MSG_FASTOPEN, ("10.0.0.1", 81))


def test_the_queue_has_an_end(fast: World) -> None:
    """One early child at a time: the second client is served without Fast Open, and counted."""
    listener = listen(fast, qlen=1)
    first_visit(fast, listener)
    one, two = fast.socket(), fast.socket()
    for client in (one, two):
        client.setblocking(False)
        assert client.sendto(b"text", MSG_FASTOPEN, listener.getsockname()) == 4
    fast.settle()
    assert fast.server.counters["TCPFastOpenListenOverflow"] <= 1
    for _ in range(2):
        server, _ = listener.accept()
        assert server.recv(10) == b"text"
        server.close()


def test_a_listener_that_closes_resets_its_children(fast: World) -> None:
    listener = listen(fast)
    first_visit(fast, listener)
    client = fast.socket()
    client.sendto(b"text", MSG_FASTOPEN, listener.getsockname())
    listener.close()
    fast.settle()
    with pytest.raises(ConnectionResetError):
        client.recv(10)


def test_off(world: World) -> None:
    """TCP_FASTOPEN_CONNECT without tcp_fastopen's first bit is EOPNOTSUPP; with it, it is a flag, on both stacks."""
    client = world.socket()
    client.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
    assert client.getsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT) == 1
