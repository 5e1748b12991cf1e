"""SOCK_STREAM, on the kernel and on ustack: the same calls, the same answers."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from typing import Any

import pytest

from tests.socket.socket_world import World

FAMILIES = [socket.AF_INET, socket.AF_INET6]
RESET = struct.pack("ii", 1, 0)


def code_of(call: Any, *arguments: Any) -> int:
    """The errno that a call fails with."""
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is the match
        call(*arguments)
    return caught.value.errno or 0


def unused_port(world: World, family: int = socket.AF_INET, address: str = "") -> int:
    """Of ``address``, or the server's own; of "::" it is free in both families."""
    found = world.server_socket(family)
    found.bind((address or world.address(family), 0))
    port: int = found.getsockname()[1]
    found.close()
    return port


# Opening


@pytest.mark.parametrize("family", FAMILIES)
def test_connect_accept_names(world: World, family: int) -> None:
    listener = world.listener(family)
    client = world.socket(family)
    client.connect(listener.getsockname())
    server, address = listener.accept()
    world.keep(server)
    assert address == client.getsockname()
    assert server.getpeername() == client.getsockname()
    assert client.getpeername() == server.getsockname() == listener.getsockname()
    assert len(address) == (2 if family == socket.AF_INET else 4)
    assert server.family == family
    assert server.type == socket.SOCK_STREAM
    assert server.gettimeout() is None


@pytest.mark.parametrize("family", FAMILIES)
def test_refused(world: World, family: int) -> None:
    client = world.socket(family)
    with pytest.raises(ConnectionRefusedError) as caught:
        client.connect((world.address(family), unused_port(world, family)))
    assert caught.value.errno == errno.ECONNREFUSED


def test_refused_then_connect_again(world: World) -> None:
    client = world.socket()
    assert client.connect_ex((world.address(), unused_port(world))) == errno.ECONNREFUSED
    client.connect(world.listener().getsockname())
    client.sendall(b"x")


def test_nonblocking_connect(world: World) -> None:
    listener = world.listener()
    client = world.socket()
    client.setblocking(False)
    assert client.connect_ex(listener.getsockname()) == errno.EINPROGRESS
    world.settle()
    assert client.connect_ex(listener.getsockname()) == 0
    assert client.connect_ex(listener.getsockname()) == errno.EISCONN


def test_nonblocking_refused(world: World) -> None:
    client = world.socket()
    client.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.connect((world.address(), unused_port(world)))
    world.settle()
    assert client.connect_ex(("127.0.0.1", 1)) == errno.ECONNREFUSED


def test_failed_connect_after_so_error_is_aborted(world: World) -> None:
    client = world.socket()
    client.setblocking(False)
    where = (world.address(), unused_port(world))
    assert client.connect_ex(where) == errno.EINPROGRESS
    world.settle()
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
    assert client.connect_ex(where) == errno.ECONNABORTED
    assert client.connect_ex(where) == errno.EINPROGRESS


def test_connect_with_timeout(world: World) -> None:
    listener = world.listener()
    client = world.socket()
    client.settimeout(5)
    client.connect(listener.getsockname())
    assert client.gettimeout() == 5
    refused = world.socket()
    refused.settimeout(5)
    with pytest.raises(ConnectionRefusedError):
        refused.connect((world.address(), unused_port(world)))


def test_connect_twice(world: World) -> None:
    client, server = world.pair_of_streams()
    assert code_of(client.connect, ("127.0.0.1", 9)) == errno.EISCONN
    assert code_of(server.connect, ("127.0.0.1", 9)) == errno.EISCONN
    listener = world.listener()
    assert code_of(listener.connect, ("127.0.0.1", 9)) == errno.EISCONN
    assert code_of(client.listen) == errno.EINVAL
    assert code_of(client.bind, ("", 0)) == errno.EINVAL


def test_bind_before_connect(world: World) -> None:
    listener = world.listener()
    client = world.socket()
    client.bind((world.client_address(), 0))
    port = client.getsockname()[1]
    assert port
    client.connect(listener.getsockname())
    assert client.getsockname() == (world.client_address(), port)


