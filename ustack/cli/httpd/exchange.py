"""One connection's requests, one after the other: what downloads and uploads have in common."""

from __future__ import annotations

import contextlib
import errno
import http.server
import io
import os
import stat
import threading
import time
import urllib.parse
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol

from ustack.cli.httpd.intake import Head, Intake, content_length, head_fault
from ustack.cli.text import host_text, rate_text, size_text, time_text

PIECE = 1 << 20
"""Bytes handed to the socket at once: large enough that Python's cost per call does not count."""
SMALL = 1 << 16
"""A body up to this size goes into the same buffer as the head, and leaves in one call."""
QUICK_S = 0.1
"""A client that takes a piece within this (s) may have a large one."""
LARGE_PIECES = 16
"""Large buffers of a server, for its quick clients."""
IDLE_TIMEOUT_S = 75.0
"""A connection that brings nothing for so long is closed (nginx's keepalive_timeout)."""
HEAD_TIMEOUT_S = 30.0
"""So long a client may take for the head of a request, from its first byte to the last."""
GRACE_S = 60.0
SLOWEST = 1750
"""A body that moves at fewer bytes in a second than this, after a pause of GRACE_S, is given up: 14 kbit/s."""
GONE = (errno.EPIPE, errno.ECONNRESET, errno.ETIMEDOUT, errno.ENETDOWN, errno.EHOSTUNREACH, errno.ENETUNREACH)
"""What a connection's end looks like when the client, or the network, made it."""


class BadBodyError(Exception):
    """What a client sends is no body, or not all of it: it is told so, as far as it still listens."""


class BodyError(Exception):
    """A body cannot be read, or sent, to its end: only the end of the connection can tell the client."""


class Settings(Protocol):
    """What a request asks its server."""

    directory: Path
    read_only: bool
    umask: int
    most_requests: int
    large_pieces: threading.BoundedSemaphore

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
        self.rfile.close()
        self._intake = Intake(self.connection)
        self.rfile = io.BufferedReader(self._intake)
        self.settings = self.server  # type: ignore[assignment]
        self._piece = bytearray()
        self._is_lent = False
        self._requests = 0
        self._begun = 0
        self._status = 0
        self._moved = 0

    # The life of one request

    def handle_one_request(self) -> None:
        self._allow(self.timeout)
        try:
            if not self.rfile.peek(1):  # type: ignore[attr-defined]
                self.close_connection = True
                return
        except TimeoutError:
            self.close_connection = True
            return
        self._allow(HEAD_TIMEOUT_S)
        super().handle_one_request()

    def _allow(self, seconds: float) -> None:
        """So long from now on something may take to come in."""
        self._intake.deadline = time.monotonic() + seconds

    def parse_request(self) -> bool:
        self._begun = time.monotonic_ns()
        self._status = 0
        self._moved = 0
        self._requests += 1
        body = self.rfile
        head = Head(body)
        self.rfile = head  # type: ignore[assignment]
        try:
            understood = self._parse_head(head)
        finally:
            self.rfile = body
        if self._requests == self.settings.most_requests:
            self.close_connection = True
        return understood

    def _parse_head(self, head: Head) -> bool:
        if not super().parse_request():
            return False
        fault = "a header line is none" if head.has_bare_cr else head_fault(self.headers, self.request_version)
        if not fault and not self._path():
            fault = "the target is no path"
        if fault:
            self.send_error(HTTPStatus.BAD_REQUEST, fault)
        return not fault

    def _path(self) -> str:
        """The path of the request's target, as it came; "" when there is none."""
        try:
            path = urllib.parse.urlsplit(self.path).path
        except ValueError:
            return ""
        return path if path.startswith("/") else ""

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
        except Exception as error:
            self.close_connection = True
            note = self._why(error)
        self.settings.log(self._line(note))

    def _why(self, error: Exception) -> str:
        """What ended an exchange too early, for the log. The client is told where it can still understand it."""
        if isinstance(error, BodyError):
            return str(error)
        if isinstance(error, TimeoutError):
            return "timed out"
        if isinstance(error, OSError) and error.errno in GONE:
            return "the client went away"
        if not self._status:
            with contextlib.suppress(Exception):
                self.refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "this request cannot be answered")
                self.wfile.flush()
        return f"{type(error).__name__}: {error}"

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
        return "Transfer-Encoding" in self.headers or content_length(self.headers) > 0

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
        path = urllib.parse.unquote(self._path(), errors="surrogateescape")
        if "\0" in path:
            return None
        target = self.settings.directory.joinpath(*(part for part in path.split("/") if part not in ("", ".")))
        if ".." in path.split("/"):
            return None
        return target if self._is_inside(target) else None

    def _is_inside(self, target: Path) -> bool:
        """Whether the served folder holds it, wherever links may lead."""
        try:
            return target.resolve().is_relative_to(self.settings.directory)
        except (OSError, RuntimeError):
            return False

    # Bodies

    def _buffer(self, length: int) -> memoryview:
        """Room for a piece, kept for the connection's next request: little for a client that is slow."""
        wanted = min(length, PIECE if self._is_lent else SMALL)
        if len(self._piece) < wanted:
            self._piece = bytearray(wanted)
        return memoryview(self._piece)

    def _pace(self, begun: float) -> None:
        """A client that took the last piece quickly is lent a large buffer, while there is one; a slow one is not."""
        if time.monotonic() - begun >= QUICK_S:
            self._give_back()
        elif not self._is_lent and self.settings.large_pieces.acquire(blocking=False):
            self._is_lent = True

    def _give_back(self) -> None:
        """The large buffer is somebody else's."""
        if self._is_lent:
            self._is_lent = False
            self._piece = bytearray()
            self.settings.large_pieces.release()

    def finish(self) -> None:
        self._give_back()
        super().finish()


def kind_of(target: Path) -> int:
    """The type bits of a file's mode (``stat.S_IFMT``), links followed; 0 where there is nothing or no way to it."""
    try:
        return stat.S_IFMT(os.stat(target).st_mode)
    except (OSError, ValueError):
        return 0
