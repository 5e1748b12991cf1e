"""asyncio's streams and protocols on hosts of ustack: what a program sees is what it sees on sockets."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import ssl
import tempfile
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest

from tests.aio.conftest import SERVER, two_hosts
from ustack.aio import AsyncHost

PEM = Path(__file__).parent / "server.pem"
Run = Callable[[Any], Any]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(PEM)
    return server, ssl.create_default_context(cafile=str(PEM))


@pytest.mark.parametrize("size", [1, 1000, 100_000, 5_000_000])
def test_echo(run: Run, size: int) -> None:
    async def body(client: AsyncHost, server: AsyncHost) -> None:
        async with await server.start_server(echo, port=80):
            reader, writer = await client.open_connection(SERVER, 80)
            text = os.urandom(size)
            writer.write(text)
            writer.write_eof()
            assert await reader.read(-1) == text
            writer.close()
            await writer.wait_closed()

    run(body)


@pytest.mark.parametrize("size", [1, 100_000, 3_000_000])
def test_echo_over_tls(run: Run, size: int) -> None:
    async def body(client: AsyncHost, server: AsyncHost) -> None:
        theirs, ours = contexts()
        async with await server.start_server(echo, port=443, ssl=theirs):
            reader, writer = await client.open_connection(SERVER, 443, ssl=ours)
            text = os.urandom(size)
            writer.write(text)
            assert await reader.readexactly(size) == text
            assert writer.get_extra_info("ssl_object").version().startswith("TLS")
            writer.close()
            await writer.wait_closed()

    run(body)


def test_a_certificate_for_another_name_is_refused(run: Run) -> None:
    async def body(client: AsyncHost, server: AsyncHost) -> None:
        theirs, ours = contexts()
        async with await server.start_server(echo, port=443, ssl=theirs):
            with pytest.raises(ssl.SSLCertVerificationError):
                await client.open_connection(SERVER, 443, ssl=ours, server_hostname="other.test")
            await asyncio.sleep(0.05)

    run(body)


def test_start_tls(run: Run) -> None:
    async def body(client: AsyncHost, server: AsyncHost) -> None:
        theirs, ours = contexts()

        async def upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert await reader.readline() == b"STARTTLS\n"
            writer.write(b"go\n")
            await writer.drain()
            await writer.start_tls(theirs)
            await echo(reader, writer)

        async with await server.start_server(upgrade, port=25):
            reader, writer = await client.open_connection(SERVER, 25)
            writer.write(b"STARTTLS\n")
            assert await reader.readline() == b"go\n"
            await writer.start_tls(ours, server_hostname=SERVER)
            writer.write(b"secret\n")
            assert await reader.readline() == b"secret\n"
            writer.close()
            await writer.wait_closed()

    run(body)


def test_nobody_listens(run: Run) -> None:
    async def body(client: AsyncHost, server: AsyncHost) -> None:
        with pytest.raises(ConnectionRefusedError) as caught:
            await client.open_connection(SERVER, 81)
        assert caught.value.errno == errno.ECONNREFUSED

    run(body)


def test_a_connect_that_is_cancelled_leaves_nothing(run: Run) -> None:
    async def body(client: AsyncHost, server: AsyncHost) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.open_connection("10.0.0.77", 80), 0.05)
        assert not client.stack.tcp.connections

    run(body)


def test_half_close(run: Run) -> None:
    """The server goes on to send after the client's end."""

    async def body(client: AsyncHost, server: AsyncHost) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            question = await reader.read(-1)
            for _ in range(10):
                writer.write(question)
                await asyncio.sleep(0.001)
            writer.close()

        async with await server.start_server(answer, port=80):
            reader, writer = await client.open_connection(SERVER, 80)
            writer.write(b"abc")
            writer.write_eof()
            assert await reader.read(-1) == b"abc" * 10
            writer.close()

    run(body)


def test_a_slow_reader_slows_the_writer(run: Run) -> None:
    """drain() waits; what waits is bounded; nothing is lost."""

    async def body(client: AsyncHost, server: AsyncHost) -> None:
        total = 20_000_000
        most = [0]

        async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            chunk = bytes(65536)
            left = total
            while left:
                piece = chunk[:left]
                writer.write(piece)
                left -= len(piece)
                most[0] = max(most[0], writer.transport.get_write_buffer_size())
                await writer.drain()
            writer.close()

        async with await server.start_server(flood, port=80):
            reader, writer = await client.open_connection(SERVER, 80)
            await asyncio.sleep(0.1)
            seen = 0
            while data := await reader.read(1 << 20):
                seen += len(data)
            assert seen == total
            assert most[0] <= 65536 + 65536
            writer.close()

    run(body)