def test_bind_to_any_shows_the_address_once_connected(world: World) -> None:
    listener = world.listener()
    client = world.socket()
    client.bind(("", 0))
    host, port = client.getsockname()
    assert host == "0.0.0.0"
    client.connect(listener.getsockname())
    assert client.getsockname() == (world.client_address(), port)


def test_bind_errors(world: World) -> None:
    first = world.server_socket()
    first.bind((world.address(), 0))
    second = world.server_socket()
    assert code_of(second.bind, first.getsockname()) == errno.EADDRINUSE
    assert code_of(second.bind, ("192.0.2.1", 0)) == errno.EADDRNOTAVAIL
    assert code_of(first.bind, (world.address(), 0)) == errno.EINVAL
    first.close()
    second.bind((world.address(), 0))


def test_reuse_of_addresses(world: World) -> None:
    first = world.server_socket()
    first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    first.bind((world.address(), 0))
    second = world.server_socket()
    second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    second.bind(first.getsockname())
    first.listen()
    assert code_of(second.listen) == errno.EADDRINUSE
    third = world.server_socket()
    third.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    assert code_of(third.bind, first.getsockname()) == errno.EADDRINUSE


def test_reuseport(world: World) -> None:
    first = world.server_socket()
    first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    first.bind((world.address(), 0))
    second = world.server_socket()
    second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    second.bind(first.getsockname())
    first.listen()
    second.listen()


def test_listen_without_bind(world: World) -> None:
    listener = world.server_socket()
    listener.listen(1)
    assert listener.getsockname()[1]
    client = world.socket()
    client.connect((world.address(), listener.getsockname()[1]))


def test_listen_again_changes_the_backlog(world: World) -> None:
    listener = world.listener(backlog=0)
    listener.listen(10)
    clients = [world.socket() for _ in range(5)]
    for client in clients:
        client.connect(listener.getsockname())


def test_accept_errors(world: World) -> None:
    fresh = world.server_socket()
    assert code_of(fresh.accept) == errno.EINVAL
    listener = world.listener()
    listener.setblocking(False)
    assert code_of(listener.accept) == errno.EAGAIN
    client, _ = world.pair_of_streams()
    assert code_of(client.accept) == errno.EINVAL


def test_accept_gives_a_connection_that_its_peer_has_reset(world: World) -> None:
    listener = world.listener()
    client = world.socket()
    client.connect(listener.getsockname())
    address = client.getsockname()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1" + bytes(7))
    client.close()
    world.settle()
    served, peer = listener.accept()
    assert peer == address
    assert code_of(served.getpeername) == errno.ENOTCONN
    assert code_of(lambda: served.recv(1)) == errno.ECONNRESET
    served.close()


def test_accept_timeout(world: World) -> None:
    listener = world.listener()
    listener.settimeout(0.01)
    with pytest.raises(TimeoutError, match="timed out"):
        listener.accept()
    client = world.socket()
    client.connect(listener.getsockname())
    server, _ = listener.accept()
    world.keep(server)
    assert server.gettimeout() is None
    assert server.getblocking()


def test_shutdown_of_a_listener(world: World) -> None:
    listener = world.server_socket()
    name = (world.address(), unused_port(world))
    listener.bind(name)
    listener.listen()
    listener.shutdown(socket.SHUT_RDWR)
    assert code_of(listener.accept) == errno.EINVAL
    assert world.socket().connect_ex(name) == errno.ECONNREFUSED
    assert listener.getsockname() == name
    listener.listen()
    world.socket().connect(name)


def test_dual_stack(world: World) -> None:
    listener = world.server_socket(socket.AF_INET6)
    listener.bind(("::", 0))
    listener.listen()
    port = listener.getsockname()[1]
    client = world.socket(socket.AF_INET)
    client.connect((world.address(), port))
    server, address = listener.accept()
    world.keep(server)
    assert address[0] == "::ffff:" + client.getsockname()[0]
    assert server.getsockname()[:2] == ("::ffff:" + world.address(), port)
    mapped = world.socket(socket.AF_INET6)
    mapped.connect(("::ffff:" + world.address(), port))
    assert mapped.getpeername()[:2] == ("::ffff:" + world.address(), port)


