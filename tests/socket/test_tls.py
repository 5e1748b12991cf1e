"""TLS on ustack's sockets through the standard library's SSLContext: both ends, SNI, ALPN, sessions, time-outs."""

from __future__ import annotations

import http.client
import os
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ustack
from ustack.device.memory import MemoryPair
from ustack.socket.tls import TLSSocket

PEM = Path(__file__).parent.parent / "aio" / "server.pem"
SERVER = "10.0.0.2"


@pytest.fixture
def hosts() -> Iterator[tuple[ustack.Host, ustack.Host]]:
    pair = MemoryPair()
    with (
        ustack.open_device(pair.left, "10.0.0.1/24") as client,
        ustack.open_device(pair.right, f"{SERVER}/24") as server,
    ):
        yield client, server


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(PEM)
    return server, ssl.create_default_context(cafile=str(PEM))


Serve = Callable[[Callable[[ssl.SSLSocket], None]], int]


@pytest.fixture
def serve(hosts: tuple[ustack.Host, ustack.Host]) -> Iterator[Callable[..., int]]:
    """Serves one TLS connection with ``body`` in a thread; the port."""
    threads: list[threading.Thread] = []
    failures: list[BaseException] = []
    listeners: list[Any] = []

    def start(body: Callable[[Any], None], context: ssl.SSLContext | None = None) -> int:
        listener = hosts[1].create_server(("", 0))
        listeners.append(listener)
        wrapped = (context or contexts()[0]).wrap_socket(listener, server_side=True)
        listeners.append(wrapped)

        def run() -> None:
            try:
                connection, _ = wrapped.accept()
                with connection:
                    body(connection)
            except BaseException as error:
                failures.append(error)

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        return int(wrapped.getsockname()[1])

    yield start
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    for listener in listeners:
        listener.close()
    assert not failures, failures


