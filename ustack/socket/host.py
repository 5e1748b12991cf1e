"""``Host``: one stack with its device, and the sockets on it."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable
from typing import Any, Final, Self

from ustack.counters import Counters
from ustack.socket.core import Attachment, Driver, failure
from ustack.socket.datagram import DatagramCore
from ustack.socket.socket import DEFAULT_BACKLOG, Socket
from ustack.socket.stream import StreamCore
from ustack.stack.stack import Stack

AF_INET: Final = int(socket.AF_INET)
FLAGS: Final = int(socket.SOCK_NONBLOCK) | int(socket.SOCK_CLOEXEC)
_UNSET: Final[Any] = object()


class Host:
    """A host on a network: addresses, and sockets with the standard library's interface.

    ``ustack.open_tun()`` and ``ustack.open_device()`` make one with a driver of its own; a simulator or a test hands
    in a Stack and a driver (``lock now wait flush``, see ``core.Driver``). Close it, or use it in a ``with``
    statement: its sockets end with it."""

    def __init__(
        self, stack: Stack, driver: Driver, *, device_name: str = "", on_close: Callable[[], None] | None = None
    ) -> None:
        self.stack = stack
        self.driver = driver
        self._net = Attachment(stack, driver, device_name)
        self._on_close = on_close

    @property
    def counters(self) -> Counters:
        return self.stack.counters

    @property
    def device_name(self) -> str:
        return self._net.device_name

    def socket(
        self,
        family: int = -1,
        type: int = -1,  # noqa: A002 - the standard library's name
        proto: int = -1,
        fileno: int | None = None,
    ) -> Socket:
        """As ``socket.socket()``: AF_INET and AF_INET6, SOCK_STREAM and SOCK_DGRAM, SOCK_NONBLOCK and SOCK_CLOEXEC.

        ``fileno``: a number that ``Socket.detach()`` returned. Raises EAFNOSUPPORT, EPROTONOSUPPORT,
        ESOCKTNOSUPPORT, ENETDOWN after close()."""
        if fileno is not None:
            return self._attach(fileno)
        family = int(socket.AF_INET) if family == -1 else int(family)
        kind = int(socket.SOCK_STREAM) if type == -1 else int(type)
        proto = 0 if proto == -1 else int(proto)
        core_type = _core_type(family, kind & ~FLAGS, proto)
        timeout = 0.0 if kind & socket.SOCK_NONBLOCK else socket.getdefaulttimeout()
        with self.driver.lock:
            if self._net.closed:
                raise failure(errno.ENETDOWN)
            core = core_type(self._net, family)
        return Socket(core, proto, timeout)

    def _attach(self, fileno: int) -> Socket:
        if not isinstance(fileno, int):
            raise TypeError(f"integer argument expected, got {type(fileno).__name__}")
        if fileno < 0:
            raise ValueError("negative file descriptor")
        with self.driver.lock:
            core = self._net.detached.pop(fileno, None)
        if core is None:
            os.fstat(fileno)  # raises EBADF
            raise failure(errno.ENOTSOCK)
        attached = Socket(core, core.protocol, socket.getdefaulttimeout())
        if fileno in core.extra_fds:
            core.extra_fds.remove(fileno)
            attached.take_descriptor(fileno)
        return attached

    def create_connection(
        self,
        address: tuple[str, int],
        timeout: float | None = _UNSET,
        source_address: tuple[str, int] | None = None,
        *,
        all_errors: bool = False,
    ) -> Socket:
        """As ``socket.create_connection()``, for a numeric host or "localhost"."""
        host, port = address[:2]
        errors: list[Exception] = []
        for family, target in _numeric(host, port):
            found = self.socket(family)
            try:
                if timeout is not _UNSET:
                    found.settimeout(timeout)
                if source_address:
                    found.bind(source_address)
                found.connect(target)
            except OSError as error:
                found.close()
                errors.append(error)
            else:
                return found
        try:
            if all_errors:
                raise ExceptionGroup("create_connection failed", errors)
            raise errors[-1]
        finally:
            errors.clear()

    def create_server(
        self,
        address: tuple[str, int],
        *,
        family: int = AF_INET,
        backlog: int | None = None,
        reuse_port: bool = False,
        dualstack_ipv6: bool = False,
    ) -> Socket:
        """As ``socket.create_server()``: bound, listening, SO_REUSEADDR set."""
        if dualstack_ipv6 and family != socket.AF_INET6:
            raise ValueError("dualstack_ipv6 requires AF_INET6 family")
        server = self.socket(family, socket.SOCK_STREAM)
        try:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dualstack_ipv6 else 1)
            try:
                server.bind(address)
            except OSError as error:
                text = f"{error.strerror} (while attempting to bind on address {address!r})"
                raise OSError(error.errno, text) from None
            server.listen(DEFAULT_BACKLOG if backlog is None else backlog)
        except BaseException:
            server.close()
            raise
        return server

    def close(self) -> None:
        """Reset what is connected, end every blocked call (ENETDOWN), give the device back. Twice is harmless."""
        with self.driver.lock:
            if self._net.closed:
                return
            with contextlib.suppress(OSError):  # a stack that has failed cannot reset its connections any more
                self._net.shut_down()
        if self._on_close is not None:
            self._on_close()

    def __repr__(self) -> str:
        state = " closed" if self._net.closed else ""
        return f"<ustack.Host{state} device={self.device_name!r} sockets={len(self._net.cores)}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _core_type(family: int, kind: int, proto: int) -> type[StreamCore] | type[DatagramCore]:
    """Which core serves these three; the errno of Linux's socket(2) for what none does."""
    if family not in (socket.AF_INET, socket.AF_INET6):
        raise failure(errno.EAFNOSUPPORT)
    if kind == socket.SOCK_STREAM and proto in (0, socket.IPPROTO_TCP):
        return StreamCore
    if kind == socket.SOCK_DGRAM and proto in (0, socket.IPPROTO_UDP):
        return DatagramCore
    if kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):
        raise failure(errno.EPROTONOSUPPORT)
    raise failure(errno.ESOCKTNOSUPPORT if 0 <= kind < 11 else errno.EINVAL)


def _numeric(host: str, port: int) -> list[tuple[int, tuple[str, int]]]:
    """The families and addresses that ``host`` may mean; ``socket.gaierror`` for a name."""
    if host in ("localhost", ""):
        return [(socket.AF_INET6, ("::1", port)), (socket.AF_INET, ("127.0.0.1", port))]
    found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
    return [(int(entry[0]), (str(entry[4][0]), port)) for entry in found]