def test_v6only(world: World) -> None:
    listener = world.server_socket(socket.AF_INET6)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    port = unused_port(world, socket.AF_INET6, "::")
    listener.bind(("::", port))
    listener.listen()
    assert world.socket().connect_ex((world.address(), port)) == errno.ECONNREFUSED
    world.socket(socket.AF_INET6).connect((world.address(socket.AF_INET6), port))
    other = world.server_socket()
    other.bind(("", port))
    only = world.socket(socket.AF_INET6)
    only.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    assert code_of(only.bind, ("::ffff:" + world.client_address(), 0)) == errno.EINVAL
    assert only.connect_ex(("::ffff:" + world.address(), port)) == errno.ENETUNREACH


def test_bind_address_no_port(world: World) -> None:
    client = world.socket()
    client.setsockopt(socket.IPPROTO_IP, 24, 1)
    client.bind((world.client_address(), 0))
    assert client.getsockname() == (world.client_address(), 0)
    client.connect(world.listener().getsockname())
    assert client.getsockname()[1]


# Text


@pytest.mark.parametrize("family", FAMILIES)
def test_send_and_receive(world: World, family: int) -> None:
    client, server = world.pair_of_streams(family)
    assert client.send(b"hello") == 5
    assert server.recv(100) == b"hello"
    assert server.send(memoryview(b"array")) == 5
    space = bytearray(10)
    assert client.recv_into(space) == 5
    assert space == b"array\0\0\0\0\0"
    client.sendall(b"abcdef")
    world.settle()
    assert server.recv_into(space, 2) == 2
    assert server.recvfrom(2) == (b"cd", None)
    assert server.recvfrom_into(space, 5) == (2, None)
    assert server.send(b"") == 0
    assert client.recv(0) == b""


def test_recv_when_there_is_nothing(world: World) -> None:
    client, _ = world.pair_of_streams()
    assert code_of(client.recv, 10, socket.MSG_DONTWAIT) == errno.EAGAIN
    client.setblocking(False)
    with pytest.raises(BlockingIOError) as caught:
        client.recv(10)
    assert caught.value.errno == errno.EAGAIN
    client.settimeout(0.01)
    with pytest.raises(TimeoutError, match=r"^timed out$"):
        client.recv(10)
    client.settimeout(None)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 10_000))
    with pytest.raises(BlockingIOError):
        client.recv(10)


def test_peek(world: World) -> None:
    client, server = world.pair_of_streams()
    client.sendall(b"abcdef")
    world.settle()
    assert server.recv(3, socket.MSG_PEEK) == b"abc"
    assert server.recv(9, socket.MSG_PEEK) == b"abcdef"
    assert server.recv(9) == b"abcdef"
    client.shutdown(socket.SHUT_WR)
    world.settle()
    assert server.recv(3, socket.MSG_PEEK) == b""


def test_waitall(world: World) -> None:
    client, server = world.pair_of_streams()
    client.sendall(b"abc")
    client.sendall(b"def")
    assert server.recv(6, socket.MSG_WAITALL) == b"abcdef"
    client.sendall(b"abc")
    client.shutdown(socket.SHUT_WR)
    assert server.recv(6, socket.MSG_WAITALL) == b"abc"


def test_waitall_does_not_wait_with_a_timeout(world: World) -> None:
    client, server = world.pair_of_streams()
    client.sendall(b"abc")
    world.settle()
    server.settimeout(5)
    assert server.recv(6, socket.MSG_WAITALL) == b"abc"
    client.sendall(b"abc")
    world.settle()
    server.settimeout(None)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 10_000))
    assert server.recv(6, socket.MSG_WAITALL) == b"abc"


def test_trunc_throws_away(world: World) -> None:
    client, server = world.pair_of_streams()
    client.sendall(b"abcdef")
    world.settle()
    space = bytearray(4)
    assert server.recv_into(space, 4, socket.MSG_TRUNC) == 4
    assert space == bytes(4)
    assert server.recv(10) == b"ef"


def test_rcvlowat(world: World) -> None:
    client, server = world.pair_of_streams()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 4)
    client.sendall(b"ab")
    world.settle()
    server.settimeout(0.01)
    with pytest.raises(TimeoutError):
        server.recv(10)
    server.setblocking(False)
    assert server.recv(10) == b"ab"
    server.settimeout(None)
    client.sendall(b"abcd")
    assert server.recv(10) == b"abcd"