class Recorder(asyncio.Protocol):
    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.calls.append("made")

    def data_received(self, data: bytes) -> None:
        self.calls.append(data)

    def eof_received(self) -> bool:
        self.calls.append("eof")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append("lost")
        self.lost.set_result(exc)


def test_the_order_of_a_protocols_calls(run: Run) -> None:
    async def body(client: AsyncHost, server: AsyncHost) -> None:
        made: list[Recorder] = []

        def factory() -> Recorder:
            made.append(Recorder())
            return made[-1]

        async with await server.create_server(factory, SERVER, 80):
            transport, protocol = await client.create_connection(Recorder, SERVER, 80)
            transport.write(b"one")
            await asyncio.sleep(0.01)
            transport.close()
            assert await protocol.lost is None
            assert await made[0].lost is None
            assert made[0].calls == ["made", b"one", "eof", "lost"]
            assert protocol.calls == ["made", "lost"]

    run(body)


def test_abort_with_unread_text_is_a_reset(run: Run) -> None:
    async def body(client: AsyncHost, server: AsyncHost) -> None:
        made: list[Recorder] = []

        def factory() -> Recorder:
            made.append(Recorder())
            return made[-1]

        async with await server.create_server(factory, SERVER, 80):
            transport, _ = await client.create_connection(Recorder, SERVER, 80)
            transport.pause_reading()
            await asyncio.sleep(0.01)
            server_side = next(iter(server.transports))
            server_side.write(b"nobody reads this")
            await asyncio.sleep(0.01)
            transport.abort()
            assert isinstance(await made[0].lost, ConnectionResetError)

    run(body)


def test_pause_and_resume_reading(run: Run) -> None:
    async def body(client: AsyncHost, server: AsyncHost) -> None:
        async with await server.start_server(echo, port=80):
            transport, protocol = await client.create_connection(Recorder, SERVER, 80)
            assert transport.is_reading()
            transport.pause_reading()
            transport.pause_reading()
            transport.write(b"x")
            await asyncio.sleep(0.02)
            assert protocol.calls == ["made"]
            transport.resume_reading()
            await asyncio.sleep(0.02)
            assert protocol.calls == ["made", b"x"]
            transport.close()
            await protocol.lost

    run(body)


def test_names(run: Run) -> None:
    async def body(client: AsyncHost, server: AsyncHost) -> None:
        async with await server.start_server(echo, SERVER, 80) as serving:
            assert serving.sockets[0].getsockname() == (SERVER, 80)
            transport, protocol = await client.create_connection(Recorder, SERVER, 80, local_addr=("10.0.0.1", 5555))
            assert transport.get_extra_info("sockname") == ("10.0.0.1", 5555)
            assert transport.get_extra_info("peername") == (SERVER, 80)
            option = transport.get_extra_info("socket").getsockopt(6, 1)
            assert option == 0
            assert transport.get_extra_info("nosuch", 7) == 7
            transport.close()
            await protocol.lost

    run(body)


def test_a_port_that_is_taken(run: Run) -> None:
    async def body(client: AsyncHost, server: AsyncHost) -> None:
        async with await server.start_server(echo, SERVER, 80):
            with pytest.raises(OSError, match="Address already in use") as caught:
                await server.start_server(echo, SERVER, 80)
            assert caught.value.errno == errno.EADDRINUSE

    run(body)


@pytest.mark.parametrize("where", ["connection_made", "data_received", "eof_received"])
def test_a_protocol_that_raises_loses_its_connection_and_no_other(where: str) -> None:
    async def whole() -> list[str]:
        complaints: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["message"]))
        async with two_hosts() as (client, server):

            def broken() -> asyncio.Protocol:
                protocol = Recorder()

                def fail(*_: object) -> None:
                    raise ZeroDivisionError

                setattr(protocol, where, fail)
                return protocol

            async with await server.create_server(broken, SERVER, 80), await server.start_server(echo, SERVER, 81):
                transport, protocol = await client.create_connection(Recorder, SERVER, 80)
                reader, writer = await client.open_connection(SERVER, 81)
                transport.write(b"x")
                transport.write_eof()
                await protocol.lost
                writer.write(b"alive")
                assert await reader.readexactly(5) == b"alive"
                writer.close()
                await writer.wait_closed()
        return complaints

    complaints = asyncio.run(whole())
    assert complaints == [f"Fatal error: protocol.{where}() call failed."]


