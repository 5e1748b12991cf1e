"""The HTTP server of ``ustack serve``: files out (with ranges), files in (PUT), connections kept alive.

It runs on any listening socket with the standard library's methods: the kernel's or ustack's.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ustack.cli.httpd.download import Downloads
from ustack.cli.httpd.exchange import GONE, LARGE_PIECES
from ustack.cli.httpd.upload import Uploads
from ustack.cli.text import host_text

_OUT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


MOST_CONNECTIONS = 512
"""Connections at the same time, a thread each."""

_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 10\r\nConnection: close\r\n\r\n"


class Request(Downloads, Uploads):
    """One connection to a FileServer."""


class FileServer(socketserver.ThreadingMixIn, socketserver.BaseServer):
    """Serves ``directory`` on a listening socket; one thread for each connection.

    ``log`` gets one line for each request. ``most_requests`` on one connection, then the server closes it (0: no
    limit). :meth:`run` returns after :meth:`stop`.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        listener: Any,
        directory: Path,
        log: Callable[[str], None],
        *,
        read_only: bool = False,
        most_requests: int = 0,
        most_connections: int = MOST_CONNECTIONS,
    ) -> None:
        super().__init__(listener.getsockname(), Request)
        self.socket = listener
        self.directory = directory.resolve()
        self.read_only = read_only
        self.most_requests = most_requests
        self.umask = os.umask(0o022)
        os.umask(self.umask)
        self.most_connections = most_connections
        self.large_pieces = threading.BoundedSemaphore(LARGE_PIECES)
        self._places = threading.BoundedSemaphore(most_connections)
        self._log = log
        self._log_lock = threading.Lock()
        self._stopping = threading.Event()

    def log(self, line: str) -> None:
        """One line, whole, however many threads write."""
        with self._log_lock:
            self._log(line)

    def run(self) -> None:
        """Accepts until stop()."""
        while not self._stopping.is_set():
            try:
                connection, address = self.socket.accept()
            except OSError as error:
                if self._stopping.is_set():
                    return
                if error.errno in _OUT_OF:
                    self.log(f"a connection must wait: {error.strerror}")
                    time.sleep(0.1)  # until another connection ends
                elif error.errno != errno.ECONNABORTED:
                    raise
                continue
            if not self._places.acquire(blocking=False):
                self._turn_away(connection, address)
                continue
            try:
                self.process_request(connection, address)
            except RuntimeError as error:  # no more threads
                self._places.release()
                self.log(f"a connection is refused: {error}")
                connection.close()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def _turn_away(self, connection: Any, address: Any) -> None:
        """One connection too many: it is told so without waiting, and costs nothing more."""
        self.log(f"{host_text(*address[:2])} is refused: {self.most_connections} connections are open")
        with contextlib.suppress(OSError):
            connection.setblocking(False)
            connection.send(_BUSY)
        self.shutdown_request(connection)

    def stop(self) -> None:
        """No more connections."""
        self._stopping.set()
        self.socket.close()

    def shutdown_request(self, request: Any) -> None:
        """A FIN for the client, then the socket is given back."""
        with contextlib.suppress(OSError):
            request.shutdown(socket.SHUT_WR)
        request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that ends in an exception: nothing for the network's faults, a line for others."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError) and (
            self._stopping.is_set() or error.errno in GONE or isinstance(error, TimeoutError)
        ):
            return
        self.log(f"{host_text(*client_address[:2])} - {type(error).__name__}: {error}")