def test_not_connected(world: World) -> None:
    fresh = world.socket()
    assert code_of(fresh.recv, 1) == errno.ENOTCONN
    assert code_of(fresh.send, b"x") == errno.EPIPE
    assert code_of(fresh.send, b"") == errno.EPIPE
    assert code_of(fresh.sendto, b"x", ("127.0.0.1", 9)) == errno.EPIPE
    assert code_of(fresh.getpeername) == errno.ENOTCONN
    assert code_of(fresh.shutdown, socket.SHUT_WR) == errno.ENOTCONN
    assert code_of(fresh.shutdown, 7) == errno.EINVAL
    assert fresh.getsockname() == ("0.0.0.0", 0)
    listener = world.listener()
    assert code_of(listener.recv, 1) == errno.ENOTCONN
    assert code_of(listener.send, b"x") == errno.EPIPE
    assert code_of(listener.getpeername) == errno.ENOTCONN
    fresh = world.socket()
    assert code_of(fresh.shutdown, socket.SHUT_RD) == errno.ENOTCONN
    assert fresh.recv(1) == b""


def test_sendto_passes_over_the_address(world: World) -> None:
    client, server = world.pair_of_streams()
    assert client.sendto(b"abc", ("192.0.2.1", 9)) == 3
    assert client.sendto(b"def", 0, ("192.0.2.1", 9)) == 3
    assert server.recv(6, socket.MSG_WAITALL) == b"abcdef"


def test_sendmsg_recvmsg(world: World) -> None:
    client, server = world.pair_of_streams()
    assert client.sendmsg([b"ab", bytearray(b"cd"), memoryview(b"ef")]) == 6
    world.settle()
    assert server.recvmsg(4) == (b"abcd", [], 0, None)
    spaces = [bytearray(1), bytearray(5)]
    assert server.recvmsg_into(spaces) == (2, [], 0, None)
    assert spaces == [b"e", b"f\0\0\0\0"]
    assert client.sendmsg([]) == 0
    server.setsockopt(socket.IPPROTO_TCP, 36, 1)
    client.sendall(b"abcdef")
    world.settle()
    data, ancillary, flags, address = server.recvmsg(2, socket.CMSG_SPACE(4))
    assert (data, address) == (b"ab", None)
    assert ancillary == [(6, 36, struct.pack("i", 4))]
    assert flags & ~socket.MSG_CMSG_CLOEXEC == 0
    assert server.recvmsg(2, 0)[2] & socket.MSG_CTRUNC


def test_a_full_send_buffer(world: World) -> None:
    client, server = world.pair_of_streams()
    client.setblocking(False)
    total = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            total += client.send(bytes(65536))
            world.settle()
    assert total > 65536
    client.settimeout(0.01)
    with pytest.raises(TimeoutError, match="timed out"):
        client.sendall(bytes(1 << 25))
    client.settimeout(None)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, 10_000))
    with pytest.raises(BlockingIOError):
        client.send(b"x")
    server.setblocking(False)
    received = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            received += len(server.recv(1 << 20))
            world.settle()
    assert received >= total
    client.send(b"x")


def test_more_than_the_buffers_hold(ustack_world: World) -> None:
    """On the kernel it would need two threads."""
    world = ustack_world
    client, server = world.pair_of_streams()
    data = bytes(range(256)) * 4096
    client.setblocking(False)
    sent = 0
    received = b""
    while len(received) < len(data):
        if sent < len(data):
            with contextlib.suppress(BlockingIOError):
                sent += client.send(data[sent:])
        received += server.recv(1 << 20)
    assert received == data


# Ends


def test_half_close(world: World) -> None:
    client, server = world.pair_of_streams()
    client.sendall(b"last")
    client.shutdown(socket.SHUT_WR)
    assert server.recv(10) == b"last"
    assert server.recv(10) == b""
    assert server.recv(10) == b""
    server.sendall(b"answer")
    assert client.recv(10) == b"answer"
    with pytest.raises(BrokenPipeError):
        client.send(b"x")
    with pytest.raises(BrokenPipeError):
        client.send(b"")
    server.close()
    assert client.recv(10) == b""


