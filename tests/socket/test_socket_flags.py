"""The MSG_* flags of send and recv, each alone and in pairs, in every state: kernel and ustack must agree."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.socket.socket_world import KernelWorld, World
from tests.socket.test_socket_mistakes import (
    DGRAM,
    STREAM,
    V4,
    at_eof,
    bound,
    connected,
    connected_udp,
    fresh,
    outcome,
    shut,
    was_reset,
    with_text,
)

MSG_ERRQUEUE, MSG_EOR, MSG_CMSG_CLOEXEC, MSG_BATCH, MSG_CONFIRM = 0x2000, 0x80, 0x40000000, 0x40000, 0x800
FLAGS = {
    "none": 0,
    "OOB": socket.MSG_OOB,
    "PEEK": socket.MSG_PEEK,
    "DONTROUTE": socket.MSG_DONTROUTE,
    "CTRUNC": socket.MSG_CTRUNC,
    "TRUNC": socket.MSG_TRUNC,
    "DONTWAIT": socket.MSG_DONTWAIT,
    "EOR": MSG_EOR,
    "WAITALL": socket.MSG_WAITALL,
    "CONFIRM": MSG_CONFIRM,
    "ERRQUEUE": MSG_ERRQUEUE,
    "NOSIGNAL": socket.MSG_NOSIGNAL,
    "MORE": socket.MSG_MORE,
    "BATCH": MSG_BATCH,
    "CLOEXEC": MSG_CMSG_CLOEXEC,
    "unknown": 0x200,
}


def with_urgent(world: World) -> Any:
    client, server = world.pair_of_streams()
    server.send(b"ab")
    server.send(b"c!", socket.MSG_OOB)
    server.send(b"de")
    world.settle()
    return client


def with_urgent_first(world: World) -> Any:
    client, server = world.pair_of_streams()
    server.send(b"!", socket.MSG_OOB)
    world.settle()
    return client


def with_urgent_inline(world: World) -> Any:
    client, server = world.pair_of_streams()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    server.send(b"c!", socket.MSG_OOB)
    world.settle()
    return client


def text_then_end(world: World) -> Any:
    client, server = world.pair_of_streams()
    server.sendall(b"last words")
    server.close()
    world.settle()
    return client


def with_datagrams(world: World) -> Any:
    server = world.server_socket(V4, DGRAM)
    server.bind((world.address(), 0))
    client = world.socket(V4, DGRAM)
    for data in (b"first datagram", b"", b"third"):
        client.sendto(data, server.getsockname())
    world.settle()
    return server


def refused_datagram(world: World) -> Any:
    client = world.socket(V4, DGRAM)
    closed = world.server_socket(V4, DGRAM)
    closed.bind((world.address(), 0))
    client.connect(closed.getsockname())
    closed.close()
    if not world.is_kernel:
        world.network.pass_time(1)  # its ICMP errors are limited in rate; those of a loop-back are not
    client.send(b"to nobody")
    world.settle()
    return client


STATES: dict[str, Callable[[World], Any]] = {
    "tcp4": fresh(V4, STREAM),
    "udp4": fresh(V4, DGRAM),
    "tcp4 bound": bound(V4, STREAM),
    "udp4 bound": bound(V4, DGRAM),
    "listening": lambda world: world.listener(),
    "connected": connected,
    "with text": with_text,
    "text then end": text_then_end,
    "with urgent": with_urgent,
    "with urgent first": with_urgent_first,
    "with urgent inline": with_urgent_inline,
    "at eof": at_eof,
    "reset": was_reset,
    "shut for reading": shut(socket.SHUT_RD),
    "shut for writing": shut(socket.SHUT_WR),
    "shut down": shut(socket.SHUT_RDWR),
    "udp4 connected": connected_udp,
    "with datagrams": with_datagrams,
    "refused datagram": refused_datagram,
}
CALLS = (
    "s.recv(4, flags)",
    "s.recv(100, flags)",
    "(s.recv(3, flags), s.recv(100, DONTWAIT))",
    "s.recv_into(bytearray(4), 4, flags)",
    "s.recvfrom(4, flags)[0]",
    "s.recvmsg(4, 100, flags)[:3]",
    "s.recvmsg_into([bytearray(2), bytearray(3)], 100, flags)[:3]",
    "s.send(b'x', flags)",
    "s.send(b'', flags)",
    "s.sendmsg([b'a', b'b'], [], flags)",
    "s.sendall(b'xyz', flags)",
)


def told(world: World, state: str, call: str, flags: int) -> Any:
    found = STATES[state](world)
    found.settimeout(0)
    try:
        return outcome(call, {"s": found, "flags": flags, "DONTWAIT": socket.MSG_DONTWAIT})
    finally:
        for opened in [found, *world.opened]:
            opened.close()
        world.opened.clear()


def is_same(flags: int, expected: Any, found: Any) -> bool:
    """With MSG_TRUNC the kernel writes nothing: the standard library shows what was in its memory before, also beyond
    the buffer when a datagram is longer."""
    if flags & socket.MSG_TRUNC and expected[0] == found[0] == "returned":
        return bool(measured(expected[1]) == measured(found[1]))
    return bool(expected == found)


def measured(value: Any) -> Any:
    if isinstance(value, list):
        return [measured(value[0]), *value[1:]]
    return min(len(value), 3) if isinstance(value, bytes) else value


@pytest.mark.parametrize("state", STATES)
def test_flags(state: str) -> None:
    kernel, ustack = KernelWorld(), World()
    wrong = []
    singles = list(FLAGS.items())
    pairs = [
        (f"{one}|{other}", FLAGS[one] | FLAGS[other])
        for one, other in itertools.combinations(("OOB", "PEEK", "TRUNC", "WAITALL", "ERRQUEUE", "MORE", "EOR"), 2)
    ]
    for name, flags in singles + pairs:
        for call in CALLS:
            expected = told(kernel, state, call, flags)
            found = told(ustack, state, call, flags)
            if not is_same(flags, expected, found):
                wrong.append(f"{name}: {call}\n    kernel {expected}\n    ustack {found}")
    assert not wrong, f"{len(wrong)} rows of {state!r} differ\n" + "\n".join(wrong)
    kernel.close()
    ustack.close()


def test_a_call_that_waits_stops_at_the_urgent_mark(world: World) -> None:
    for flags in (socket.MSG_PEEK | socket.MSG_WAITALL, socket.MSG_WAITALL):
        found = with_urgent(world)
        assert found.recv(100, flags) == b"abc"


def test_a_peek_passes_over_the_urgent_byte_and_waits_for_more(world: World) -> None:
    found = with_urgent_first(world)
    found.settimeout(0.01)
    with pytest.raises(TimeoutError):
        found.recv(10, socket.MSG_PEEK)
    found.settimeout(0)
    assert found.recv(1, socket.MSG_OOB) == b"!"
