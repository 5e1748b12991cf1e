"""What poll(), select() and epoll show after each step of a story: kernel and ustack must agree.

``fileno()`` is a stand-in that cannot show POLLERR, and shows the POLLHUP of a socket that never was connected as
POLLIN (see ``ustack/socket/readiness.py``); ``Socket.poll()`` tells the mask itself, and that must be the kernel's.
"""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
from typing import Any

import pytest

from tests.socket.socket_world import KernelWorld, World

V4, STREAM, DGRAM = socket.AF_INET, socket.SOCK_STREAM, socket.SOCK_DGRAM
IN, OUT, ERR, HUP, RDHUP, PRI = (
    select.POLLIN, select.POLLOUT, select.POLLERR, select.POLLHUP, select.POLLRDHUP, select.POLLPRI,
)  # fmt: skip
NAMES = {IN: "IN", OUT: "OUT", ERR: "ERR", HUP: "HUP", RDHUP: "RDHUP", PRI: "PRI"}
LINGER_0 = b"\1" + bytes(7)


def shown(mask: int) -> str:
    return "|".join(name for bit, name in NAMES.items() if mask & bit)


def mask_of(world: World, found: Any) -> int:
    """poll(2)'s own mask."""
    if not world.is_kernel:
        return int(found.poll())
    poll = select.poll()
    poll.register(found, IN | OUT | RDHUP | PRI)
    events = poll.poll(0)
    return events[0][1] if events else 0


def watched(found: Any) -> int:
    """What the descriptor shows, without what it cannot show."""
    poll = select.poll()
    poll.register(found.fileno(), IN | OUT | RDHUP | PRI)
    events = poll.poll(0)
    mask = events[0][1] if events else 0
    if mask & (ERR | HUP):
        mask |= IN | OUT  # select() shows them so
    return int(mask) & (IN | OUT | RDHUP)


def masks(world: World, found: Any) -> tuple[str, str]:
    mask, seen = mask_of(world, found), watched(found)
    if mask & PRI and not mask & HUP:
        seen &= ~IN
    if mask & RDHUP and mask & HUP:
        mask &= ~PRI
    return shown(mask), shown(seen)


STEPS = {
    "peer sends": lambda peer, found: peer.send(b"text"),
    "peer sends urgent": lambda peer, found: peer.send(b"!", socket.MSG_OOB),
    "peer shuts": lambda peer, found: peer.shutdown(socket.SHUT_WR),
    "peer closes": lambda peer, found: peer.close(),
    "peer resets": lambda peer, found: (peer.setsockopt(1, socket.SO_LINGER, LINGER_0), peer.close()),
    "reads": lambda peer, found: found.recv(100),
    "reads urgent": lambda peer, found: found.recv(1, socket.MSG_OOB),
    "sends": lambda peer, found: found.send(b"x"),
    "shuts reading": lambda peer, found: found.shutdown(socket.SHUT_RD),
    "shuts writing": lambda peer, found: found.shutdown(socket.SHUT_WR),
    "shuts both": lambda peer, found: found.shutdown(socket.SHUT_RDWR),
    "takes error": lambda peer, found: found.getsockopt(1, socket.SO_ERROR),
    "raises lowat": lambda peer, found: found.setsockopt(1, socket.SO_RCVLOWAT, 5),
}


def story(world: World, steps: tuple[str, ...]) -> list[tuple[str, str]]:
    """Each step's masks. Two things are left out: that the descriptor shows urgent data as readable, too, and whether
    an urgent byte that a closed connection refuses is announced."""
    found, peer = world.pair_of_streams()
    for each in (found, peer):
        each.setblocking(False)
    told = [masks(world, found)]
    for step in steps:
        with contextlib.suppress(OSError):
            STEPS[step](peer, found)
        world.settle()
        told.append(masks(world, found))
    for opened in (found, peer, *world.opened):
        opened.close()
    world.opened.clear()
    return told


@pytest.mark.parametrize("first", STEPS)
def test_stories(first: str) -> None:
    """Every order of three steps."""
    kernel, ustack = KernelWorld(), World()
    wrong = []
    for rest in itertools.product(STEPS, repeat=2):
        steps = (first, *rest)
        expected, found = story(kernel, steps), story(ustack, steps)
        if found != expected:
            wrong.append(f"{steps}\n    kernel {expected}\n    ustack {found}")
    assert not wrong, f"{len(wrong)} stories differ\n" + "\n".join(wrong)
    kernel.close()
    ustack.close()


def fresh_tcp(world: World) -> Any:
    return world.socket(V4, STREAM)


def bound_tcp(world: World) -> Any:
    found = world.socket(V4, STREAM)
    found.bind((world.client_address(), 0))
    return found


def shut_fresh(world: World) -> Any:
    found = world.socket(V4, STREAM)
    with contextlib.suppress(OSError):
        found.shutdown(socket.SHUT_RD)
    return found


def shut_listener(world: World) -> Any:
    found = world.listener()
    found.shutdown(socket.SHUT_RD)
    return found


def full_listener(world: World) -> Any:
    found = world.listener()
    world.socket().connect(found.getsockname())
    world.settle()
    return found


def refused(world: World) -> Any:
    found = world.socket(V4, STREAM)
    found.setblocking(False)
    unused = world.server_socket()
    unused.bind((world.address(), 0))
    found.connect_ex(unused.getsockname())
    world.settle()
    return found


def refused_and_told(world: World) -> Any:
    found = refused(world)
    found.getsockopt(1, socket.SO_ERROR)
    return found


def refused_and_connect_again(world: World) -> Any:
    found = refused(world)
    with contextlib.suppress(OSError):
        found.connect((world.address(), 9))
    return found


def fresh_udp(world: World) -> Any:
    return world.socket(V4, DGRAM)


def connected_to_nobody(world: World) -> Any:
    found = world.socket(V4, DGRAM)
    closed = world.server_socket(V4, DGRAM)
    closed.bind((world.address(), 0))
    found.connect(closed.getsockname())
    closed.close()
    found.send(b"x")
    world.settle()
    return found


def shut_udp(how: int) -> Any:
    def build(world: World) -> Any:
        server = world.server_socket(V4, DGRAM)
        server.bind((world.address(), 0))
        found = world.socket(V4, DGRAM)
        found.connect(server.getsockname())
        found.shutdown(how)
        return found

    return build


STATES = {
    "fresh tcp": fresh_tcp,
    "bound tcp": bound_tcp,
    "fresh tcp, shut": shut_fresh,
    "listening": lambda world: world.listener(),
    "listening, one waits": full_listener,
    "listening, shut": shut_listener,
    "refused": refused,
    "refused, error taken": refused_and_told,
    "fresh udp": fresh_udp,
    "udp, refused": connected_to_nobody,
    "udp, shut for reading": shut_udp(socket.SHUT_RD),
    "udp, shut for writing": shut_udp(socket.SHUT_WR),
    "udp, shut": shut_udp(socket.SHUT_RDWR),
}


@pytest.mark.parametrize("state", STATES)
def test_states(state: str) -> None:
    found = []
    for world in (KernelWorld(), World()):
        found.append(shown(mask_of(world, STATES[state](world))))
        world.close()
    assert found[1] == found[0]