def test_shut_rd(world: World) -> None:
    client, server = world.pair_of_streams()
    server.sendall(b"before")
    world.settle()
    client.shutdown(socket.SHUT_RD)
    assert client.recv(10) == b"before"
    assert client.recv(10) == b""
    server.sendall(b"after")
    world.settle()
    assert client.recv(10) == b"after"
    assert client.recv(10) == b""
    client.sendall(b"still")
    assert server.recv(10) == b"still"


def test_shutdown_twice(world: World) -> None:
    client, server = world.pair_of_streams()
    client.shutdown(socket.SHUT_WR)
    client.shutdown(socket.SHUT_WR)
    world.settle()
    server.shutdown(socket.SHUT_RDWR)
    world.settle()
    assert code_of(server.shutdown, socket.SHUT_RDWR) == errno.ENOTCONN
    assert code_of(server.getpeername) == errno.ENOTCONN
    assert code_of(server.send, b"x") == errno.EPIPE
    assert server.recv(1) == b""


def test_reset_by_linger(world: World) -> None:
    client, server = world.pair_of_streams()
    server.sendall(b"before")
    world.settle()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    server.close()
    world.settle()
    assert client.recv(10) == b"before"
    with pytest.raises(ConnectionResetError):
        client.recv(10)
    assert client.recv(10) == b""
    with pytest.raises(BrokenPipeError):
        client.send(b"x")
    assert code_of(client.getpeername) == errno.ENOTCONN
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


def test_reset_seen_by_send(world: World) -> None:
    client, server = world.pair_of_streams()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    server.close()
    world.settle()
    with pytest.raises(ConnectionResetError):
        client.send(b"x")
    with pytest.raises(BrokenPipeError):
        client.send(b"x")


def test_reset_by_unread_text(world: World) -> None:
    client, server = world.pair_of_streams()
    client.sendall(b"never read")
    world.settle()
    server.close()
    world.settle()
    with pytest.raises(ConnectionResetError):
        client.recv(10)


def test_close_of_a_listener_resets_what_waits(world: World) -> None:
    listener = world.listener()
    client = world.socket()
    client.connect(listener.getsockname())
    world.settle()
    listener.close()
    world.settle()
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_linger_waits_for_the_peer(world: World) -> None:
    client, server = world.pair_of_streams()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 5))
    client.sendall(b"abc")
    client.close()
    assert server.recv(10) == b"abc"
    assert server.recv(10) == b""


def test_write_after_the_peer_closed(world: World) -> None:
    client, server = world.pair_of_streams()
    server.close()
    world.settle()
    client.send(b"answered by a reset")
    world.settle()
    with pytest.raises(BrokenPipeError):
        client.send(b"x")
    assert client.recv(1) == b""


def test_shutdown_while_connecting_aborts(world: World) -> None:
    client = world.socket()
    client.setblocking(False)
    assert client.connect_ex(("192.0.2.77", 9)) in (errno.EINPROGRESS, errno.ENETUNREACH)
    if client.connect_ex(("192.0.2.77", 9)) == errno.EALREADY:
        client.shutdown(socket.SHUT_RDWR)


# Urgent data


def test_urgent_byte(world: World) -> None:
    client, server = world.pair_of_streams()
    assert code_of(server.recv, 1, socket.MSG_OOB) == errno.EINVAL
    client.sendall(b"abc")
    assert client.send(b"xyz", socket.MSG_OOB) == 3
    client.sendall(b"def")
    world.settle()
    assert server.recv(1, socket.MSG_OOB | socket.MSG_PEEK) == b"z"
    assert server.recv(1, socket.MSG_OOB) == b"z"
    assert code_of(server.recv, 1, socket.MSG_OOB) == errno.EINVAL
    assert server.recv(10) == b"abcxy"
    assert server.recv(10) == b"def"


def test_urgent_inline(world: World) -> None:
    client, server = world.pair_of_streams()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    client.send(b"xyz", socket.MSG_OOB)
    world.settle()
    assert code_of(server.recv, 1, socket.MSG_OOB) == errno.EINVAL
    assert server.recv(10) == b"xy"
    assert server.recv(10) == b"z"
