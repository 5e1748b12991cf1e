"""What holds descriptors, and gives them back: hosts that are closed, forgotten or forked."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import socket
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import ustack
from tests.socket.socket_live import PATIENCE, LiveWorld
from ustack.device.memory import MemoryPair

ELSEWHERE = "this stack belongs to the process that opened it; a child of fork() cannot use it: open one here"


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


@contextlib.contextmanager
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def guards() -> int:
    """Threads of stacks."""
    return sum(thread.name.startswith("ustack") for thread in threading.enumerate())


def test_close_gives_every_descriptor_back_at_once() -> None:
    with no_collector():
        before = descriptors()
        world = LiveWorld()
        client, server = world.pair_of_streams()
        twin = client.dup()
        datagrams = world.client.socket(socket.AF_INET, socket.SOCK_DGRAM)
        detached = world.client.socket().detach()
        for found in (client, server, twin, datagrams):
            found.settimeout(PATIENCE)
            assert found.fileno() >= 0
        assert detached >= 0
        client.sendall(b"x")
        assert server.recv(1) == b"x"
        world.client.close()
        world.server.close()
        world.pair.close()
        assert descriptors() == before
        other = os.dup(0)  # the number of a descriptor that was given back is somebody else's now
        for found in (client, server, twin, datagrams):
            assert found.fileno() == -1
            found.close()
        os.fstat(other)
        os.close(other)
        assert guards() == 0


def test_many_hosts_leave_nothing_behind() -> None:
    with no_collector():
        before = descriptors()
        for _ in range(50):
            pair = MemoryPair()
            with ustack.open_device(pair.left, "10.0.0.1/24") as host, host.create_server(("10.0.0.1", 0)) as server:
                host.create_connection(server.getsockname()).close()
            pair.close()
        assert descriptors() == before


def test_a_forgotten_host_warns_and_frees_its_device() -> None:
    pair = MemoryPair()
    before = descriptors()
    host = ustack.open_device(pair.left, "10.0.0.1/24")
    host.create_server(("10.0.0.1", 0)).close()
    threads = guards()
    with pytest.warns(ResourceWarning, match=r"unclosed <ustack.Host device='' sockets=0>"):
        del host
    assert guards() < threads
    assert len(descriptors()) < len(before)  # the pair's end is the host's to close, and the guard's are gone too
    pair.close()


def test_a_host_lives_as_long_as_a_socket_of_it() -> None:
    pair = MemoryPair()
    host = ustack.open_device(pair.left, "10.0.0.1/24")
    server = host.create_server(("10.0.0.1", 0))
    client = host.create_connection(server.getsockname(), timeout=PATIENCE)
    del host
    accepted, _ = server.accept()
    twin = accepted.dup()
    server.close()
    accepted.close()
    del server, accepted
    gc.collect()
    client.sendall(b"still here")
    twin.settimeout(PATIENCE)
    assert twin.recv(100) == b"still here"
    client.close()
    twin.close()
    with pytest.warns(ResourceWarning, match="unclosed <ustack.Host"):
        del client, twin
    pair.close()


def test_a_forgotten_host_with_forgotten_sockets() -> None:
    pair = MemoryPair()
    host = ustack.open_device(pair.left, "10.0.0.1/24")
    server = host.create_server(("10.0.0.1", 0))
    server.fileno()
    assert guards() == 1
    with warnings.catch_warnings():  # a recorded warning would keep its socket
        warnings.simplefilter("ignore")
        del host, server
    gc.collect()
    assert guards() == 0
    pair.close()


CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "recv": lambda host, found: found.recv(1),
    "recv_into": lambda host, found: found.recv_into(bytearray(1)),
    "recvfrom": lambda host, found: found.recvfrom(1),
    "recvmsg": lambda host, found: found.recvmsg(1),
    "send": lambda host, found: found.send(b"x"),
    "sendall": lambda host, found: found.sendall(b"x"),
    "sendto": lambda host, found: found.sendto(b"x", ("10.0.0.1", 9)),
    "sendmsg": lambda host, found: found.sendmsg([b"x"]),
    "connect": lambda host, found: found.connect(("10.0.0.1", 9)),
    "connect_ex": lambda host, found: found.connect_ex(("10.0.0.1", 9)),
    "bind": lambda host, found: found.bind(("", 0)),
    "listen": lambda host, found: found.listen(),
    "accept": lambda host, found: found.accept(),
    "shutdown": lambda host, found: found.shutdown(2),
    "getsockname": lambda host, found: found.getsockname(),
    "getpeername": lambda host, found: found.getpeername(),
    "getsockopt": lambda host, found: found.getsockopt(1, 2),
    "setsockopt": lambda host, found: found.setsockopt(1, 2, 1),
    "settimeout": lambda host, found: found.settimeout(1),
    "setblocking": lambda host, found: found.setblocking(True),
    "dup": lambda host, found: found.dup(),
    "read": lambda host, found: found.makefile("rb").read(1),
    "socket": lambda host, found: host.socket(),
    "create_connection": lambda host, found: host.create_connection(("10.0.0.1", 9)),
    "create_server": lambda host, found: host.create_server(("10.0.0.1", 0)),
}


def told_by_child(host: Any, found: Any, twin: Any) -> str:
    for name, call in CALLS.items():
        try:
            call(host, found)
        except OSError as error:
            if (error.errno, error.strerror) != (errno.ENETDOWN, ELSEWHERE):
                return f"{name}: {error}"
        else:
            return f"{name} did something"
    if found.fileno() != -1 or "fd=-1" not in repr(found):
        return f"{found!r}"
    twin.close()
    found.close()
    del found, twin
    host.close()
    return "well"


def test_in_the_child_of_a_fork_every_call_fails_with_one_sentence() -> None:
    world = LiveWorld()
    client, server = world.pair_of_streams()
    twin = client.dup()
    fd = client.fileno()
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        told = "nothing"
        try:
            told = told_by_child(world.client, client, twin)
        except BaseException:
            told = traceback.format_exc()
        finally:
            os.write(writer, told.encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        assert pipe.read() == "well"
    os.waitpid(child, 0)
    assert client.fileno() == fd
    server.settimeout(PATIENCE)
    for _ in range(3):
        twin.sendall(b"the parent goes on")
        assert server.recv(100) == b"the parent goes on"
    twin.close()
    world.close()
    world.pair.close()


def test_a_child_may_open_a_stack_of_its_own() -> None:
    world = LiveWorld()
    child = os.fork()
    if not child:
        status = 1
        with contextlib.suppress(BaseException):
            own = LiveWorld()
            client, server = own.pair_of_streams()
            client.sendall(b"x")
            status = 0 if server.recv(1) == b"x" else 1
            own.close()
            own.pair.close()
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    world.close()
    world.pair.close()
