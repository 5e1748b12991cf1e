"""Socket objects: making them, addresses, time-outs, files, ends. On the kernel and on ustack."""

from __future__ import annotations

import array
import errno
import io
import os
import pickle
import socket
import weakref
from pathlib import Path
from typing import Any

import pytest

from tests.socket.socket_world import World
from tests.socket.test_socket_stream import code_of


@pytest.mark.parametrize(
    "arguments",
    [
        (socket.AF_INET, socket.SOCK_STREAM, 17),
        (socket.AF_INET, socket.SOCK_DGRAM, 6),
        (socket.AF_INET, socket.SOCK_STREAM, 255),
        (socket.AF_INET, socket.SOCK_SEQPACKET, 0),
        (socket.AF_INET, socket.SOCK_RDM, 0),
        (socket.AF_INET, socket.SOCK_RAW, 0),
        (socket.AF_INET, 0, 0),
        (socket.AF_INET, 99, 0),
        (12345, socket.SOCK_STREAM, 0),
        (-5, socket.SOCK_STREAM, 0),
    ],
)
def test_what_there_is_no_socket_for(arguments: tuple[int, int, int], ustack_world: World) -> None:
    expected = code_of(socket.socket, *arguments)
    assert code_of(ustack_world.socket, *arguments) == expected


def test_attributes(world: World) -> None:
    fresh = world.socket()
    assert fresh.family is socket.AF_INET
    assert fresh.type is socket.SOCK_STREAM
    assert fresh.proto == 0
    assert fresh.timeout is None
    named = world.socket(socket.AF_INET6, socket.SOCK_DGRAM, socket.IPPROTO_UDP)
    assert (named.family, named.type, named.proto) == (socket.AF_INET6, socket.SOCK_DGRAM, 17)
    flagged = world.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    assert flagged.type is socket.SOCK_STREAM
    assert flagged.gettimeout() == 0
    with pytest.raises(AttributeError):
        fresh.family = 3


def test_timeouts(world: World) -> None:
    fresh = world.socket()
    assert fresh.getblocking()
    for value in (5, 1.5, 0, 1e-9, None):
        fresh.settimeout(value)
        assert fresh.gettimeout() == value
        assert fresh.getblocking() == (value != 0)
    fresh.setblocking(False)
    assert fresh.gettimeout() == 0
    fresh.setblocking(True)
    assert fresh.gettimeout() is None
    with pytest.raises(ValueError, match="Timeout value out of range"):
        fresh.settimeout(-1)
    with pytest.raises(ValueError, match="NaN"):
        fresh.settimeout(float("nan"))
    wrong: Any
    for wrong in ("1", b"1", [], 1j):
        with pytest.raises(TypeError):
            fresh.settimeout(wrong)


def test_default_timeout(world: World) -> None:
    socket.setdefaulttimeout(3)
    try:
        assert world.socket().gettimeout() == 3
        listener = world.listener()
        world.socket().connect(listener.getsockname())
        assert world.keep(listener.accept()[0]).gettimeout() == 3
    finally:
        socket.setdefaulttimeout(None)


@pytest.mark.parametrize(
    ("family", "address"),
    [
        (socket.AF_INET, "127.0.0.1"),
        (socket.AF_INET, ["127.0.0.1", 1]),
        (socket.AF_INET, ("127.0.0.1",)),
        (socket.AF_INET, ("127.0.0.1", 1, 2)),
        (socket.AF_INET, (1, 1)),
        (socket.AF_INET, (None, 1)),
        (socket.AF_INET, ("127.0.0.1", "1")),
        (socket.AF_INET, ("127.0.0.1", 1.0)),
        (socket.AF_INET, ("127.0.0.1", -1)),
        (socket.AF_INET, ("127.0.0.1", 65536)),
        (socket.AF_INET, ("no-such-host.invalid", 1)),
        (socket.AF_INET, ("::1", 1)),
        (socket.AF_INET, ("1.2.3.4.5", 1)),
        (socket.AF_INET, ("a\0b", 1)),
        (socket.AF_INET6, ("127.0.0.1", 1)),
        (socket.AF_INET6, ("::1",)),
        (socket.AF_INET6, ("::1", 1, 2, 3, 4)),
        (socket.AF_INET6, ("::1", 1, -1)),
        (socket.AF_INET6, ("::1", 1, 1 << 20)),
        (socket.AF_INET6, ("::1", 1, 0, "x")),
        (socket.AF_INET6, "::1"),
    ],
)
def test_bad_addresses(world: World, family: int, address: Any) -> None:
    reference = socket.socket(family)
    with reference, pytest.raises(Exception) as expected:  # noqa: PT011 - whatever the kernel's socket raises
        reference.connect(address)
    fresh = world.socket(family)
    for call in (fresh.connect, fresh.bind, fresh.connect_ex):
        if isinstance(expected.value, socket.gaierror) and "invalid" in str(address):
            with pytest.raises(socket.gaierror):
                call(address)
            continue
        with pytest.raises(expected.type):
            call(address)


