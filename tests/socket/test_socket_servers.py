"""The standard library's servers and clients, and programs of several threads, on the kernel and on ustack."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import http.server
import selectors
import socket
import socketserver
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.socket.socket_live import LiveKernel, LiveWorld, Worker
from tests.socket.socket_world import World

PAYLOAD = bytes(range(256)) * 8192
BLOCK = 65536


@pytest.fixture(params=["kernel", "ustack"])
def live(request: pytest.FixtureRequest) -> Iterator[World]:
    made: World = LiveKernel() if request.param == "kernel" else LiveWorld()
    yield made
    made.close()


@pytest.fixture
def ustack_live() -> Iterator[LiveWorld]:
    made = LiveWorld()
    yield made
    made.close()


def put_on(server: Any, found: Any) -> None:
    """Give a server of the standard library our socket instead of its own."""
    server.socket.close()
    server.socket = found
    server.server_bind()
    server.server_activate()


@contextlib.contextmanager
def serving(server: Any) -> Iterator[None]:
    worker = Worker(server.serve_forever, 0.05)
    try:
        yield
    finally:
        server.shutdown()
        worker.finish()
        server.server_close()


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = PAYLOAD if self.path == "/large" else b"hello " + self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        body = hashlib.sha256(self.rfile.read(int(self.headers["Content-Length"]))).hexdigest().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Silence."""


def test_http(live: World) -> None:
    server = http.server.ThreadingHTTPServer((live.address(), 0), Page, bind_and_activate=False)
    put_on(server, live.server_socket())
    with serving(server):
        found = live.socket()
        found.connect(server.socket.getsockname())
        client = http.client.HTTPConnection(live.address())
        client.sock = found
        for _ in range(3):
            client.request("GET", "/path")
            assert client.getresponse().read() == b"hello /path"
        client.request("GET", "/large")
        assert client.getresponse().read() == PAYLOAD
        client.request("POST", "/", PAYLOAD)
        assert client.getresponse().read() == hashlib.sha256(PAYLOAD).hexdigest().encode()
        client.close()


def test_http_with_many_clients(live: World) -> None:
    server = http.server.ThreadingHTTPServer((live.address(), 0), Page, bind_and_activate=False)
    put_on(server, live.server_socket())

    def visit(number: int) -> bytes:
        client = http.client.HTTPConnection(live.address())
        client.sock = live.socket()
        client.sock.connect(server.socket.getsockname())
        client.request("GET", f"/{number}", headers={"Connection": "close"})
        return client.getresponse().read()

    with serving(server):
        workers = [Worker(visit, number) for number in range(10)]
        assert [worker.finish() for worker in workers] == [b"hello /%d" % number for number in range(10)]


class Upper(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line.upper())