def echo(connection: ssl.SSLSocket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


@pytest.fixture
def connect(hosts: tuple[ustack.Host, ustack.Host]) -> Callable[..., ssl.SSLSocket]:
    def made(port: int, context: ssl.SSLContext | None = None, name: str = "server.test", **how: Any) -> ssl.SSLSocket:
        plain = hosts[0].create_connection((SERVER, port))
        return (context or contexts()[1]).wrap_socket(plain, server_hostname=name, **how)

    return made


def test_it_is_a_socket_of_both_kinds(serve: Any, connect: Any) -> None:
    with connect(serve(echo)) as sock:
        assert isinstance(sock, ssl.SSLSocket)
        assert isinstance(sock, socket.socket)
        assert isinstance(sock, ustack.Socket)
        assert sock.getpeername()[0] == SERVER
        assert sock.getpeercert()["subjectAltName"] == (("DNS", "server.test"), ("IP Address", SERVER))
        assert sock.version() == "TLSv1.3"
        assert sock.cipher()[2] >= 128


@pytest.mark.parametrize("size", [1, 100, 5000, 3_000_000])
def test_bytes_both_ways(serve: Any, connect: Any, size: int) -> None:
    text = os.urandom(size)
    with connect(serve(echo)) as sock:
        writer = threading.Thread(target=sock.sendall, args=(text,))
        writer.start()
        found = b""
        while len(found) < size:
            found += sock.recv(65536)
        writer.join()
        assert found == text


def test_a_wrong_name_is_refused_and_the_server_is_told(hosts: Any, connect: Any) -> None:
    with hosts[1].create_server(("", 443)) as listener:
        raised: list[BaseException] = []

        def run() -> None:
            connection, _ = listener.accept()
            try:
                contexts()[0].wrap_socket(connection, server_side=True).close()
            except ssl.SSLError as error:
                raised.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(443, name="other.test")
        thread.join()


def test_alpn_and_sni(serve: Any, connect: Any) -> None:
    theirs, ours = contexts()
    theirs.set_alpn_protocols(["h2", "http/1.1"])
    ours.set_alpn_protocols(["http/1.1"])
    names: list[Any] = []
    theirs.sni_callback = lambda sock, name, context: names.append((name, isinstance(sock, ssl.SSLSocket)))
    with connect(serve(echo, theirs), ours) as sock:
        assert sock.selected_alpn_protocol() == "http/1.1"
    assert names == [("server.test", True)]


def test_a_session_is_used_again(serve: Any, connect: Any) -> None:
    theirs, ours = contexts()
    ours.maximum_version = ssl.TLSVersion.TLSv1_2
    with connect(serve(echo, theirs), ours) as first:
        session = first.session
        assert not first.session_reused
    with connect(serve(echo, theirs), ours, session=session) as second:
        assert second.session_reused


def test_unwrap_gives_the_plain_socket_with_all_that_followed(serve: Any, connect: Any) -> None:
    def body(connection: ssl.SSLSocket) -> None:
        assert connection.recv(100) == b"bye"
        plain = connection.unwrap()
        plain.sendall(b"plain text")
        assert plain.recv(100) == b"thanks"

    with connect(serve(body)) as sock:
        sock.sendall(b"bye")
        plain = sock.unwrap()
        found = b""
        while len(found) < 10:
            found += plain.recv(100)
        assert found == b"plain text"
        plain.sendall(b"thanks")


def test_a_time_out(serve: Any, connect: Any) -> None:
    with connect(serve(echo)) as sock:
        sock.settimeout(0.05)
        with pytest.raises(TimeoutError, match="timed out"):
            sock.recv(1)
        assert sock.gettimeout() == 0.05
        sock.settimeout(None)
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"


def test_without_blocking(serve: Any, hosts: Any) -> None:
    """As on the kernel's sockets: SSLWantReadError, SSLWantWriteError, select(), and the same call again."""
    port = serve(echo)
    plain = hosts[0].create_connection((SERVER, port))
    plain.setblocking(False)
    sock = contexts()[1].wrap_socket(plain, server_hostname="server.test", do_handshake_on_connect=False)

    def until(call: Callable[[], Any]) -> Any:
        while True:
            try:
                return call()
            except ssl.SSLWantReadError:
                select.select([sock], [], [], 10)
            except ssl.SSLWantWriteError:
                select.select([], [sock], [], 10)

    with sock:
        until(sock.do_handshake)
        with pytest.raises(ssl.SSLWantReadError):
            sock.recv(1)
        text = memoryview(os.urandom(2_000_000))
        sent, found = 0, b""
        while len(found) < len(text):
            if sent < len(text):
                try:
                    sent += sock.send(text[sent : sent + 50_000])
                except ssl.SSLWantWriteError:
                    select.select([sock], [sock], [], 10)
            try:
                found += sock.recv(65536)
            except ssl.SSLWantReadError:
                if sent == len(text):
                    select.select([sock], [], [], 10)
        assert found == text


def test_a_ragged_end(serve: Any, connect: Any) -> None:
    """The peer closes without close_notify: the end of the stream, or SSLEOFError for who asked."""

    def body(connection: ssl.SSLSocket) -> None:
        connection.sendall(b"x")

    with connect(serve(body)) as sock:
        assert sock.recv(10) == b"x"
        assert sock.recv(10) == b""
    with connect(serve(body), suppress_ragged_eofs=False) as sock:
        assert sock.recv(10) == b"x"
        with pytest.raises(ssl.SSLEOFError):
            sock.recv(10)


def test_wrap_before_connect(serve: Any, hosts: Any) -> None:
    port = serve(echo)
    with contexts()[1].wrap_socket(hosts[0].socket(), server_hostname="server.test") as sock:
        sock.connect((SERVER, port))
        sock.sendall(b"hello")
        assert sock.recv(10) == b"hello"
        with pytest.raises(ValueError, match="already-connected"):
            sock.connect((SERVER, port))


def test_files_and_http_client(serve: Any, hosts: Any) -> None:
    def body(connection: ssl.SSLSocket) -> None:
        with connection.makefile("rb") as file:
            while file.readline() != b"\r\n":
                pass
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    port = serve(body)
    client = http.client.HTTPSConnection("server.test", port, context=contexts()[1])
    client._create_connection = lambda address, *rest: hosts[0].create_connection((SERVER, port))  # type: ignore[attr-defined]
    client.request("GET", "/")
    assert client.getresponse().read() == b"hello"
    client.close()


def test_wrong_calls(serve: Any, hosts: Any) -> None:
    server, client = contexts()
    with hosts[0].socket() as sock:
        with pytest.raises(ValueError, match="check_hostname requires server_hostname"):
            client.wrap_socket(sock)
        with pytest.raises(ValueError, match="client mode"):
            server.wrap_socket(sock, server_side=True, server_hostname="x")
    with hosts[0].socket(type=socket.SOCK_DGRAM) as sock, pytest.raises(NotImplementedError):
        client.wrap_socket(sock, server_hostname="x")
    with pytest.raises(TypeError, match="does not have a public constructor"):
        TLSSocket(hosts[0])


def test_the_kernels_sockets_are_wrapped_as_ever() -> None:
    left, right = socket.socketpair()
    with left, right:
        wrapped = contexts()[1].wrap_socket(left, server_hostname="x", do_handshake_on_connect=False)
        assert type(wrapped) is ssl.SSLSocket
        wrapped.close()
