"""One connection's requests, one after the other: what downloads and uploads have in common."""

from __future__ import annotations

import contextlib
import errno
import http.server
import time
import urllib.parse
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol

from ustack.cli.text import host_text, rate_text, size_text, time_text

PIECE = 1 << 20
"""Bytes handed to the socket at once: large enough that Python's cost per call does not count."""
SMALL = 1 << 16
"""A body up to this size goes into the same buffer as the head, and leaves in one call."""
IDLE_TIMEOUT_S = 75.0
"""A connection that brings nothing for so long is closed (nginx's keepalive_timeout)."""
PIECE_TIMEOUT_S = 600.0
"""So long a client may take for one PIECE: 14 kbit/s."""
GONE = (errno.EPIPE, errno.ECONNRESET, errno.ETIMEDOUT, errno.ENETDOWN, errno.EHOSTUNREACH, errno.ENETUNREACH)
"""What a connection's end looks like when the client, or the network, made it."""


class BodyError(Exception):
    """A body cannot be read, or sent, to its end: only the end of the connection can tell the client."""


class Settings(Protocol):
    """What a request asks its server."""

    directory: Path
    read_only: bool
    umask: int
    most_requests: int

    def log(self, line: str) -> None: ...


class Exchange(http.server.BaseHTTPRequestHandler):
    """One connection. ``do_GET`` and the like call :meth:`_serve`."""

    protocol_version = "HTTP/1.1"
    server_version = "ustack"
    sys_version = ""
    timeout = IDLE_TIMEOUT_S
    disable_nagle_algorithm = True
    wbufsize = SMALL + 8192
    settings: Settings

    def setup(self) -> None:
        super().setup()
        self.settings = self.server  # type: ignore[assignment]
        self._piece = bytearray()
        self._requests = 0
        self._begun = 0
        self._status = 0
        self._moved = 0

    # The life of one request

    def parse_request(self) -> bool:
        self._begun = time.monotonic_ns()
        self._status = 0
        self._moved = 0
        self._requests += 1
        understood = super().parse_request()
        if self._requests == self.settings.most_requests:
            self.close_connection = True
        return understood

    def send_response(self, code: int, message: str | None = None) -> None:
        self._status = code
        super().send_response(code, message)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing: a line is written when the request is over, with what was moved."""

    def log_error(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        """Nothing: the status stands in the request's line."""

    def _serve(self, answer: Callable[[], None]) -> None:
        """Runs ``answer`` and writes the line of the log."""
        note = ""
        try:
            if not self.close_connection and self.command != "PUT" and self._has_body():
                self.close_connection = True  # a body nobody reads would be taken for the next request
            answer()
            self.wfile.flush()
        except BodyError as error:
            note = str(error)
            self.close_connection = True
        except TimeoutError:
            note = "timed out"
            self.close_connection = True
        except OSError as error:
            if error.errno not in GONE:
                raise
            note = "the client went away"
            self.close_connection = True
        self.settings.log(self._line(note))

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server refuses by itself: bad request lines, headers without end, methods unknown here."""
        status = HTTPStatus(code)
        self.close_connection = True
        self.request_version = self.protocol_version  # of a line that made no sense: with a status line all the same
        self._serve(lambda: self.refuse(status, (message or explain or status.description).rstrip(".")))

    def version_string(self) -> str:
        return self.server_version

    def _line(self, note: str) -> str:
        elapsed = time.monotonic_ns() - self._begun
        moved = f"{self._moved} bytes" if self._moved < SMALL else size_text(self._moved)
        rate = f", {rate_text(self._moved, elapsed)}" if self._moved >= SMALL else ""
        request = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in self.requestline)
        head = f'{host_text(*self.client_address[:2])} "{request}" {self._status or "-"} {moved}'
        return f"{head} in {time_text(elapsed)}{rate}{' - ' if note else ''}{note}"

    def _has_body(self) -> bool:
        return "Transfer-Encoding" in self.headers or self.headers.get("Content-Length", "0").strip() not in ("", "0")

    def refuse(self, status: HTTPStatus, reason: str, *headers: tuple[str, str]) -> None:
        """A short answer in plain text."""
        body = f"{status.value} {status.phrase}: {reason}\n".encode()
        self._head(status, len(body), ("Content-Type", "text/plain; charset=utf-8"), *headers)
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: HTTPStatus, length: int, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        if status is not HTTPStatus.NOT_MODIFIED and status is not HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(length))
        for name, value in headers:
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        elif self.request_version == "HTTP/1.0":
            self.send_header("Connection", "keep-alive")
        self.end_headers()

    # Where a request points

    def _target(self) -> Path | None:
        """The file or folder that the request names; None when that lies outside the served folder."""
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path, errors="surrogateescape")
        if "\0" in path:
            return None
        target = self.settings.directory.joinpath(*(part for part in path.split("/") if part not in ("", ".")))
        if ".." in path.split("/"):
            return None
        with contextlib.suppress(OSError, RuntimeError):
            if target.resolve().is_relative_to(self.settings.directory):
                return target
        return None

    # Bodies

    def _buffer(self, length: int) -> memoryview:
        """Room for a piece, kept for the connection's next request."""
        wanted = min(length, PIECE)
        if len(self._piece) < wanted:
            self._piece = bytearray(wanted)
        return memoryview(self._piece)