def test_hosts_as_they_may_be_written(world: World) -> None:
    for host in ("", b"", "0.0.0.0", bytearray(b"0.0.0.0"), "0"):
        fresh = world.socket()
        fresh.bind((host, 0))
        assert fresh.getsockname()[0] == "0.0.0.0"
    for address in (("", 0), ("::", 0, 0), ("::", 0, 0, 0)):
        fresh = world.socket(socket.AF_INET6)
        fresh.bind(address)
        assert fresh.getsockname()[0] == "::"
        assert len(fresh.getsockname()) == 4
    local = world.socket()
    local.bind(("localhost", 0))
    assert local.getsockname()[0] == "127.0.0.1"


def test_arguments(world: World) -> None:
    client, _ = world.pair_of_streams()
    with pytest.raises(ValueError, match="negative buffersize in recv"):
        client.recv(-1)
    with pytest.raises(ValueError, match="negative buffersize in recvfrom"):
        client.recvfrom(-1)
    with pytest.raises(ValueError, match="negative buffersize in recv_into"):
        client.recv_into(bytearray(1), -1)
    with pytest.raises(ValueError, match="buffer too small for requested bytes"):
        client.recv_into(bytearray(1), 2)
    with pytest.raises(ValueError, match="nbytes is greater than the length of the buffer"):
        client.recvfrom_into(bytearray(1), 2)
    with pytest.raises(TypeError):
        client.recv_into(b"read-only")
    with pytest.raises(TypeError):
        client.recv_into("text")
    for call in (client.send, client.sendall):
        with pytest.raises(TypeError, match="a bytes-like object is required, not 'str'"):
            call("text")
    with pytest.raises(TypeError):
        client.sendto(b"x")
    with pytest.raises(TypeError):
        client.sendto(b"x", "flags", ("127.0.0.1", 1))
    with pytest.raises(TypeError):
        client.sendmsg(b"not a list")
    with pytest.raises(TypeError):
        client.sendmsg([b"x"], [(1, 2)])
    assert client.recv_into(bytearray()) == 0


def test_wide_items(world: World) -> None:
    client, server = world.pair_of_streams()
    client.sendall(array.array("i", [1, 2]))
    space = array.array("i", [0, 0])
    assert server.recv_into(space, 0, socket.MSG_WAITALL) == 8
    assert list(space) == [1, 2]


# Ends


def test_close(world: World) -> None:
    client, server = world.pair_of_streams()
    client.close()
    client.close()
    assert client.fileno() == -1
    for call, arguments in (
        (client.recv, (1,)),
        (client.send, (b"x",)),
        (client.getsockname, ()),
        (client.getpeername, ()),
        (client.getsockopt, (1, 2)),
        (client.shutdown, (2,)),
        (client.accept, ()),
        (client.bind, (("", 0),)),
    ):
        assert code_of(call, *arguments) == errno.EBADF
    assert client.connect_ex(("127.0.0.1", 1)) == errno.EBADF
    assert "[closed] fd=-1" in repr(client)
    assert server.recv(1) == b""


def test_context_manager(world: World) -> None:
    with world.socket() as found:
        found.listen()
    assert found.fileno() == -1


