"""The HTTP server on the kernel's loopback: what it does is the same on any socket."""

from __future__ import annotations

import gc
import http.client
import io
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue

import pytest

from ustack.cli.httpd import intake, server
from ustack.cli.httpd.exchange import LARGE_PIECES, PIECE, SMALL
from ustack.cli.httpd.server import FileServer

PATIENCE_S = 30
BIG = 3_000_000


class Site:
    """A server on a port of its own."""

    def __init__(
        self, folder: Path, *, read_only: bool = False, most_connections: int = server.MOST_CONNECTIONS
    ) -> None:
        self.folder = folder
        self.log: Queue[str] = Queue()
        listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = listener.getsockname()[1]
        self.server = FileServer(listener, folder, self.log.put, read_only=read_only, most_connections=most_connections)
        self._thread = threading.Thread(target=self.server.run)
        self._thread.start()

    def line(self) -> str:
        return self.log.get(timeout=PATIENCE_S)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, bytes, dict[str, str]]:
        connection = self.connect()
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})  # type: ignore[arg-type]
            response = connection.getresponse()
            return response.status, response.read(), dict(response.getheaders())
        finally:
            connection.close()

    def raw(self, request: bytes) -> bytes:
        """Everything that comes back for these bytes, until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
            return answer

    def stop(self) -> None:
        self.server._stopping.set()
        socket.create_connection(("127.0.0.1", self.port)).close()  # a close() does not wake the kernel's accept()
        self._thread.join(PATIENCE_S)
        self.server.stop()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "hello.txt").write_bytes(b"hello\n")
    (tmp_path / "big.bin").write_bytes(os.urandom(BIG))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "index.html").write_text("<p>index</p>")
    made = Site(tmp_path)
    yield made
    made.stop()


def test_a_file(site: Site) -> None:
    status, body, headers = site.ask("GET", "/hello.txt")
    assert (status, body) == (200, b"hello\n")
    assert headers["Content-Type"] == "text/plain"
    assert headers["Content-Length"] == "6"
    assert '"GET /hello.txt HTTP/1.1" 200 6 bytes' in site.line()


def test_a_large_file(site: Site) -> None:
    status, body, _ = site.ask("GET", "/big.bin")
    assert status == 200
    assert body == (site.folder / "big.bin").read_bytes()
    assert "bit/s" in site.line()


def test_head_has_no_body(site: Site) -> None:
    status, body, headers = site.ask("HEAD", "/big.bin")
    assert (status, body, headers["Content-Length"]) == (200, b"", str(BIG))


def test_a_listing_and_an_index(site: Site) -> None:
    (site.folder / "a&b <c>.txt").touch()
    status, body, _ = site.ask("GET", "/")
    assert status == 200
    assert b"a&amp;b &lt;c&gt;.txt" in body
    assert b'href="./a%26b%20%3Cc%3E.txt"' in body
    assert site.ask("GET", "/sub/")[1] == b"<p>index</p>"
    status, _, headers = site.ask("GET", "/sub")
    assert (status, headers["Location"]) == (301, "/sub/")


def test_a_double_slash_is_not_a_redirect_to_another_host(site: Site) -> None:
    (site.folder / "evil.example").mkdir()
    _, _, headers = site.ask("GET", "//evil.example/../sub")
    assert not headers.get("Location", "/").startswith("//")


@pytest.mark.parametrize("path", ["/../secret", "/%2e%2e/secret", "/sub/../../secret", "/link/secret", "/%00"])
def test_nothing_outside_of_the_folder(site: Site, tmp_path_factory: pytest.TempPathFactory, path: str) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret").write_text("secret")
    (site.folder / "link").symlink_to(outside)
    assert site.ask("GET", path)[0] == 403
    assert site.ask("PUT", path, b"x")[0] == 403
    assert (outside / "secret").read_text() == "secret"


def test_not_there(site: Site) -> None:
    assert site.ask("GET", "/nothing")[0] == 404
    assert site.ask("GET", "/hello.txt/below")[0] == 404


def test_a_range(site: Site) -> None:
    whole = (site.folder / "big.bin").read_bytes()
    status, body, headers = site.ask("GET", "/big.bin", Range="bytes=1000000-2999998")
    assert (status, headers["Content-Range"]) == (206, f"bytes 1000000-2999998/{BIG}")
    assert body == whole[1_000_000:2_999_999]
    assert site.ask("GET", "/big.bin", Range="bytes=-3")[1] == whole[-3:]
    status, _, headers = site.ask("GET", "/big.bin", Range=f"bytes={BIG}-")
    assert (status, headers["Content-Range"]) == (416, f"bytes */{BIG}")


def test_several_ranges(site: Site) -> None:
    status, body, headers = site.ask("GET", "/hello.txt", Range="bytes=0-0,2-3")
    assert status == 206
    boundary = headers["Content-Type"].partition("boundary=")[2].encode()
    parts = body.split(b"--" + boundary)
    assert [part.partition(b"\r\n\r\n")[2] for part in parts[1:3]] == [b"h\r\n", b"ll\r\n"]
    assert parts[3] == b"--\r\n"


def test_a_range_of_another_version_of_the_file(site: Site) -> None:
    tag = site.ask("HEAD", "/hello.txt")[2]["ETag"]
    assert site.ask("GET", "/hello.txt", Range="bytes=0-0", If_Range=tag)[0] == 206
    assert site.ask("GET", "/hello.txt", Range="bytes=0-0", If_Range='"old"')[0] == 200


def test_not_modified(site: Site) -> None:
    _, _, headers = site.ask("GET", "/hello.txt")
    assert site.ask("GET", "/hello.txt", If_None_Match=headers["ETag"])[0] == 304
    assert site.ask("GET", "/hello.txt", If_Modified_Since=headers["Last-Modified"])[0] == 304
    assert site.ask("GET", "/hello.txt", If_None_Match='"other"')[0] == 200
    assert site.ask("GET", "/hello.txt", If_Modified_Since="nonsense")[0] == 200


def test_an_upload_is_new_and_then_replaced(site: Site) -> None:
    assert site.ask("PUT", "/new/deep/file", b"one")[0] == 201
    assert site.ask("PUT", "/new/deep/file", b"two!")[0] == 204
    assert (site.folder / "new" / "deep" / "file").read_bytes() == b"two!"
    assert site.ask("GET", "/new/deep/file")[1] == b"two!"


def test_a_large_upload(site: Site) -> None:
    data = os.urandom(BIG)
    assert site.ask("PUT", "/up.bin", data)[0] == 201
    assert (site.folder / "up.bin").read_bytes() == data


def test_a_chunked_upload(site: Site) -> None:  # http.client does that for what has no length
    pieces = [os.urandom(size) for size in (1, 100_000, 7)]
    assert site.ask("PUT", "/up.bin", iter(pieces))[0] == 201
    assert (site.folder / "up.bin").read_bytes() == b"".join(pieces)


def test_an_empty_upload(site: Site) -> None:
    assert site.ask("PUT", "/empty", b"")[0] == 201
    assert (site.folder / "empty").read_bytes() == b""


def test_keep_alive_after_an_upload(site: Site) -> None:
    connection = site.connect()
    for _ in range(3):
        connection.request("PUT", "/up.bin", b"x" * 100_000)
        assert connection.getresponse().read() == b""
        connection.request("GET", "/up.bin")
        assert len(connection.getresponse().read()) == 100_000
    connection.close()


def test_expect_continue(site: Site) -> None:
    answer = site.raw(
        b"PUT /up HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nok"
        b"GET /up HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n")
    assert answer.endswith(b"\r\n\r\nok")


def test_expect_continue_where_it_cannot_be_stored(site: Site) -> None:
    answer = site.raw(b"PUT /sub HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 409 Conflict\r\n")
    assert b"Connection: close" in answer
    assert b"100 Continue" not in answer


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"Content-Length: 2\r\nContent-Range: bytes 0-1/5", b"400"),
        (b"Transfer-Encoding: gzip", b"501"),
        (b"Content-Length: two", b"400"),
        (b"Content-Length: -2", b"400"),
        (b"Content-Length: 2\r\nContent-Length: 3", b"400"),
        (b"Content-Length: 2\r\nTransfer-Encoding: chunked", b"400"),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 2", b"400"),
        (b"Transfer-Encoding: chunked, chunked", b"501"),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", b"501"),
        (b"Content-Length : 2", b"400"),
        (b"Content-Length: 2\r\n folded: yes", b"400"),
        (b"no colon\r\nContent-Length: 2", b"400"),
        (b"Content-Length: 2\r\nHost: y", b"400"),
        (b"Content-Length: 2\r\nX: a\x00b", b"400"),
        (b"Content-Length: 2\r\nX: a\rb: c", b"400"),
        (b"X: a\rContent-Length: 2", b"400"),
        (b"X: a\r\rContent-Length: 2", b"400"),
        (b"X: y\r\n" * 200 + b"Content-Length: 2", b"431"),
        ((b"X: " + b"y" * 60_000 + b"\r\n") * 2 + b"Content-Length: 2", b"431"),
        (b"", b"411"),
    ],
)
def test_uploads_that_are_refused(site: Site, head: bytes, status: bytes) -> None:
    answer = site.raw(b"PUT /up HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\nok")
    assert answer.split()[1] == status
    assert not (site.folder / "up").exists()


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 10\r\n\r\nshort",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n1_0\r\n" + b"x" * 16 + b"\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n 3\r\nabc\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n3;" + b"x" * 2000 + b"\r\nabc\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * 17 + b"3\r\nabc\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 200 + b"\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n0\r\na: " + b"b" * 9000 + b"\r\n\r\n",
    ],
)
def test_half_an_upload_is_not_stored(site: Site, body: bytes) -> None:
    before = sorted(path.name for path in site.folder.iterdir())
    answer = site.raw(b"PUT /up HTTP/1.1\r\nHost: x\r\n" + body)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"nothing was stored" in answer
    assert "PUT /up" in site.line()
    assert sorted(path.name for path in site.folder.iterdir()) == before


def test_read_only(tmp_path: Path) -> None:
    site = Site(tmp_path, read_only=True)
    try:
        status, _, headers = site.ask("PUT", "/up", b"x")
        assert (status, headers["Allow"]) == (405, "GET, HEAD")
    finally:
        site.stop()


def test_other_methods_and_nonsense(site: Site) -> None:
    assert site.ask("POST", "/hello.txt", b"x")[0] == 501
    assert b" 400 " in site.raw(b"GET / HTTP/banana\r\n\r\n").split(b"\r\n")[0]
    assert b"400" in site.raw(b"nonsense\r\n\r\n")
    assert b"414" in site.raw(b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n")


def test_http_1_0_closes(site: Site) -> None:
    assert site.raw(b"GET /hello.txt HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\nhello\n")


def test_pipelined_requests(site: Site) -> None:
    answer = site.raw(b"GET /hello.txt HTTP/1.1\r\nHost: x\r\n\r\n" * 5)
    assert answer.count(b"HTTP/1.1 200 OK") == answer.count(b"\r\n\r\nhello\n") == 5


def test_the_body_of_a_get_is_not_the_next_request(site: Site) -> None:
    answer = site.raw(b"GET /hello.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 18\r\n\r\nGET /big.bin HTTP/1")
    assert answer.count(b"HTTP/1.1") == 1


def test_a_log_line_cannot_be_forged(site: Site) -> None:
    site.raw(b"GET /a\x1b[31m\x85b HTTP/1.1\r\nHost: x\r\n\r\n")
    line = site.line()
    assert line.isprintable()
    assert "\\x1b" in line


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET http://[/x HTTP/1.1", b"400"),
        (b"GET http://x/hello.txt HTTP/1.1", b"200"),
        (b"GET * HTTP/1.1", b"400"),
        (b"GET x:80 HTTP/1.1", b"400"),
        (b"GET /" + b"a" * 5000 + b" HTTP/1.1", b"404"),
        (b"GET /" + b"a/" * 5000 + b" HTTP/1.1", b"404"),
        (b"HEAD /" + b"a" * 300 + b" HTTP/1.1", b"404"),
        (b"GET /%ff%fe HTTP/1.1", b"404"),
        (b"GET /fifo HTTP/1.1", b"403"),
        (b"GET /null HTTP/1.1", b"403"),
        (b"GET /locked/ HTTP/1.1", b"200"),
        (b"PUT /fifo HTTP/1.1\r\nContent-Length: 0", b"409"),
        (b"PUT /" + b"a" * 5000 + b" HTTP/1.1\r\nContent-Length: 0", b"403"),
        (b"PUT /up HTTP/1.1\r\nContent-Length: " + b"9" * 5000, b"400"),
        (b"PUT /up HTTP/1.0\r\nTransfer-Encoding: chunked", b"400"),
    ],
)
def test_requests_that_are_odd(
    site: Site, tmp_path_factory: pytest.TempPathFactory, line: bytes, status: bytes
) -> None:
    secret = tmp_path_factory.mktemp("outside") / "secret"
    secret.write_text("secret")
    os.mkfifo(site.folder / "fifo")
    (site.folder / "null").symlink_to("/dev/null")
    (site.folder / "locked").mkdir()
    (site.folder / "locked" / "index.html").symlink_to(secret)
    answer = site.raw(line + b"\r\nHost: x\r\n\r\n")
    assert answer.split()[1] == status
    assert b"secret" not in answer.replace(b"outside", b"")
    assert site.ask("GET", "/hello.txt")[0] == 200


@pytest.mark.parametrize(
    ("ranges", "status"),
    [
        ("bytes=" + "9" * 5000 + "-", 416),
        ("bytes=0-" + "9" * 5000, 206),
        ("bytes=-" + "9" * 5000, 206),
        ("bytes=" + "9" * 5000 + "-" + "9" * 4000, 416),
        ("bytes=0" * 100, 200),
    ],
)
def test_ranges_that_are_odd(site: Site, ranges: str, status: int) -> None:
    assert site.ask("GET", "/hello.txt", Range=ranges)[0] == status


def test_no_host(site: Site) -> None:
    assert site.raw(b"GET /hello.txt HTTP/1.1\r\n\r\n").split()[1] == b"400"


def test_one_connection_too_many(tmp_path: Path) -> None:
    site = Site(tmp_path, most_connections=2)
    try:
        held = [socket.create_connection(("127.0.0.1", site.port), PATIENCE_S) for _ in range(2)]
        for connection in held:
            connection.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 404"
        with socket.create_connection(("127.0.0.1", site.port), PATIENCE_S) as third:
            assert third.recv(12) == b"HTTP/1.1 503"
        for connection in held:
            connection.close()
        while site.ask("GET", "/")[0] == 503:
            pass
    finally:
        site.stop()


class Clock:
    """Time that passes by order."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


