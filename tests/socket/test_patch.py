"""Programs that do not know: the standard library leads to ustack for its addresses, and to the kernel else."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import http.server
import os
import selectors
import socket
import socketserver
import threading
from collections.abc import Iterator

import pytest

import ustack
from ustack.device.memory import MemoryPair

HERE, THERE = "10.0.0.1", "10.0.0.2"


@pytest.fixture
def other() -> Iterator[ustack.Host]:
    """The host at the other end; within the test the standard library leads to this end's."""
    pair = MemoryPair()
    with (
        ustack.open_device(pair.left, f"{HERE}/24", "fd00::1/64") as here,
        ustack.open_device(pair.right, f"{THERE}/24", "fd00::2/64") as there,
        ustack.patched(here),
    ):
        yield there


@contextlib.contextmanager
def echoing(listener: socket.socket) -> Iterator[int]:
    """One connection is served; the port."""

    def run() -> None:
        with listener.accept()[0] as connection:
            while data := connection.recv(65536):
                connection.sendall(data)

    thread = threading.Thread(target=run)
    thread.start()
    yield listener.getsockname()[1]
    thread.join(10)
    listener.close()


def test_it_becomes_ustacks_with_all_that_was_set(other: ustack.Host) -> None:
    with echoing(other.create_server(("", 0))) as port, socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 50_000)
        sock.settimeout(5)
        number = sock.fileno()
        assert type(sock) is not ustack.Socket
        sock.connect((THERE, port))
        assert type(sock) is ustack.Socket
        assert isinstance(sock, socket.socket)
        assert sock.gettimeout() == 5
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 100_000
        assert sock.fileno() == number
        assert sock.getpeername() == (THERE, port)
        selector = selectors.DefaultSelector()
        selector.register(number, selectors.EVENT_READ)
        sock.sendall(b"x")
        assert selector.select(5)
        assert sock.recv(1) == b"x"
        selector.close()


def test_what_is_not_ustacks_stays_the_kernels(other: ustack.Host) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        echoing(listener) as port,
        socket.create_connection(("localhost", port)) as sock,
    ):
        sock.sendall(b"kernel")
        assert sock.recv(10) == b"kernel"
        assert type(sock) is not ustack.Socket
        sock.close()
    left, right = socket.socketpair()
    with left, right:
        left.sendall(b"unix")
        assert right.recv(10) == b"unix"
    with socket.socket(socket.AF_UNIX) as sock:
        assert sock.family == socket.AF_UNIX


def test_http_both_ways(other: ustack.Host) -> None:
    class Hello(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello " + self.client_address[0].encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer((HERE, 8000), Hello) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        client = http.client.HTTPConnection(HERE, 8000)
        client.sock = other.create_connection((HERE, 8000))
        client.request("GET", "/")
        assert client.getresponse().read() == f"hello {THERE}".encode()
        client.close()
        server.shutdown()
        thread.join()


def test_a_client_that_knows_only_the_standard_library(other: ustack.Host) -> None:
    listener = other.create_server(("", 80))

    def run() -> None:
        with listener.accept()[0] as connection:
            connection.recv(1000)
            connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nfrom ustack")

    thread = threading.Thread(target=run)
    thread.start()
    client = http.client.HTTPConnection(THERE, timeout=10)
    client.request("GET", "/")
    assert client.getresponse().read() == b"from ustack"
    client.close()
    thread.join()
    listener.close()


def test_asyncio_with_its_own_loop(other: ustack.Host) -> None:
    async def talk(port: int) -> bytes:
        reader, writer = await asyncio.open_connection(THERE, port)
        text = os.urandom(300_000)
        writer.write(text)
        found = await reader.readexactly(len(text))
        assert found == text
        writer.close()
        await writer.wait_closed()
        return found

    with echoing(other.create_server(("", 0))) as port:
        asyncio.run(asyncio.wait_for(talk(port), 20))


def test_asyncio_serves(other: ustack.Host) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(5))
        await writer.drain()
        writer.close()

    def ask() -> bytes:
        with other.create_connection((HERE, 7)) as sock:
            sock.sendall(b"hello")
            return sock.recv(10)

    async def whole() -> bytes:
        async with await asyncio.start_server(echo, HERE, 7):
            return await asyncio.get_running_loop().run_in_executor(None, ask)

    assert asyncio.run(asyncio.wait_for(whole(), 20)) == b"hello"


def test_datagrams_and_ipv6(other: ustack.Host) -> None:
    with other.socket(socket.AF_INET6, socket.SOCK_DGRAM) as answering:
        answering.bind(("fd00::2", 53))
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as asking:
            asking.sendto(b"question", ("fd00::2", 53))
            data, address = answering.recvfrom(100)
            answering.sendto(data[::-1], address)
            assert asking.recv(100) == b"noitseuq"
            assert type(asking) is ustack.Socket


def test_socketserver(other: ustack.Host) -> None:
    class Upper(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(self.rfile.readline().upper())

    with socketserver.ThreadingTCPServer((HERE, 99), Upper) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        with other.create_connection((HERE, 99)) as sock:
            sock.sendall(b"loud\n")
            assert sock.recv(10) == b"LOUD\n"
        server.shutdown()
        thread.join()


def test_afterwards_all_is_as_before() -> None:
    before = socket.socket, socket.SocketType
    pair = MemoryPair()
    with ustack.open_device(pair.left, f"{HERE}/24") as here, ustack.patched(here):
        assert socket.socket is not before[0]
    assert (socket.socket, socket.SocketType) == before
    pair.close()


def test_no_network() -> None:
    pair = MemoryPair()
    with (
        ustack.open_device(pair.left, f"{HERE}/24") as here,
        pytest.raises(ValueError, match="does not appear to be"),
        ustack.patched(here, ["nowhere"]),
    ):
        pass
    pair.close()