@pytest.mark.parametrize("size", [0, 1, 100, 5000, 5_000_000])
def test_sendfile(run: Run, size: int) -> None:
    """asyncio does not read from a transport that sends a file: the server hears it to the end before it answers."""

    async def body(client: AsyncHost, server: AsyncHost) -> None:
        async def digest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(blake2b(await reader.read(-1)).digest())
            writer.close()

        text = os.urandom(size)
        async with await server.start_server(digest, port=80):
            reader, writer = await client.open_connection(SERVER, 80)
            with tempfile.TemporaryFile() as file:
                file.write(text)
                file.seek(0)
                assert await asyncio.get_running_loop().sendfile(writer.transport, file) == size
            writer.write_eof()
            assert await reader.read(-1) == blake2b(text).digest()
            writer.close()
            await writer.wait_closed()

    run(body)


class Filling(asyncio.BufferedProtocol):
    def __init__(self) -> None:
        self.space = bytearray(1000)
        self.text = b""
        self.lost = asyncio.get_running_loop().create_future()

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.space

    def buffer_updated(self, nbytes: int) -> None:
        self.text += self.space[:nbytes]

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


def test_buffered_protocol(run: Run) -> None:
    async def body(client: AsyncHost, server: AsyncHost) -> None:
        async with await server.start_server(echo, port=80):
            transport, protocol = await client.create_connection(Filling, SERVER, 80)
            text = os.urandom(100_000)
            transport.write(text)
            transport.write_eof()
            await protocol.lost
            assert protocol.text == text

    run(body)


def test_a_host_that_closes_ends_everything(run: Run) -> None:
    async def body(client: AsyncHost, server: AsyncHost) -> None:
        serving = await server.create_server(Recorder, SERVER, 80)
        _, protocol = await client.create_connection(Recorder, SERVER, 80)
        await server.aclose()
        assert not serving.is_serving()
        assert isinstance(await protocol.lost, ConnectionResetError)
        with pytest.raises(OSError, match="Network is down"):
            await server.start_server(echo, port=81)

    run(body)


def test_the_device_is_the_only_descriptor(run: Run) -> None:
    """100 connections need no more descriptors than one."""

    async def body(client: AsyncHost, server: AsyncHost) -> None:
        async with await server.start_server(echo, port=80):
            first = await client.open_connection(SERVER, 80)
            before = len(os.listdir("/proc/self/fd"))
            more = [await client.open_connection(SERVER, 80) for _ in range(100)]
            assert len(os.listdir("/proc/self/fd")) == before
            for _, writer in (first, *more):
                writer.close()
                await writer.wait_closed()

    run(body)


def test_cancelled_at_every_await() -> None:
    """However far a client has come when it is cancelled, nothing is left: no connection, no task, no warning."""

    async def talk(client: AsyncHost) -> None:
        reader, writer = await client.open_connection(SERVER, 80)
        try:
            for _ in range(5):
                writer.write(b"ping")
                await writer.drain()
                await reader.readexactly(4)
        finally:
            writer.close()

    async def cut(turns: int) -> bool:
        async with two_hosts() as (client, server), await server.start_server(echo, port=80):
            task = asyncio.create_task(talk(client))
            for _ in range(turns):
                await asyncio.sleep(0)
            was_done = task.done()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            for _ in range(20):
                await asyncio.sleep(0)
        assert not client.transports
        assert not server.transports
        return was_done

    for turns in range(0, 400, 3):
        if asyncio.run(cut(turns)):
            break
    else:
        raise AssertionError("never finished")
    gc.collect()


def test_datagrams(run: Run) -> None:
    async def body(client: AsyncHost, server: AsyncHost) -> None:
        got: asyncio.Queue[tuple[bytes, Any]] = asyncio.Queue()

        class Answer(asyncio.DatagramProtocol):
            def connection_made(self, transport: Any) -> None:
                self.transport = transport

            def datagram_received(self, data: bytes, addr: Any) -> None:
                self.transport.sendto(data[::-1], addr)

        class Ask(asyncio.DatagramProtocol):
            def __init__(self) -> None:
                self.errors: asyncio.Queue[Exception] = asyncio.Queue()

            def datagram_received(self, data: bytes, addr: Any) -> None:
                got.put_nowait((data, addr))

            def error_received(self, exc: Exception) -> None:
                self.errors.put_nowait(exc)

        answering, _ = await server.create_datagram_endpoint(Answer, local_addr=(SERVER, 53))
        asking, asker = await client.create_datagram_endpoint(Ask, remote_addr=(SERVER, 53))
        asking.sendto(b"abc")
        assert await got.get() == (b"cba", (SERVER, 53))
        answering.close()
        await asyncio.sleep(0.01)
        asking.sendto(b"again")
        assert isinstance(await asker.errors.get(), ConnectionRefusedError)  # type: ignore[attr-defined]
        asking.close()
        await asyncio.sleep(0)

    run(body)
