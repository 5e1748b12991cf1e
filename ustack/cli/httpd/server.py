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
from ustack.cli.httpd.exchange import GONE
from ustack.cli.httpd.upload import Uploads

_OUT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


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
    ) -> None:
        super().__init__(listener.getsockname(), Request)
        self.socket = listener
        self.directory = directory.resolve()
        self.read_only = read_only
        self.most_requests = most_requests
        self.umask = os.umask(0o022)
        os.umask(self.umask)
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
            self.process_request(connection, address)

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
        """A connection that ends in an exception: one line for the network's faults, a traceback for ours."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError) and (
            self._stopping.is_set() or error.errno in GONE or isinstance(error, TimeoutError)
        ):
            return
        super().handle_error(request, client_address)
