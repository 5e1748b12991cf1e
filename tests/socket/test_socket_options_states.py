"""setsockopt and getsockopt in every state of a socket, every number of every level: kernel and ustack must agree."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.socket.socket_world import DGRAM, STREAM, V4, V6, World, answer
from tests.socket.test_socket_mistakes import at_eof, bound, connected, connected_udp, fresh, shut, was_reset

OTHERWISE: dict[tuple[str, int, int], str] = {
    ("accepted", 0, 33): "Linux lets the TTL of the SYN be the TTL of multicasts, which a stream has not",
    ("at eof", 6, 12): "whether an even value leaves the mode depends on an ACK being scheduled at this moment",
}
LEVELS = {1: range(90), 6: range(50), 0: range(60), 41: range(85), 17: range(110), 255: range(3), 2: range(3)}
MOMENTARY = {(6, 2), (6, 10), (6, 11), (6, 13), (6, 24), (6, 26), (6, 29), (6, 33), (0, 14), (0, 52), (41, 24)}
MOMENTARY |= {(1, 7), (1, 8), (1, 28), (1, 49), (1, 55), (1, 57)}
READS_THE_BUFFER = (6, 35, 64)
"""TCP_ZEROCOPY_RECEIVE reads a record from the buffer, which Python leaves unset: the answer depends on old memory."""
VALUES = [-1, 0, 1, 2, 1000]

_FILTERS = "there is no BPF here"
_STAMPS = "no time stamps of arrival or departure"
_GROUPS = "multicast groups cannot be joined"
_HEADERS = "no IP options, extension headers or their control messages; IPsec and encapsulation are not built"
NOT_BUILT: dict[tuple[int, int], str] = {
    **dict.fromkeys([(1, 26), (1, 48), (1, 50), (1, 51), (1, 52)], _FILTERS),
    **dict.fromkeys([(1, 37), (1, 61), (1, 65)], _STAMPS),
    (1, 42): "SO_PEEK_OFF",
    (1, 62): "SO_BINDTOIFINDEX: a Host has one interface",
    (1, 71): "SO_NETNS_COOKIE: there are no namespaces",
    (1, 73): "SO_RESERVE_MEM: the kernel's answer depends on its control groups",
    (1, 80): "SO_DEVMEM_DONTNEED: no device memory",
    (6, 19): "TCP_REPAIR",
    **dict.fromkeys([(6, number) for number in range(38, 43)], "TCP-AO"),
    **dict.fromkeys([(0, number) for number in (4, 5, 9, 16, 17, 25)], _HEADERS),
    **dict.fromkeys([(0, number) for number in (32, *range(35, 49), 50)], _GROUPS),
    **dict.fromkeys(
        [(41, number) for number in (*range(1, 12), *range(30, 36), 50, 61, 62, 64, 65, *range(53, 61))], _HEADERS
    ),
    **dict.fromkeys([(41, number) for number in (68, 69, 72, 74, 76, 77, 80)], _HEADERS),
    **dict.fromkeys([(41, number) for number in (17, 20, 21, 27, 28, *range(42, 49))], _GROUPS),
    (17, 100): "UDP_ENCAP",
    (17, 101): "UDP_NO_CHECK6_TX",
    (17, 102): "UDP_NO_CHECK6_RX",
    (17, 104): "UDP_GRO",
}
"""Refused by ustack (ENOPROTOOPT or EPERM), though Linux has them."""


def connected6(world: World) -> Any:
    return world.pair_of_streams(V6)[0]


def accepted(world: World) -> Any:
    return world.pair_of_streams()[1]


STATES: dict[str, Callable[[World], Any]] = {
    "tcp4": fresh(V4, STREAM),
    "tcp6": fresh(V6, STREAM),
    "udp4": fresh(V4, DGRAM),
    "udp6": fresh(V6, DGRAM),
    "tcp4 bound": bound(V4, STREAM),
    "tcp6 bound": bound(V6, STREAM),
    "udp4 bound": bound(V4, DGRAM),
    "udp6 bound": bound(V6, DGRAM),
    "listening": lambda world: world.listener(),
    "listening6": lambda world: world.listener(V6),
    "connected": connected,
    "connected6": connected6,
    "accepted": accepted,
    "at eof": at_eof,
    "reset": was_reset,
    "shut down": shut(socket.SHUT_RDWR),
    "udp4 connected": connected_udp,
}


def is_told(level: int, number: int) -> bool:
    """A value of the moment."""
    return (level, number) in MOMENTARY


def questions(world: World, state: str, level: int, number: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    subject = STATES[state](world)
    found["get"] = answer(subject.getsockopt, level, number)
    for length in (1, 3, 4, 8, 64):
        if (level, number, length) == READS_THE_BUFFER:
            continue
        found[f"get {length}"] = answer(subject.getsockopt, level, number, length)
    if is_told(level, number):
        found = {key: value if isinstance(value, str) else "told" for key, value in found.items()}
    for value in VALUES:
        found[f"set {value}"] = answer(subject.setsockopt, level, number, value)
        if not is_told(level, number):
            found[f"after {value}"] = answer(subject.getsockopt, level, number)
    for length in (0, 1, 2, 3, 5, 8, 12, 16):
        found[f"set {length} bytes"] = answer(subject.setsockopt, level, number, (b"\1" + bytes(63))[:length])
    for length in (0, 1, 4, 8, 16):
        found[f"set None {length}"] = answer(subject.setsockopt, level, number, None, length)
    for opened in [subject, *world.opened]:
        opened.close()
    world.opened.clear()
    return found


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("state", STATES)
def test_every_option_in_every_state(both: Any, state: str, level: int) -> None:
    kernel, ustack = both
    wrong = []
    for number in LEVELS[level]:
        if (level, number) in NOT_BUILT or (state, level, number) in OTHERWISE:
            continue
        expected = questions(kernel, state, level, number)
        found = questions(ustack, state, level, number)
        differences = {key: (expected[key], found[key]) for key in expected if expected[key] != found[key]}
        if differences:
            wrong.append(f"{state}: option {number} of level {level}: {differences}")
    assert not wrong, "\n".join(wrong)
