"""``ustack get``: an HTTP client whose TCP, IP and ICMP are ustack."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import socket
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from ustack.cli.complaint import Complaint, about_file
from ustack.cli.hosts import open_host
from ustack.cli.network import add_network_arguments, check_kernel, resolve, wanted_addresses
from ustack.cli.text import host_text, rate_text, size_text, time_text
from ustack.cli.values import shown
from ustack.cli.values import time as seconds

PIECE = 1 << 20
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 10

Connector = Callable[[str, int], Any]
"""A connected socket to a host and port."""


EXAMPLES = """\
examples, in a network of their own (sudo unshare -n bash), with a server on the kernel's side
(python3 -m http.server 80 &):
  ustack get http://198.18.0.1/ -o -
  ustack get http://198.18.0.1/large -o /dev/null --impair loss=1%,delay=20ms
  ustack get http://198.18.0.1/ -o - --trace     each decision of the stack, with its reason
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.epilog = EXAMPLES
    parser.add_argument("url", metavar="URL", help="such as http://198.18.0.1/file, from a server on the kernel's side")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="the file to write (the last part of the URL); - is standard output"
    )
    parser.add_argument(
        "--timeout",
        type=seconds(0.001),
        default=60.0,
        metavar="SECONDS",
        help="give up after SECONDS without data (60)",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar, no closing line")
    parser.add_argument(
        "--kernel", action="store_true", help="use the kernel's sockets instead of ustack's, to compare"
    )
    add_network_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Fetches; 0 when the server answered 2xx and every byte is here."""
    _check_url(options.url)
    check_kernel(options)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if options.kernel:
        return _fetch(options, console, lambda host, port: socket.create_connection((host, port), options.timeout))
    addresses = wanted_addresses(options)
    with open_host(options, addresses, console) as opened:

        def connect(host: str, port: int) -> Any:
            family, target = resolve(host, port, addresses)
            found = opened.host.socket(family)
            found.settimeout(options.timeout)
            found.connect(target)
            return found

        return _fetch(options, console, connect)


def _check_url(url: str) -> urllib.parse.SplitResult:
    try:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme == "http" and parts.hostname and (parts.port is None or parts.port > 0) and url.isprintable():
            return parts
    except ValueError:
        pass
    raise Complaint(f"{shown(url)} is no URL that ustack fetches; write it like http://198.18.0.1/file.", 2)


class _Connection(http.client.HTTPConnection):
    """http.client over a socket from ``connector``."""

    def __init__(self, host: str, port: int, connector: Connector) -> None:
        super().__init__(host, port)
        self._connector = connector

    def connect(self) -> None:
        self.sock = self._connector(self.host, self.port)


def _fetch(options: argparse.Namespace, console: Console, connector: Connector) -> int:
    url = options.url
    for _ in range(_MOST_REDIRECTS):
        parts = _check_url(url)
        connection = _Connection(parts.hostname or "", parts.port or 80, connector)
        try:
            with contextlib.closing(connection):
                next_url = _one_request(options, console, connection, parts)
        except (OSError, http.client.HTTPException) as error:
            raise _about(parts, options, error) from None
        if not next_url:
            return 0
        url = urllib.parse.urljoin(url, next_url)
    raise Complaint(f"{options.url} redirects for ever.")


def _one_request(
    options: argparse.Namespace, console: Console, connection: _Connection, parts: urllib.parse.SplitResult
) -> str:
    """Stores the answer; or returns where it says that the file is."""
    target = urllib.parse.quote(parts.path or "/", safe="/%:@!$&'()*+,;=~") + (f"?{parts.query}" if parts.query else "")
    begun = time.monotonic_ns()
    connection.request("GET", target, headers={"User-Agent": "ustack", "Accept": "*/*", "Connection": "close"})
    response = connection.getresponse()
    location = response.getheader("Location")
    if response.status in _REDIRECTS and location:
        return location
    if not 200 <= response.status < 300:
        raise Complaint(f"{parts.geturl()}: the server answered {response.status} {response.reason}.")
    name = options.output or Path(urllib.parse.unquote(parts.path)).name or "index.html"
    total = response.length
    with _output(name) as file, _progress(options, console, name, response.length) as advance:
        moved = _copy(response, file, advance, lambda moved: _say_ended(options, console, name, moved, total))
    if response.length:  # http.client counts down what it was promised
        raise Complaint(f"{parts.geturl()}: the connection ended {size_text(response.length)} too early.")
    if not options.quiet:
        elapsed = time.monotonic_ns() - begun
        console.print(
            f"{'' if name == '-' else name + ': '}{size_text(moved)} in {time_text(elapsed)}, "
            f"{rate_text(moved, elapsed)}", markup=False,
        )  # fmt: skip
    return ""


def _copy(
    response: http.client.HTTPResponse,
    file: BinaryIO,
    advance: Callable[[int], None],
    ended: Callable[[int], None],
) -> int:
    moved = 0
    try:
        while piece := response.read1(PIECE):
            file.write(piece)
            moved += len(piece)
            advance(len(piece))
    except KeyboardInterrupt:
        ended(moved)
        raise
    return moved


def _say_ended(options: argparse.Namespace, console: Console, name: str, moved: int, total: int | None) -> None:
    if not options.quiet:
        whole = f" of {size_text(total)}" if total is not None else ""
        console.print(f"{'' if name == '-' else name + ': '}{size_text(moved)}{whole}, then ended", markup=False)


@contextlib.contextmanager
def _output(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        file = open(name, "wb", buffering=0)  # noqa: SIM115 (closed below)
    except OSError as error:
        raise about_file(name, error) from None
    with file:
        yield file


@contextlib.contextmanager
def _progress(
    options: argparse.Namespace, console: Console, name: str, total: int | None
) -> Iterator[Callable[[int], None]]:
    """A bar where a person looks at it."""
    if options.quiet or not console.is_terminal:
        yield lambda count: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(name, total=total)
        yield lambda count: progress.advance(task, count)


def _about(parts: urllib.parse.SplitResult, options: argparse.Namespace, error: Exception) -> Complaint:
    """Why there is no answer, and what to do."""
    where = host_text(parts.hostname or "", parts.port or 80)
    if isinstance(error, ConnectionRefusedError):
        return Complaint(
            f"{where} refused the connection: nothing listens there. Start a server on the kernel's side, "
            f"for example: python3 -m http.server {parts.port or 80} --bind {parts.hostname}"
        )
    if isinstance(error, TimeoutError):
        return Complaint(f"{where} did not answer in time (--timeout {options.timeout:g}).")
    if isinstance(error, OSError):
        return Complaint(f"{where}: {error.strerror or error}.")
    return Complaint(f"{where} answered with something that is not HTTP ({type(error).__name__}: {error}).")