class UpperDatagram(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        data, found = self.request
        found.sendto(data.upper(), self.client_address)


def test_socketserver_of_streams(live: World) -> None:
    server = socketserver.ThreadingTCPServer((live.address(), 0), Upper, bind_and_activate=False)
    put_on(server, live.server_socket())
    with serving(server):
        client = live.socket()
        client.connect(server.socket.getsockname())
        with client.makefile("rw", encoding="ascii", newline="\n") as file:
            file.write("one\ntwo\n")
            file.flush()
            assert file.readline() == "ONE\n"
            assert file.readline() == "TWO\n"
        client.close()


def test_socketserver_of_datagrams(live: World) -> None:
    server = socketserver.UDPServer((live.address(), 0), UpperDatagram, bind_and_activate=False)
    put_on(server, live.server_socket(kind=socket.SOCK_DGRAM))
    with serving(server):
        client = live.socket(kind=socket.SOCK_DGRAM)
        client.settimeout(30)
        client.sendto(b"word", server.socket.getsockname())
        assert client.recvfrom(100)[0] == b"WORD"


def serve_echo(listener: Any, clients: int) -> None:
    """One thread for all of them, until each has left."""
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while clients:
            for key, _ in selector.select(30):
                found: Any = key.fileobj
                if found is listener:
                    child, _ = listener.accept()
                    child.setblocking(False)
                    selector.register(child, selectors.EVENT_READ)
                elif data := found.recv(100):
                    found.sendall(data)
                else:
                    selector.unregister(found)
                    found.close()
                    clients -= 1


def test_echo_with_selectors(live: World) -> None:
    listener = live.listener()
    listener.setblocking(False)
    worker = Worker(serve_echo, listener, 3)
    clients = [live.socket() for _ in range(3)]
    for client in clients:
        client.connect(listener.getsockname())
    for step in range(20):
        for client in clients:
            client.sendall(b"%d" % step)
        for client in clients:
            assert client.recv(100) == b"%d" % step
    for client in clients:
        client.close()
    worker.finish()


def read_all(found: Any) -> bytes:
    digest = hashlib.sha256()
    space = bytearray(BLOCK)
    while count := found.recv_into(space):
        digest.update(space[:count])
    return digest.digest()


def write_all(found: Any, times: int) -> None:
    for _ in range(times):
        found.sendall(PAYLOAD)
    found.shutdown(socket.SHUT_WR)


def test_much_text_both_ways_at_once(live: World) -> None:
    client, server = live.pair_of_streams()
    expected = hashlib.sha256(PAYLOAD * 4).digest()
    writers = [Worker(write_all, found, 4) for found in (client, server)]
    readers = [Worker(read_all, found) for found in (client, server)]
    for writer in writers:
        writer.finish()
    assert [reader.finish() for reader in readers] == [expected, expected]


def test_sendall_blocks_until_all_is_taken(live: World) -> None:
    client, server = live.pair_of_streams()
    client.settimeout(30)
    writer = Worker(write_all, client, 4)
    assert read_all(server) == hashlib.sha256(PAYLOAD * 4).digest()
    writer.finish()


def test_one_send_takes_all(live: World) -> None:
    client, server = live.pair_of_streams()
    reader = Worker(read_all, server)
    assert client.send(PAYLOAD) == len(PAYLOAD)
    client.close()
    assert reader.finish() == hashlib.sha256(PAYLOAD).digest()


def test_many_connections_at_once(live: World) -> None:
    listener = live.listener(backlog=100)

    def serve() -> None:
        for _ in range(50):
            child, _ = listener.accept()
            with child:
                child.sendall(child.recv(100))

    def ask(number: int) -> bytes:
        with live.socket() as client:
            client.connect(listener.getsockname())
            client.sendall(b"%d" % number)
            answer: bytes = client.recv(100)
            return answer

    server = Worker(serve)
    workers = [Worker(lambda part: [ask(number) for number in part], range(at, at + 10)) for at in range(0, 50, 10)]
    answers = [answer for worker in workers for answer in worker.finish()]
    assert answers == [b"%d" % number for number in range(50)]
    server.finish()


def test_accepting_in_several_threads(live: World) -> None:
    listener = live.listener(backlog=20)

    def serve() -> None:
        child, _ = listener.accept()
        with child:
            child.sendall(b"served")

    workers = [Worker(serve) for _ in range(5)]
    for _ in range(5):
        with live.socket() as client:
            client.connect(listener.getsockname())
            assert client.recv(100) == b"served"
    for worker in workers:
        worker.finish()


def test_shutdown_wakes_who_receives(live: World) -> None:
    client, _ = live.pair_of_streams()
    worker = Worker(client.recv, 1)
    client.shutdown(socket.SHUT_RD)
    assert worker.finish() == b""


def test_shutdown_wakes_who_accepts(live: World) -> None:
    listener = live.listener()
    worker = Worker(listener.accept)
    listener.shutdown(socket.SHUT_RDWR)
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is the match
        worker.finish()
    assert caught.value.errno == errno.EINVAL


def when_blocked(host: Any) -> threading.Event:
    """Set as soon as a call on ``host`` blocks, with the lock held: what follows comes after."""
    blocked = threading.Event()
    wait = host.driver.wait

    def watched(*arguments: Any) -> Any:
        blocked.set()
        return wait(*arguments)

    host.driver.wait = watched
    return blocked


def test_close_lets_a_blocked_call_go_on_as_on_linux(ustack_live: LiveWorld) -> None:
    client, server = ustack_live.pair_of_streams()
    blocked = when_blocked(ustack_live.client)
    worker = Worker(client.recv, 10)
    assert blocked.wait(30)
    client.close()
    server.sendall(b"late")
    assert worker.finish() == b"late"
    assert server.recv(1) == b""


def test_closing_the_host_ends_blocked_calls(ustack_live: LiveWorld) -> None:
    client, server = ustack_live.pair_of_streams()
    blocked = when_blocked(ustack_live.client)
    worker = Worker(client.recv, 10)
    assert blocked.wait(30)
    ustack_live.client.close()
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is the match
        worker.finish()
    assert caught.value.errno == errno.ENETDOWN
    with pytest.raises(ConnectionResetError):
        server.recv(1)


def test_linger_blocks_close(live: World) -> None:
    client, server = live.pair_of_streams()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\x1e\0\0\0")
    reader = Worker(read_all, server)
    client.sendall(PAYLOAD)
    client.close()
    assert reader.finish() == hashlib.sha256(PAYLOAD).digest()
