"""SOCK_DGRAM, on the kernel and on ustack."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import time
from typing import Any

import pytest

from tests.socket.socket_world import KernelWorld, World
from tests.socket.test_socket_stream import FAMILIES, code_of


def pair(world: World, family: int = socket.AF_INET) -> tuple[Any, Any]:
    """A client's socket, unbound, and a server's, bound."""
    server = world.server_socket(family, socket.SOCK_DGRAM)
    server.bind((world.address(family), 0))
    return world.socket(family, socket.SOCK_DGRAM), server


@pytest.mark.parametrize("family", FAMILIES)
def test_sendto_recvfrom(world: World, family: int) -> None:
    client, server = pair(world, family)
    assert client.sendto(b"question", server.getsockname()) == 8
    world.settle()
    data, address = server.recvfrom(100)
    assert data == b"question"
    assert address[0] == world.client_address(family)
    assert address[1] == client.getsockname()[1]
    assert server.sendto(b"answer", 0, address) == 6
    world.settle()
    assert client.recvfrom(100) == (b"answer", server.getsockname())


def test_boundaries_are_kept_and_the_rest_is_cut(world: World) -> None:
    client, server = pair(world)
    for data in (b"one", b"", b"three", b"four", b"five!"):
        client.sendto(data, server.getsockname())
    world.settle()
    assert server.recv(100) == b"one"
    assert server.recv(100) == b""
    assert server.recv(2) == b"th"
    space = bytearray(2)
    assert server.recv_into(space, 2, socket.MSG_TRUNC) == 4
    assert space == b"fo"
    data, ancillary, flags, address = server.recvmsg(2)
    assert (data, ancillary, flags & socket.MSG_TRUNC) == (b"fi", [], socket.MSG_TRUNC)
    assert address == (world.client_address(), client.getsockname()[1])


def test_peek(world: World) -> None:
    client, server = pair(world)
    client.sendto(b"one", server.getsockname())
    client.sendto(b"two", server.getsockname())
    world.settle()
    assert server.recv(2, socket.MSG_PEEK) == b"on"
    assert server.recv(9, socket.MSG_PEEK) == b"one"
    assert server.recv(9) == b"one"
    assert server.recv(9) == b"two"


def test_connected(world: World) -> None:
    client, server = pair(world)
    assert code_of(client.getpeername) == errno.ENOTCONN
    assert code_of(client.send, b"x") == errno.EDESTADDRREQ
    client.connect(server.getsockname())
    assert client.getpeername() == server.getsockname()
    assert client.getsockname()[0] == world.client_address()
    assert client.send(b"hello") == 5
    world.settle()
    assert server.recvfrom(10) == (b"hello", client.getsockname())
    stranger = world.server_socket(kind=socket.SOCK_DGRAM)
    stranger.bind((world.address(), 0))
    stranger.sendto(b"not for you", client.getsockname())
    server.sendto(b"for you", client.getsockname())
    world.settle()
    assert client.recvfrom(20) == (b"for you", server.getsockname())
    assert code_of(client.recv, 1, socket.MSG_DONTWAIT) == errno.EAGAIN
    client.connect(stranger.getsockname())
    assert client.getpeername() == stranger.getsockname()
    client.sendto(b"elsewhere", server.getsockname())
    world.settle()
    assert server.recv(20) == b"elsewhere"


def test_port_unreachable(world: World) -> None:
    client, server = pair(world)
    where = server.getsockname()
    server.close()
    client.connect(where)
    client.send(b"x")
    world.settle()
    with pytest.raises(ConnectionRefusedError):
        client.recv(10)
    client.send(b"x")
    world.settle()
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
    client.send(b"x")
    world.settle()
    with pytest.raises(ConnectionRefusedError):
        client.send(b"x")
    unconnected = world.socket(kind=socket.SOCK_DGRAM)
    unconnected.sendto(b"x", where)
    world.settle()
    assert code_of(unconnected.recv, 1, socket.MSG_DONTWAIT) == errno.EAGAIN


def test_nothing_there(world: World) -> None:
    _, server = pair(world)
    server.setblocking(False)
    with pytest.raises(BlockingIOError):
        server.recv(10)
    server.settimeout(0.01)
    with pytest.raises(TimeoutError, match=r"^timed out$"):
        server.recvfrom(10)


def test_bind(world: World) -> None:
    client, server = pair(world)
    assert code_of(client.bind, ("192.0.2.1", 0)) == errno.EADDRNOTAVAIL
    assert code_of(server.bind, (world.address(), 0)) == errno.EINVAL
    other = world.server_socket(kind=socket.SOCK_DGRAM)
    assert code_of(other.bind, server.getsockname()) == errno.EADDRINUSE
    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    assert code_of(other.bind, server.getsockname()) == errno.EADDRINUSE
    assert client.getsockname() == ("0.0.0.0", 0)
    client.sendto(b"", server.getsockname())
    assert client.getsockname()[1]


def test_sizes(world: World) -> None:
    client, server = pair(world)
    assert client.sendto(bytes(60000), server.getsockname()) == 60000
    world.settle()
    assert server.recv(65536) == bytes(60000)
    assert code_of(client.sendto, bytes(65508), server.getsockname()) == errno.EMSGSIZE
    assert code_of(client.sendto, bytes(70000), server.getsockname()) == errno.EMSGSIZE


def test_what_a_datagram_socket_cannot_do(world: World) -> None:
    client, server = pair(world)
    assert code_of(client.listen) == errno.EOPNOTSUPP
    assert code_of(client.accept) == errno.EOPNOTSUPP
    assert code_of(client.shutdown, socket.SHUT_RD) == errno.ENOTCONN
    assert code_of(client.sendto, b"x", socket.MSG_OOB, server.getsockname()) == errno.EOPNOTSUPP
    assert code_of(client.sendto, b"x", ("255.255.255.255", 9)) == errno.EACCES
    assert code_of(client.sendto, b"x", (world.address(), 0)) == errno.EINVAL


def test_shutdown(world: World) -> None:
    client, server = pair(world)
    client.connect(server.getsockname())
    client.shutdown(socket.SHUT_WR)
    with pytest.raises(BrokenPipeError):
        client.send(b"x")
    client.shutdown(socket.SHUT_RD)
    assert client.recv(10) == b""


def test_dual_stack(world: World) -> None:
    server = world.server_socket(socket.AF_INET6, socket.SOCK_DGRAM)
    server.bind(("::", 0))
    port = server.getsockname()[1]
    client = world.socket(kind=socket.SOCK_DGRAM)
    client.sendto(b"four", (world.address(), port))
    world.settle()
    data, address = server.recvfrom(10)
    assert (data, address[0]) == (b"four", "::ffff:" + world.client_address())
    server.sendto(b"back", address)
    world.settle()
    assert client.recvfrom(10) == (b"back", (world.address(), port))


def test_more_makes_one_datagram(world: World) -> None:
    client, server = pair(world)
    client.sendto(b"one ", socket.MSG_MORE, server.getsockname())
    client.sendto(b"datagram", server.getsockname())
    world.settle()
    assert server.recv(100) == b"one datagram"


def test_sendmsg(world: World) -> None:
    client, server = pair(world)
    assert client.sendmsg([b"ab", b"cd"], [], 0, server.getsockname()) == 4
    tos = (socket.IPPROTO_IP, socket.IP_TOS, (32).to_bytes(4, "little"))
    assert client.sendmsg([b"ef"], [tos], 0, server.getsockname()) == 2
    assert client.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 0
    wrong = (socket.SOL_SOCKET, 12345, b"")
    assert code_of(client.sendmsg, [b"x"], [wrong], 0, server.getsockname()) == errno.EINVAL
    world.settle()
    spaces = [bytearray(1), bytearray(9)]
    assert server.recvmsg_into(spaces)[0] == 4
    assert spaces == [b"a", b"bcd\0\0\0\0\0\0"]
    assert server.recvfrom_into(spaces[1])[0] == 2


def test_what_recvmsg_tells_about_a_datagram(world: World) -> None:
    client, server = pair(world)
    for option in (socket.IP_RECVTOS, 12, 8):
        server.setsockopt(socket.IPPROTO_IP, option, 1)
    client.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x28)
    client.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 33)
    client.sendto(b"x", server.getsockname())
    client.sendto(b"y", server.getsockname())
    world.settle()
    _, ancillary, flags, _ = server.recvmsg(10, 1000)
    found = {(level, kind): data for level, kind, data in ancillary}
    assert flags == 0
    assert found[0, socket.IP_TOS] == b"\x28"
    assert found[0, socket.IP_TTL] == (33).to_bytes(4, "little")
    assert found[0, 8][4:] == socket.inet_aton(world.address()) * 2
    _, ancillary, flags, _ = server.recvmsg(10, socket.CMSG_SPACE(12))
    assert len(ancillary) == 1
    assert flags & socket.MSG_CTRUNC


TOLD = {
    "SO_TIMESTAMP": (1, 29),
    "SO_TIMESTAMPNS": (1, 35),
    "SO_TIMESTAMP_NEW": (1, 63),
    "SO_TIMESTAMPNS_NEW": (1, 64),
    "SO_RXQ_OVFL, nothing lost": (1, 40),
    "SO_RCVMARK": (1, 75),
    "SO_RCVPRIORITY": (1, 82),
    "IP_PKTINFO": (0, 8),
    "IP_RECVTTL": (0, 12),
    "IP_RECVTOS": (0, 13),
    "IP_RECVORIGDSTADDR": (0, 20),
    "IPV6_RECVPKTINFO": (41, 49),
    "IPV6_RECVHOPLIMIT": (41, 51),
    "IPV6_RECVTCLASS": (41, 66),
}


def told(world: World, options: list[tuple[int, int]], family: int, sender: int) -> list[tuple[int, int, int]]:
    """Level, kind and length of each control message of a datagram from a socket of the family ``sender``."""
    server = world.server_socket(family, socket.SOCK_DGRAM)
    server.bind(("" if family == socket.AF_INET else "::", 0))
    for level, option in options:
        with contextlib.suppress(OSError):  # an option of the other family
            server.setsockopt(level, option, 1)
    client = world.socket(sender, socket.SOCK_DGRAM)
    client.sendto(b"x", (world.address(sender), server.getsockname()[1]))
    world.settle()
    return [(level, kind, len(data)) for level, kind, data in server.recvmsg(10, 1000)[1]]


@pytest.mark.parametrize("option", [*TOLD, "all"])
@pytest.mark.parametrize(
    ("family", "sender"),
    [(socket.AF_INET, socket.AF_INET), (socket.AF_INET6, socket.AF_INET6), (socket.AF_INET6, socket.AF_INET)],
    ids=["4", "6", "6 from 4"],
)
def test_an_option_brings_the_kernels_control_message(option: str, family: int, sender: int) -> None:
    found = []
    for world in (KernelWorld(), World()):
        found.append(told(world, list(TOLD.values()) if option == "all" else [TOLD[option]], family, sender))
        world.close()
    assert found[1] == found[0]


def test_time_stamps(world: World) -> None:
    """One form at a time; the wall clock."""
    client, server = pair(world)
    server.setsockopt(socket.SOL_SOCKET, 29, 1)
    server.setsockopt(socket.SOL_SOCKET, 35, 1)
    assert [server.getsockopt(socket.SOL_SOCKET, option) for option in (29, 35, 63, 64)] == [0, 1, 0, 0]
    before = time.time_ns()
    client.sendto(b"x", server.getsockname())
    world.settle()
    ((level, kind, data),) = server.recvmsg(10, 100)[1]
    assert (level, kind) == (socket.SOL_SOCKET, 35)
    seconds, rest = struct.unpack("=qq", data)
    assert before - 10_000_000 <= seconds * 1_000_000_000 + rest <= time.time_ns()
    server.setsockopt(socket.SOL_SOCKET, 29, 0)
    assert server.getsockopt(socket.SOL_SOCKET, 35) == 0


def test_time_stamps_of_a_stream(world: World) -> None:
    client, server = world.pair_of_streams()
    server.setsockopt(socket.SOL_SOCKET, 29, 1)
    until = time.monotonic() + 10
    while True:
        client.send(b"x")
        world.settle()
        data, stamps, _, _ = server.recvmsg(10, 100)
        # Linux leaves the first wish for stamps to a worker (net_enable_timestamp): on a busy machine, later.
        if stamps or not world.is_kernel or time.monotonic() > until:
            break
    ((level, kind, stamp),) = stamps
    assert (data, level, kind) == (b"x", socket.SOL_SOCKET, 29)
    assert struct.unpack("=qq", stamp)[0] in range(int(time.time()) - 60, int(time.time()) + 1)
    client.close()
    world.settle()
    assert server.recvmsg(10, 100)[:2] == (b"", [])


def test_what_was_lost_for_want_of_room(world: World) -> None:
    """SO_RXQ_OVFL tells how many until the datagram came."""
    client, server = pair(world)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    server.setsockopt(socket.SOL_SOCKET, 40, 1)
    for _ in range(50):
        client.sendto(bytes(500), server.getsockname())
    world.settle()
    server.setblocking(False)
    taken = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            assert server.recvmsg(1000, 100)[1] == []
            taken += 1
    assert taken
    client.sendto(b"late", server.getsockname())
    world.settle()
    ((_, kind, data),) = server.recvmsg(1000, 100)[1]
    assert (kind, int.from_bytes(data, "little")) == (40, 50 - taken)


def test_what_recvmsg_tells_over_ipv6(world: World) -> None:
    client, server = pair(world, socket.AF_INET6)
    for option in (socket.IPV6_RECVTCLASS, socket.IPV6_RECVHOPLIMIT, socket.IPV6_RECVPKTINFO):
        server.setsockopt(socket.IPPROTO_IPV6, option, 1)
    client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, 0x28)
    client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 33)
    client.sendto(b"x", server.getsockname())
    world.settle()
    found = {kind: data for _, kind, data in server.recvmsg(10, 1000)[1]}
    assert found[socket.IPV6_TCLASS] == (0x28).to_bytes(4, "little")
    assert found[socket.IPV6_HOPLIMIT] == (33).to_bytes(4, "little")
    assert found[socket.IPV6_PKTINFO][:16] == socket.inet_pton(socket.AF_INET6, world.address(socket.AF_INET6))


UDP_CORK, UDP_SEGMENT = 1, 103


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_cork(world: World, family: int) -> None:
    server = world.server_socket(family, socket.SOCK_DGRAM)
    server.bind((world.address(family), 0))
    client = world.socket(family, socket.SOCK_DGRAM)
    client.setsockopt(socket.IPPROTO_UDP, UDP_CORK, 1)
    client.sendto(b"one ", server.getsockname())
    client.sendto(b"datagram", ("127.0.0.1" if family == socket.AF_INET else "::1", 9))  # the first call's peer counts
    world.settle()
    server.setblocking(False)
    with pytest.raises(BlockingIOError):
        server.recv(100)
    client.setsockopt(socket.IPPROTO_UDP, UDP_CORK, 0)
    world.settle()
    assert server.recv(100) == b"one datagram"
    client.sendto(b"at once", server.getsockname())
    world.settle()
    assert server.recv(100) == b"at once"


def test_segment(world: World) -> None:
    server = world.server_socket(kind=socket.SOCK_DGRAM)
    server.bind((world.address(), 0))
    server.setblocking(False)
    client = world.socket(kind=socket.SOCK_DGRAM)
    client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 4)
    client.sendto(b"aaaabbbbcc", server.getsockname())
    world.settle()
    assert [server.recv(100) for _ in range(3)] == [b"aaaa", b"bbbb", b"cc"]
    with pytest.raises(OSError, match="Invalid argument"):
        client.sendto(bytes(4 * 128 + 1), server.getsockname())
    client.sendto(bytes(4 * 128), server.getsockname())
    world.settle()
    for _ in range(128):
        assert server.recv(100) == bytes(4)
    client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 0)
    client.sendto(b"aaaabbbb", server.getsockname())
    world.settle()
    assert server.recv(100) == b"aaaabbbb"
