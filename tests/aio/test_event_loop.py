"""ustack.aio.EventLoop: programs written for asyncio run on it as they are; other addresses stay the kernel's."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

import pytest

import ustack
from tests.aio.test_streams import Recorder, echo
from ustack.aio import EventLoop
from ustack.aio.stream import StreamTransport
from ustack.device.memory import MemoryPair

HERE, THERE = "10.0.0.1", "10.0.0.2"


@pytest.fixture
def other() -> Iterator[tuple[MemoryPair, ustack.Host]]:
    """The other end of a pair, on a host with threads."""
    pair = MemoryPair()
    with ustack.open_device(pair.right, f"{THERE}/24") as host:
        yield pair, host


@contextlib.contextmanager
def runner(pair: MemoryPair) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=lambda: EventLoop(pair.left, f"{HERE}/24"), debug=True) as found:
        yield found


def test_an_ordinary_client(other: tuple[MemoryPair, ustack.Host]) -> None:
    pair, host = other
    listener = host.create_server(("", 80))

    def serve() -> None:
        with listener.accept()[0] as connection:
            connection.sendall(connection.recv(100).upper())

    thread = threading.Thread(target=serve)
    thread.start()

    async def main() -> bytes:
        reader, writer = await asyncio.open_connection(THERE, 80)
        assert isinstance(writer.transport, StreamTransport)
        writer.write(b"hello")
        found = await reader.read()
        writer.close()
        await writer.wait_closed()
        return found

    with runner(pair) as running:
        assert running.run(main()) == b"HELLO"
    thread.join()
    listener.close()


def test_an_ordinary_server(other: tuple[MemoryPair, ustack.Host]) -> None:
    pair, host = other

    def ask() -> bytes:
        with host.create_connection((HERE, 80)) as sock:
            sock.sendall(b"hello")
            return sock.recv(100)

    async def main() -> bytes:
        async with await asyncio.start_server(echo, HERE, 80) as server:
            assert server.sockets[0].getsockname() == (HERE, 80)
            return await asyncio.to_thread(ask)

    with runner(pair) as running:
        assert running.run(main()) == b"hello"


def test_the_kernels_addresses_stay_the_kernels(other: tuple[MemoryPair, ustack.Host]) -> None:
    async def main() -> bytes:
        async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            assert not isinstance(writer.transport, StreamTransport)
            writer.write(b"x")
            found = await reader.readexactly(1)
            writer.close()
            await writer.wait_closed()
            return found

    with runner(other[0]) as running:
        assert running.run(main()) == b"x"


def test_a_loop_that_closes_ends_its_connections(other: tuple[MemoryPair, ustack.Host]) -> None:
    pair, host = other
    with host.create_server(("", 80)) as listener:

        async def main() -> Recorder:
            _, protocol = await asyncio.get_running_loop().create_connection(Recorder, THERE, 80)
            return protocol

        with runner(pair) as running:
            protocol = running.run(main())
        assert protocol.calls == ["made", "lost"]
        with listener.accept()[0] as connection:
            connection.settimeout(10)
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
