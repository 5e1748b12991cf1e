"""The four services (sink, source, echo, request) over blocking sockets, a thread for each connection."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import common


def sink(flow: Any, buffer: bytearray) -> None:
    """Every byte goes into the application's buffer; the count is the answer."""
    total = 0
    while got := flow.recv_into(buffer):
        total += got
    flow.sendall(total.to_bytes(8, "little"))


def source(flow: Any, buffer: bytearray) -> None:
    """Sends until the peer is gone."""
    while True:
        flow.sendall(buffer)


def echo(flow: Any, buffer: bytearray) -> None:
    """Sends back what comes."""
    while data := flow.recv(4096):
        flow.sendall(data)


def request(flow: Any, buffer: bytearray) -> None:
    """REPLY_SIZE bytes to each REQUEST_SIZE bytes."""
    have = 0
    reply = bytes(common.REPLY_SIZE)
    while data := flow.recv(4096):
        have += len(data)
        while have >= common.REQUEST_SIZE:
            have -= common.REQUEST_SIZE
            flow.sendall(reply)


def serve(flow: Any, service: Callable[[Any, bytearray], None], size: int) -> None:
    """One connection to its end, however it ends."""
    with flow, contextlib.suppress(OSError):
        flow.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        service(flow, bytearray(size if service in (sink, source) else 0))


def accept(listener: Any, service: Callable[[Any, bytearray], None], size: int) -> None:
    """Short exchanges are served where they were accepted: a thread for each would be what is measured."""
    while True:
        flow, _ = listener.accept()
        if service is request:
            serve(flow, service, size)
        else:
            common.start_thread(serve, flow, service, size)


def main() -> None:
    """A listener for each service."""
    options = common.parser(__doc__ or "").parse_args()
    stack = common.Stack(options)
    for port, service in (
        (common.SINK, sink),
        (common.SOURCE, source),
        (common.ECHO, echo),
        (common.REQUEST, request),
    ):
        common.start_thread(accept, stack.listen(port), service, options.buffer)
    if options.busy:
        common.start_thread(common.spin)
    common.say_ready(options)
    threading.Event().wait()


if __name__ == "__main__":
    main()
