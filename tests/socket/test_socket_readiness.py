"""fileno(): select, poll and epoll see a ustack socket as they see a kernel one."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import selectors
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.socket.socket_world import World

IN, OUT, HUP, RDHUP, ERR = select.POLLIN, select.POLLOUT, select.POLLHUP, select.POLLRDHUP, select.POLLERR
EVERYTHING = IN | OUT | RDHUP


def polled(found: Any) -> int:
    poll = select.poll()
    poll.register(found.fileno(), EVERYTHING)
    events = poll.poll(0)
    return events[0][1] if events else 0


def selected(found: Any) -> tuple[bool, bool]:
    readable, writable, _ = select.select([found], [found], [], 0)
    return bool(readable), bool(writable)


def fill(world: World, found: Any) -> None:
    """Send until nothing more goes."""
    found.setblocking(False)
    for _ in range(2):
        with contextlib.suppress(BlockingIOError):
            while True:
                found.send(bytes(1 << 16))
                world.settle()
        world.settle()


def drain(world: World, found: Any) -> None:
    found.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            found.recv(1 << 20)
            world.settle()


def test_no_descriptor_before_it_is_asked_for(ustack_world: World) -> None:
    client, server = ustack_world.pair_of_streams()
    count = len(os.listdir("/proc/self/fd"))
    client.sendall(b"x")
    assert server.recv(1) == b"x"
    assert len(os.listdir("/proc/self/fd")) == count
    assert client.fileno() == client.fileno() >= 0
    assert len(os.listdir("/proc/self/fd")) == count + 2


def test_a_fresh_socket(world: World) -> None:
    fresh = world.socket()
    assert selected(fresh) == (True, True)


def test_a_listener(world: World) -> None:
    listener = world.listener()
    assert polled(listener) == 0
    client = world.socket()
    client.connect(listener.getsockname())
    world.settle()
    assert polled(listener) == IN
    world.keep(listener.accept()[0])
    assert polled(listener) == 0


def test_text_and_its_end(world: World) -> None:
    client, server = world.pair_of_streams()
    assert polled(server) == OUT
    client.sendall(b"abc")
    world.settle()
    assert polled(server) == IN | OUT
    assert server.recv(2) == b"ab"
    assert polled(server) == IN | OUT
    assert server.recv(2) == b"c"
    assert polled(server) == OUT
    client.shutdown(socket.SHUT_WR)
    world.settle()
    assert polled(server) == IN | OUT | RDHUP
    assert server.recv(1) == b""
    assert polled(server) == IN | OUT | RDHUP
    assert polled(client) == OUT
    server.shutdown(socket.SHUT_WR)
    world.settle()
    assert polled(server) == IN | OUT | RDHUP | HUP
    assert polled(client) == IN | OUT | RDHUP | HUP


def test_room_to_write(world: World) -> None:
    client, server = world.pair_of_streams()
    assert polled(client) == OUT
    fill(world, client)
    assert polled(client) == 0
    server.sendall(b"x")
    world.settle()
    assert polled(client) & IN
    drain(world, server)
    assert polled(client) == IN | OUT


def test_a_reset_connection_is_readable_and_writable(world: World) -> None:
    client, server = world.pair_of_streams()
    assert polled(client) == OUT
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.close()
    world.settle()
    assert polled(client) & ~ERR == IN | OUT | RDHUP | HUP
    assert selected(client) == (True, True)


def test_connecting(world: World) -> None:
    listener = world.listener()
    client = world.socket()
    client.setblocking(False)
    if not world.is_kernel:  # loopback is too fast to be seen connecting
        client.fileno()
        client.connect_ex(listener.getsockname())
        assert polled(client) == 0
    else:
        client.connect_ex(listener.getsockname())
    world.settle()
    assert polled(client) == OUT
    refused = world.socket()
    refused.setblocking(False)
    refused.fileno()
    listener.close()
    refused.connect_ex((world.address(), 1))
    world.settle()
    assert polled(refused) & ~ERR == IN | OUT | RDHUP | HUP
    assert refused.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED


def test_rcvlowat_holds_poll_back(world: World) -> None:
    client, server = world.pair_of_streams()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 3)
    assert polled(server) == OUT
    client.sendall(b"ab")
    world.settle()
    assert polled(server) == OUT
    client.sendall(b"c")
    world.settle()
    assert polled(server) == IN | OUT


def test_datagrams(world: World) -> None:
    server = world.server_socket(kind=socket.SOCK_DGRAM)
    server.bind((world.address(), 0))
    client = world.socket(kind=socket.SOCK_DGRAM)
    assert polled(server) == OUT
    client.sendto(b"1", server.getsockname())
    client.sendto(b"2", server.getsockname())
    world.settle()
    assert polled(server) == IN | OUT
    server.recv(10)
    assert polled(server) == IN | OUT
    server.recv(10, socket.MSG_PEEK)
    assert polled(server) == IN | OUT
    server.recv(10)
    assert polled(server) == OUT


def test_edges(world: World) -> None:
    client, server = world.pair_of_streams()
    with select.epoll() as epoll:
        epoll.register(server.fileno(), select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
        fd = server.fileno()
        assert epoll.poll(0) == [(fd, OUT)]
        assert epoll.poll(0) == []
        client.sendall(b"a")
        world.settle()
        assert epoll.poll(0) == [(fd, IN | OUT)]
        assert epoll.poll(0) == []
        client.sendall(b"b")
        world.settle()
        assert epoll.poll(0) == [(fd, IN | OUT)], "new text is a new edge though the old one was not read"
        assert epoll.poll(0) == []
        assert server.recv(10) == b"ab"
        assert epoll.poll(0) == []
        client.sendall(b"c")
        world.settle()
        assert epoll.poll(0) == [(fd, IN | OUT)]


def test_edge_of_room(world: World) -> None:
    client, server = world.pair_of_streams()
    with select.epoll() as epoll:
        epoll.register(client.fileno(), select.EPOLLOUT | select.EPOLLET)
        assert epoll.poll(0) == [(client.fileno(), OUT)]
        fill(world, client)
        assert epoll.poll(0) in ([], [(client.fileno(), OUT)])
        assert epoll.poll(0) == []
        drain(world, server)
        assert epoll.poll(0) == [(client.fileno(), OUT)]


def test_oneshot(world: World) -> None:
    client, server = world.pair_of_streams()
    with select.epoll() as epoll:
        epoll.register(server.fileno(), select.EPOLLIN | select.EPOLLONESHOT)
        client.sendall(b"a")
        world.settle()
        assert epoll.poll(0) == [(server.fileno(), IN)]
        assert epoll.poll(0) == []
        epoll.modify(server.fileno(), select.EPOLLIN | select.EPOLLONESHOT)
        assert epoll.poll(0) == [(server.fileno(), IN)]


def test_urgent(world: World) -> None:
    client, server = world.pair_of_streams()
    assert select.select([], [], [server], 0) == ([], [], [])
    client.send(b"!", socket.MSG_OOB)
    world.settle()
    assert select.select([], [], [server], 0) == ([], [], [server])
    assert server.recv(1, socket.MSG_OOB) == b"!"
    assert select.select([], [], [server], 0) == ([], [], [])


def test_selectors(world: World) -> None:
    client, server = world.pair_of_streams()
    with selectors.DefaultSelector() as selector:
        selector.register(server, selectors.EVENT_READ)
        assert selector.select(0) == []
        client.sendall(b"x")
        world.settle()
        [(key, events)] = selector.select(0)
        assert (key.fileobj, events) == (server, selectors.EVENT_READ)


def test_sendfile_into_the_descriptor_is_refused(ustack_world: World, tmp_path: Path) -> None:
    """What it wrote would be lost; asyncio sends the file by itself when it fails."""
    client, server = ustack_world.pair_of_streams()
    path = tmp_path / "text"
    path.write_bytes(b"lost")
    with open(path, "rb") as file, pytest.raises(OSError, match="Invalid argument"):
        os.sendfile(client.fileno(), file.fileno(), 0, 4)
    assert polled(client) == OUT
    server.setblocking(False)
    with pytest.raises(BlockingIOError):
        server.recv(1)


def test_closed(world: World) -> None:
    client, _ = world.pair_of_streams()
    fd = client.fileno()
    client.close()
    assert client.fileno() == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
