"""``Host``: one stack with its device, and the sockets on it."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
import warnings
import weakref
from collections.abc import Callable
from operator import index
from typing import Any, Final, Self

from ustack.counters import Counters
from ustack.driver.lock import PoliteLock
from ustack.socket import tls
from ustack.socket.arguments import is_int
from ustack.socket.core import Attachment, Driver, failure
from ustack.socket.datagram import DatagramCore
from ustack.socket.socket import DEFAULT_BACKLOG, Socket
from ustack.socket.stream import StreamCore
from ustack.stack.stack import Stack
from ustack.trace import Event, Trace, trace

AF_INET: Final = int(socket.AF_INET)
FLAGS: Final = int(socket.SOCK_NONBLOCK) | int(socket.SOCK_CLOEXEC)
SOCK_MAX: Final = 11
IPPROTO_MAX: Final = 263
_UNSET: Final[Any] = vars(socket).get("_GLOBAL_DEFAULT_TIMEOUT") or object()
"""The standard library's own: http.client and its like hand it to whatever makes their connections."""


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
        tls.install()
        _hosts.add(self)

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
        if not (is_int(family) and is_int(type) and is_int(proto)):
            socket.socket(family, type, proto).close()  # raises what is wrong with them
            family, type, proto = index(family), index(type), index(proto)  # noqa: A001
        family = int(socket.AF_INET) if family == -1 else int(family)
        kind = int(socket.SOCK_STREAM) if type == -1 else int(type)
        proto = 0 if proto == -1 else int(proto)
        core_type = _core_type(family, kind & ~FLAGS, proto)
        timeout = 0.0 if kind & socket.SOCK_NONBLOCK else socket.getdefaulttimeout()
        with self.driver.lock:
            if self._net.closed:
                raise self._net.gone()
            core = core_type(self._net, family)
        return self._owned(Socket(core, proto, timeout))

    def _owned(self, found: Socket) -> Socket:
        found._host = self
        return found

    def _attach(self, fileno: int) -> Socket:
        with self.driver.lock:
            core = self._net.detached.pop(fileno, None)
        if core is None:
            socket.socket(fileno=fileno).detach()  # raises what is wrong with it
            raise failure(errno.ENOTSOCK)
        attached = self._owned(Socket(core, core.protocol, socket.getdefaulttimeout()))
        if fileno in core.extra_fds:
            attached.take_descriptor(fileno)
        return attached

    def create_connection(
        self,
        address: tuple[str | None, int | str | None],
        timeout: float | None = _UNSET,
        source_address: tuple[str, int] | None = None,
        *,
        all_errors: bool = False,
    ) -> Socket:
        """As ``socket.create_connection()``: every address of the host is tried, as the machine's resolver orders them.
        The port may be the name of a service."""
        host, port = address
        errors: list[Exception] = []
        for family, _, _, _, target in socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM):
            try:
                return self._connected(family, target, timeout, source_address)
            except OSError as error:
                if not all_errors:
                    errors.clear()
                errors.append(error)
        if not errors:
            raise OSError("getaddrinfo returns an empty list")
        try:
            if all_errors:
                raise ExceptionGroup("create_connection failed", errors)
            raise errors[0]
        finally:
            errors.clear()

    def _connected(self, family: int, target: object, timeout: float | None, source: object) -> Socket:
        found = self.socket(family)
        try:
            if timeout is not _UNSET:
                found.settimeout(timeout)
            if source:
                found.bind(source)
            found.connect(target)
        except BaseException:
            found.close()
            raise
        return found

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

    def trace(
        self,
        tell: Callable[[Event], object],
        *,
        counters: bool = False,
        complain: Callable[[str], object] | None = None,
    ) -> Trace:
        """Calls ``tell`` with each thing that the stack does from now on (:mod:`ustack.trace`), with its reason.

        Events come in order, on the thread that runs the stack, so ``tell`` must be quick. ``counters``: every counter
        that moves, too. The trace ends with ``close()`` of what is returned, or with its ``with`` statement; what
        ``tell`` raises ends it, with a RuntimeWarning or a call of ``complain``."""
        with self.driver.lock:
            return trace(self.stack, tell, counters=counters, complain=complain)

    def close(self) -> None:
        """Reset what is connected, end every blocked call (ENETDOWN), give the device back. Twice is harmless."""
        with self.driver.lock:
            if self._net.closed:
                return
            with contextlib.suppress(OSError):  # a stack that has failed cannot reset its connections any more
                self._net.shut_down()
        if self._on_close is not None:
            self._on_close()

    def forked(self) -> None:
        """In the child of a fork() every call fails with a sentence; close() does nothing."""
        self._net.forked()

    def __del__(self) -> None:
        """A Host that owns its device gives it back at the latest when nobody knows the Host or a socket of it."""
        if self.__dict__.get("_on_close") is None or self._net.closed:
            return
        warnings.warn(f"unclosed {self!r}", ResourceWarning, 2, source=self)
        lock = self.driver.lock
        if isinstance(lock, PoliteLock) and lock.is_mine():
            # The collector came upon it in the middle of the stack's own work, which must end first.
            threading.Thread(target=self.close, name="ustack close").start()
        else:
            self.close()

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
    if 0 <= kind < SOCK_MAX and not 0 <= proto < IPPROTO_MAX:
        raise failure(errno.EINVAL)
    if kind == socket.SOCK_STREAM and proto in (0, socket.IPPROTO_TCP):
        return StreamCore
    if kind == socket.SOCK_DGRAM and proto in (0, socket.IPPROTO_UDP):
        return DatagramCore
    if kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):
        raise failure(errno.EPROTONOSUPPORT)
    raise failure(errno.ESOCKTNOSUPPORT if 0 <= kind < SOCK_MAX else errno.EINVAL)


_hosts: weakref.WeakSet[Host] = weakref.WeakSet()


def _forked() -> None:
    for host in list(_hosts):
        host.forked()


os.register_at_fork(after_in_child=_forked)