class Drip:
    """A socket that brings a byte each second."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def settimeout(self, seconds: float) -> None:
        self.timeout = seconds

    def recv_into(self, buffer: memoryview) -> int:
        self.clock.now += 1
        buffer[:1] = b"x"
        return 1


def test_a_slow_head_gains_no_time_by_each_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(intake, "time", clock)
    slow = intake.Intake(Drip(clock))
    slow.deadline = 30.0
    with pytest.raises(TimeoutError):
        io.BufferedReader(slow).readline()
    assert clock.now == 30.0


def test_slow_readers_share_few_large_buffers(site: Site) -> None:
    readers = [socket.create_connection(("127.0.0.1", site.port), PATIENCE_S) for _ in range(LARGE_PIECES + 20)]
    big = site.folder / "huge.bin"
    with open(big, "wb") as file:
        file.truncate(1 << 28)
    for reader in readers:
        reader.sendall(b"GET /huge.bin HTTP/1.1\r\nHost: x\r\n\r\n")
    for reader in readers:
        assert reader.recv(12) == b"HTTP/1.1 200"
    mine = [found for found in gc.get_objects() if isinstance(found, server.Request) and found.server is site.server]
    assert len(mine) == len(readers)
    assert sum(len(one._piece) for one in mine) <= LARGE_PIECES * PIECE + len(mine) * SMALL
    for reader in readers:
        reader.close()


def test_a_large_buffer_comes_back(site: Site) -> None:
    for _ in range(2 * LARGE_PIECES):
        assert len(site.ask("GET", "/big.bin")[1]) == BIG
    for _ in range(LARGE_PIECES):
        assert site.server.large_pieces.acquire(timeout=PATIENCE_S)
    assert len(site.ask("GET", "/big.bin")[1]) == BIG
