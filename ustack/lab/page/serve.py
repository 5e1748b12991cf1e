"""``ustack lab --web``: the questions and their settings on 127.0.0.1, by the standard library's server.

Nothing but this machine's loopback is listened to, a request that names another host is refused (a page elsewhere could
point its own name at 127.0.0.1), and every page is made by a worker process with bounded time and memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import OrderedDict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from ustack.lab.language import chosen
from ustack.lab.page.shell import policy

ADDRESS = "127.0.0.1"
MOST_SECONDS = 30
MOST_QUERY = 2000
"""Letters of a link's settings."""
MOST_PAGES = 64
"""Pages that are kept, so that a link that was followed before is there at once."""
WORKERS = 2


class Refused(Exception):  # noqa: N818 - not a fault of the program
    """A request that gets a status and a sentence."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Pages:
    """Makes pages, ``WORKERS`` at a time, and keeps the last ones."""

    def __init__(self, known: frozenset[str], file: str = "") -> None:
        self.known = known
        self._file = file
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._turns = threading.BoundedSemaphore(WORKERS)

    def page(self, question: str, query: dict[str, str]) -> bytes:
        """The page of a question, or the index for ``""``. Raises Refused."""
        if question and question not in self.known:
            raise Refused(HTTPStatus.NOT_FOUND, "there is no such question; the list stands at /")
        lang = query.get("lang", chosen())
        wanted = {"question": question, "query": query, "lang": lang, "file": self._file}
        request = json.dumps(wanted, sort_keys=True)
        with self._lock:
            if request in self._kept:
                self._kept.move_to_end(request)
                return self._kept[request]
        page = self._make(request)
        with self._lock:
            self._kept[request] = page
            while len(self._kept) > MOST_PAGES:
                self._kept.popitem(last=False)
        return page

    def _make(self, request: str) -> bytes:
        if not self._turns.acquire(timeout=MOST_SECONDS):
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "other runs take long; try again in a minute")
        try:
            done = subprocess.run(
                [sys.executable, "-m", "ustack.lab.page.worker"],
                input=request.encode(),
                capture_output=True,
                timeout=MOST_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, _TOO_LONG) from None
        finally:
            self._turns.release()
        if done.returncode:
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, _TOO_LONG)
        return done.stdout


_TOO_LONG = "with these settings the run takes too much time or memory; go back and choose smaller ones"


class Handler(BaseHTTPRequestHandler):
    """GET of the index and of questions; everything else is refused."""

    server: Server
    timeout = MOST_SECONDS
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answers with a page."""
        try:
            self._check_host()
            parts = urlsplit(self.path)
            if len(parts.query) > MOST_QUERY:
                raise Refused(HTTPStatus.REQUEST_URI_TOO_LONG, "the settings in this link are too long")
            page = self.server.pages.page(unquote(parts.path).strip("/"), dict(parse_qsl(parts.query)))
        except Refused as refused:
            self._answer(refused.status, f"{refused}\n".encode(), "text/plain; charset=utf-8")
        else:
            self._answer(HTTPStatus.OK, page, "text/html; charset=utf-8")

    do_HEAD = do_GET  # noqa: N815 - the name that http.server calls

    def _check_host(self) -> None:
        port = self.server.server_address[1]
        if self.headers.get("Host", "") not in (f"{ADDRESS}:{port}", f"localhost:{port}"):
            raise Refused(HTTPStatus.MISDIRECTED_REQUEST, f"this server answers to {ADDRESS}:{port} only")

    def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Content-Security-Policy": policy(),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that http.server uses
        """Says nothing: the terminal belongs to the reader."""


class Server(ThreadingHTTPServer):
    """On 127.0.0.1, whatever else this machine has; ``port`` 0: any that is free. Raises OSError."""

    daemon_threads = True

    def __init__(self, port: int, pages: Pages) -> None:
        super().__init__((ADDRESS, port), Handler)
        self.pages = pages

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{ADDRESS}:{self.server_address[1]}/"
