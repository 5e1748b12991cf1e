"""setsockopt and getsockopt: kernel and ustack must give the same answers to the same questions."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any

import pytest

from tests.socket.socket_world import World, answer
from ustack.socket.tcpinfo import LAYOUT, unpack_tcp_info

INT_MAX = 2**31 - 1
INT_MIN = -(2**31)
KINDS = {
    "tcp4": (socket.AF_INET, socket.SOCK_STREAM),
    "tcp6": (socket.AF_INET6, socket.SOCK_STREAM),
    "udp4": (socket.AF_INET, socket.SOCK_DGRAM),
    "udp6": (socket.AF_INET6, socket.SOCK_DGRAM),
}
VALUES = [INT_MIN, -2, -1, 0, 1, 2, 3, 5, 7, 16, 63, 64, 87, 88, 127, 128, 200, 255, 256, 1000, 1151, 1152, 4096]
VALUES += [32767, 32768, 65535, 65536, 120000, 200000, 1000000, INT_MAX]
LENGTHS = [0, 1, 2, 3, 4, 8, 16, 32, 64]

SOCKET = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 21, 28, 29, 30, 32, 33, 34, 35, 36]
SOCKET += [38, 39, 40, 41, 43, 44, 45, 46, 47, 49, 56, 60, 63, 64, 69, 72, 75, 76, 82, 999]
TCP = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 16, 17, 18, 23, 25, 27, 28, 30, 31, 33, 34, 36, 37, 43, 999]
IP = [1, 2, 6, 7, 8, 10, 11, 12, 13, 14, 15, 18, 19, 20, 23, 24, 26, 34, 49, 999]
IPV6 = [16, 19, 23, 25, 26, 29, 49, 51, 66, 67, 70, 73, 75, 78, 999]
ALL = [
    (level, number) for level, numbers in ((1, SOCKET), (6, TCP), (0, IP), (41, IPV6), (255, [1])) for number in numbers
]


def questions(world: World, kind: str, level: int, number: int) -> dict[str, Any]:
    """Everything that may be asked of one option, and the answers."""
    found: dict[str, Any] = {}
    with world.socket(*KINDS[kind]) as fresh:
        found["default"] = answer(fresh.getsockopt, level, number)
        for length in (1, 2, 3, 4, 8, 16, 1000):
            found[f"default in {length}"] = answer(fresh.getsockopt, level, number, length)
    for value in VALUES:
        with world.socket(*KINDS[kind]) as fresh:
            found[f"set {value}"] = answer(fresh.setsockopt, level, number, value)
            found[f"after {value}"] = answer(fresh.getsockopt, level, number)
    for length in LENGTHS:
        with world.socket(*KINDS[kind]) as fresh:
            data = (b"\1" + bytes(63))[:length]
            found[f"set {length} bytes"] = answer(fresh.setsockopt, level, number, data)
            found[f"after {length} bytes"] = answer(fresh.getsockopt, level, number)
    with world.socket(*KINDS[kind]) as fresh:
        found["set None"] = answer(fresh.setsockopt, level, number, None, 4)
    return found


TCP_INFO = (6, 11)  # of a closed TCP socket it is compared field by field below
ASKED = [
    (level, number, kind) for level, number in ALL for kind in KINDS if (level, number) != TCP_INFO or "udp" in kind
]


@pytest.mark.parametrize(("level", "number", "kind"), ASKED)
def test_option_answers_as_linux_does(both: Any, kind: str, level: int, number: int) -> None:
    kernel, ustack = both
    assert questions(ustack, kind, level, number) == questions(kernel, kind, level, number)


def test_linger(world: World) -> None:
    fresh = world.socket()
    fresh.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 7))
    assert struct.unpack("ii", fresh.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)) == (1, 7)
    fresh.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 3))
    assert struct.unpack("ii", fresh.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)) == (0, 7)


def test_timeouts_are_timevals(world: World) -> None:
    fresh = world.socket()
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        fresh.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", 1, 500_000))
        assert struct.unpack("ll", fresh.getsockopt(socket.SOL_SOCKET, option, 16)) == (1, 500_000)
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is the match
            fresh.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", 1, 1_000_000))
        assert caught.value.errno == errno.EDOM
        fresh.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", -1, 0))
        assert struct.unpack("ll", fresh.getsockopt(socket.SOL_SOCKET, option, 16)) == (0, 0)


def test_congestion_is_a_name(world: World) -> None:
    fresh = world.socket()
    for name in (b"reno", b"cubic"):
        fresh.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name)
        assert fresh.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0") == name
    with pytest.raises(FileNotFoundError):
        fresh.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"no-such-control")


def test_max_pacing_rate_has_two_widths(world: World) -> None:
    fresh = world.socket()
    fresh.setsockopt(socket.SOL_SOCKET, 47, struct.pack("Q", 1 << 40))
    assert struct.unpack("Q", fresh.getsockopt(socket.SOL_SOCKET, 47, 8)) == (1 << 40,)
    assert struct.unpack("I", fresh.getsockopt(socket.SOL_SOCKET, 47, 4)) == (0xFFFFFFFF,)
    fresh.setsockopt(socket.SOL_SOCKET, 47, struct.pack("I", 123456))
    assert struct.unpack("Q", fresh.getsockopt(socket.SOL_SOCKET, 47, 8)) == (123456,)


def test_two_flags_and_their_conflict_with_a_bound_socket(world: World) -> None:
    fresh = world.socket(socket.AF_INET6)
    fresh.bind((world.client_address(socket.AF_INET6), 0))
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is the match
        fresh.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    assert caught.value.errno == errno.EINVAL


def test_arguments_are_checked_as_the_standard_library_does(world: World) -> None:
    fresh = world.socket()
    with pytest.raises(OSError, match="buflen out of range"):
        fresh.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1025)
    with pytest.raises(OSError, match="buflen out of range"):
        fresh.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, -1)
    with pytest.raises(TypeError):
        fresh.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, "1")
    with pytest.raises(TypeError):
        fresh.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, None)
    with pytest.raises(TypeError):
        fresh.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1, 4)
    fresh.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
    assert fresh.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 1


def test_an_accepted_socket_inherits(world: World) -> None:
    listener = world.server_socket()
    listener.bind((world.address(), 0))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 77)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 5000)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 7))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 50000)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 9, 0))
    listener.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 33)
    listener.listen()
    client = world.socket()
    client.connect(listener.getsockname())
    child = world.keep(listener.accept()[0])
    assert child.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    assert child.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert child.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 77
    assert child.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 5000
    assert child.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0") == b"reno"
    assert struct.unpack("ii", child.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)) == (1, 7)
    assert child.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 100000
    assert struct.unpack("ll", child.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16)) == (9, 0)
    assert child.getsockopt(socket.IPPROTO_IP, socket.IP_TTL) == 33
    assert child.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 0
    assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1


def test_options_of_a_live_connection(world: World) -> None:
    client, server = world.pair_of_streams()
    for option, value in ((socket.TCP_NODELAY, 1), (socket.TCP_CORK, 1), (socket.TCP_KEEPIDLE, 5)):
        client.setsockopt(socket.IPPROTO_TCP, option, value)
        assert client.getsockopt(socket.IPPROTO_TCP, option) == value
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
    assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0") == b"reno"
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is the match
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, 0)
    assert caught.value.errno == errno.EINVAL
    assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) > 536
    assert client.getsockopt(socket.IPPROTO_IP, 14) == (65535 if world.is_kernel else 1500)
    client.sendall(b"x")
    assert server.recv(10) == b"x"


def test_tcp_info_is_the_kernels_struct(world: World) -> None:
    closed = world.socket()
    data = closed.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1000)
    assert len(data) == LAYOUT.size == 280
    info = unpack_tcp_info(data)
    assert (info["state"], info["rto"], info["snd_cwnd"], info["reordering"]) == (7, 1_000_000, 10, 3)
    client, server = world.pair_of_streams()
    client.sendall(b"x" * 1000)
    assert server.recv(2000) == b"x" * 1000
    world.settle()
    info = unpack_tcp_info(client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1000))
    assert info["state"] == 1
    assert info["bytes_sent"] == 1000
    assert info["data_segs_out"] == 1
    assert info["options"] & 7 == 7
    info = unpack_tcp_info(server.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1000))
    assert info["bytes_received"] == 1000
    assert len(client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 100)) == 100


def test_error_is_told_once(world: World) -> None:
    client = world.socket()
    client.setblocking(False)
    unused = world.server_socket()
    unused.bind((world.address(), 0))
    code = client.connect_ex(unused.getsockname())
    assert code in (errno.EINPROGRESS, errno.ECONNREFUSED)
    world.settle()
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