def test_unclosed(world: World) -> None:
    found = world.socket()
    world.opened.clear()
    reference = weakref.ref(found)
    with pytest.warns(ResourceWarning, match=r"unclosed <.* fd=.*, family=2, type=1, proto=0, laddr=\('0.0.0.0', 0\)>"):
        del found
    assert reference() is None


def test_collected_socket_closes_its_connection(world: World) -> None:
    client, server = world.pair_of_streams()
    world.opened.remove(client)
    with pytest.warns(ResourceWarning):
        del client
    assert server.recv(1) == b""


def test_repr(world: World) -> None:
    client, server = world.pair_of_streams()
    client.fileno()
    text = repr(client)
    assert f"fd={client.fileno()}, family=2, type=1, proto=0" in text
    assert f"laddr={client.getsockname()}, raddr={server.getsockname()}>" in text
    assert "raddr" not in repr(world.socket())


def test_no_pickle(world: World) -> None:
    fresh = world.socket()
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError):
            pickle.dumps(fresh, protocol)


def test_weak_reference(world: World) -> None:
    fresh = world.socket()
    assert weakref.proxy(fresh).family == socket.AF_INET


def test_dup(world: World) -> None:
    client, server = world.pair_of_streams()
    client.settimeout(7)
    twin = client.dup()
    assert twin.gettimeout() == 7
    assert twin.fileno() != client.fileno()
    assert twin.getsockname() == client.getsockname()
    client.close()
    twin.sendall(b"still there")
    assert server.recv(20) == b"still there"
    twin.close()
    assert server.recv(20) == b""


def test_detach(world: World) -> None:
    client, server = world.pair_of_streams()
    fd = client.detach()
    assert fd >= 0
    assert client.fileno() == -1
    assert code_of(client.recv, 1) == errno.EBADF
    assert client.detach() == -1
    make = socket.socket if world.is_kernel else world.client.socket
    again = make(fileno=fd)
    assert again.fileno() == fd
    again.sendall(b"x")
    assert server.recv(1) == b"x"
    again.close()
    assert server.recv(1) == b""


BUFFER_CALLS = {
    "send": lambda found, buffer: found.send(buffer),
    "sendall": lambda found, buffer: found.sendall(buffer),
    "sendto": lambda found, buffer: found.sendto(buffer, ("127.0.0.1", 9)),
    "sendmsg": lambda found, buffer: found.sendmsg([buffer]),
    "recv_into": lambda found, buffer: found.recv_into(buffer),
    "recv_into, some": lambda found, buffer: found.recv_into(buffer, 3),
    "recv_into, flags": lambda found, buffer: found.recv_into(buffer, 3, socket.MSG_WAITALL),
    "recvfrom_into": lambda found, buffer: found.recvfrom_into(buffer),
    "recvmsg_into": lambda found, buffer: found.recvmsg_into([buffer]),
}


@pytest.mark.parametrize("call", BUFFER_CALLS)
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_failed_call_lets_go_of_the_buffer(world: World, call: str, kind: int) -> None:
    """Asyncio clears its buffer while it handles the exception of a send."""
    if kind == socket.SOCK_STREAM:
        found, _ = world.pair_of_streams()
    else:
        found = world.socket(kind=kind)
        found.bind((world.client_address(), 0))
    found.setblocking(False)
    if "send" in call:
        found.shutdown(socket.SHUT_WR) if kind == socket.SOCK_STREAM else found.close()
    buffer = bytearray(b"text")
    with pytest.raises(OSError) as caught:  # noqa: PT011 - which one is the world's
        BUFFER_CALLS[call](found, buffer)
    buffer.clear()
    assert caught.value.__traceback__ is not None


# Files


def test_makefile(world: World) -> None:
    client, server = world.pair_of_streams()
    with client.makefile("w", encoding="utf-8", newline="\n") as writer:
        writer.write("première\nseconde\n")
    with server.makefile(encoding="utf-8") as reader:
        assert reader.readline() == "première\n"
        assert reader.readline() == "seconde\n"
    client.sendall(b"line\nrest")
    client.shutdown(socket.SHUT_WR)
    with server.makefile("rb") as raw:
        assert raw.readline() == b"line\n"
        assert raw.read() == b"rest"


def test_files_keep_the_socket_open(world: World) -> None:
    client, server = world.pair_of_streams()
    file = client.makefile("rwb", buffering=0)
    client.close()
    assert "[closed]" in repr(client)
    file.write(b"x")
    assert server.recv(1) == b"x"
    file.close()
    assert server.recv(1) == b""


def test_makefile_modes(world: World) -> None:
    client, _ = world.pair_of_streams()
    with pytest.raises(ValueError, match="invalid mode"):
        client.makefile("a")
    with pytest.raises(ValueError, match="unbuffered streams must be binary"):
        client.makefile("r", buffering=0)
    for mode, kind in (("rb", io.BufferedReader), ("wb", io.BufferedWriter), ("rwb", io.BufferedRWPair)):
        with client.makefile(mode) as file:
            assert type(file) is kind
    with client.makefile("rb", buffering=0) as file:
        assert isinstance(file, socket.SocketIO)


def test_file_and_timeout(world: World) -> None:
    client, _ = world.pair_of_streams()
    client.settimeout(0.01)
    with client.makefile("rb") as file:
        with pytest.raises(TimeoutError):
            file.read(1)
        with pytest.raises(OSError, match="cannot read from timed out object"):
            file.read(1)
    client.setblocking(False)
    with client.makefile("rb", buffering=0) as file:
        assert file.read(1) is None


def test_sendfile(world: World, tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(bytes(range(256)) * 8)
    client, server = world.pair_of_streams()
    with path.open("rb") as file:
        assert client.sendfile(file, 100, 1000) == 1000
        assert file.tell() == 1100
        assert server.recv(1000, socket.MSG_WAITALL) == path.read_bytes()[100:1100]
        assert client.sendfile(file) == 2048
        assert server.recv(2048, socket.MSG_WAITALL) == path.read_bytes()
        with pytest.raises(ValueError, match="count must be a positive integer"):
            client.sendfile(file, count=0)
        with pytest.raises(TypeError, match="count must be a positive integer"):
            client.sendfile(file, count=1.5)
        client.setblocking(False)
        with pytest.raises(ValueError, match="non-blocking sockets are not supported"):
            client.sendfile(file)
        with pytest.raises(ValueError, match="only SOCK_STREAM"):
            world.socket(kind=socket.SOCK_DGRAM).sendfile(file)
    with path.open() as file, pytest.raises(ValueError, match="binary mode"):
        client.sendfile(file)
    client.settimeout(None)
    assert client.sendfile(io.BytesIO(b"in memory")) == 9
    assert server.recv(9, socket.MSG_WAITALL) == b"in memory"


# Host


def test_create_server_and_connection(ustack_world: World) -> None:
    world = ustack_world
    with world.server.create_server(("", 0)) as server:
        assert server.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 1
        port = server.getsockname()[1]
        with world.client.create_connection((world.address(), port), timeout=3) as client:
            assert client.gettimeout() == 3
        with world.client.create_connection(
            (world.address(), port), source_address=(world.client_address(), 0)
        ) as client:
            assert client.getsockname()[0] == world.client_address()
        with pytest.raises(OSError, match="while attempting to bind on address"):
            world.server.create_server((world.address(), port))
    with pytest.raises(ConnectionRefusedError):
        world.client.create_connection((world.address(), port))
    with pytest.raises(ExceptionGroup):
        world.client.create_connection((world.address(), port), all_errors=True)
    with pytest.raises(socket.gaierror):
        world.client.create_connection(("name.invalid", port))
    with pytest.raises(ValueError, match="dualstack_ipv6"):
        world.server.create_server(("", 0), dualstack_ipv6=True)
    with world.server.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        world.client.create_connection((world.address(), server.getsockname()[1])).close()
    with world.server.create_server(("", 0), family=socket.AF_INET6) as server:
        assert server.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1


def test_a_closed_host(ustack_world: World) -> None:
    world = ustack_world
    client, server = world.pair_of_streams()
    fd = client.fileno()
    world.client.close()
    world.client.close()
    assert code_of(client.recv, 1) == errno.ENETDOWN
    assert code_of(world.client.socket) == errno.ENETDOWN
    assert client.fileno() == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    client.close()
    world.settle()
    with pytest.raises(ConnectionResetError):
        server.recv(1)
