"""``Socket``: the standard library's ``socket.socket`` over a stack in user space.

Names, arguments, return values, exceptions and blocking rules are those of ``socket.socket`` on Linux; the calls
below them are the core's (``core.py``). What differs is written at the method: ``fileno``, ``detach``, ``sendfile``.
"""

from __future__ import annotations

import errno
import os
import socket
from operator import index
from typing import Any, Final, Self

from ustack.socket.address import Address, parse, present
from ustack.socket.arguments import is_int, judge
from ustack.socket.base import TO_READ, TO_WRITE
from ustack.socket.core import Core, failure
from ustack.socket.transfer import Transfer

DEFAULT_BACKLOG: Final = min(int(socket.SOMAXCONN), 128)


class Socket(Transfer):
    """A socket of one Host. Made by ``Host.socket()``; safe to use from several threads at once.

    close() while another thread blocks in a call on the same socket does what Linux does: that call goes on, and
    the socket lives until it returns; shutdown() wakes it at once. Only Host.close() ends every call: ENETDOWN."""

    __slots__ = ()

    def __init__(self, core: Core, proto: int = 0, timeout: float | None = None) -> None:
        super().__init__(core, proto, timeout)

    def bind(self, address: object, /) -> None:
        """Raises EADDRINUSE, EADDRNOTAVAIL, EINVAL (bound already)."""
        where = parse(self._family, self._kind, address, "bind")
        with self._lock, self._live() as core:
            core.bind(*where)

    def listen(self, backlog: int = DEFAULT_BACKLOG, /) -> None:
        if not is_int(backlog):
            judge(self._family, self._kind, "listen", backlog)
            backlog = index(backlog)
        with self._lock, self._live() as core:
            core.listen(max(backlog, 0))

    def accept(self) -> tuple[Self, Any]:
        """The next connection, in blocking mode, and its peer's address. Raises EINVAL when not listening."""
        with self._lock, self._live() as core:
            if not self._timeout:
                child = core.accept(self._timeout)
            else:
                child = self._patiently(core, lambda: core.accept(0), TO_READ)
            address = present(child.family, *child.accepted_from())
        found = type(self)(child, self._proto, socket.getdefaulttimeout())
        found._host = self._host
        return found, address

    def connect(self, address: object, /) -> None:
        """Raises what the connection ends with: ECONNREFUSED, ETIMEDOUT, ...; EINPROGRESS for a time-out of 0."""
        where = parse(self._family, self._kind, address, "connect")
        with self._lock, self._live() as core:
            code = self._connect(core, where)
        if code == errno.EWOULDBLOCK and self._timeout:
            raise TimeoutError("timed out")
        if code:
            raise failure(code)

    def connect_ex(self, address: object, /) -> int:
        """As connect(), but returns the errno; EAGAIN for a time-out that passed."""
        where = parse(self._family, self._kind, address, "connect_ex")
        if self._core is None:
            return errno.EBADF
        with self._lock, self._live() as core:
            return self._connect(core, where)

    def _connect(self, core: Core, where: Address) -> int:
        try:
            core.connect(*where, 0 if self._timeout else self._timeout)
        except OSError as error:
            if not (error.errno == errno.EINPROGRESS and self._timeout):
                return error.errno or 0
            if not core.wait(lambda: bool(core.poll() & TO_WRITE), core.now() + self._timeout):
                return errno.EWOULDBLOCK
            return core.take_error()
        return 0

    def shutdown(self, how: int, /) -> None:
        """SHUT_RD, SHUT_WR or SHUT_RDWR. Raises ENOTCONN, EINVAL."""
        if not is_int(how):
            judge(self._family, self._kind, "shutdown", how)
            how = index(how)
        with self._lock, self._live() as core:
            if how not in (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR):
                raise failure(errno.EINVAL)
            try:
                core.shutdown(how)
            finally:
                self._net.driver.wake(core)

    def dup(self) -> Self:
        """A second Socket for the same socket, with a descriptor of its own."""
        with self._lock, self._live() as core:
            fd = os.dup(core.descriptor())
            core.extra_fds.append(fd)
            core.references += 1
        twin = type(self)(core, self._proto, self._timeout_s)
        twin._host = self._host
        twin.take_descriptor(fd)
        return twin

    # For tools: what ioctl() tells about a kernel socket.

    def unread(self) -> int:
        """SIOCINQ (FIONREAD): bytes that wait to be read; the size of the next datagram."""
        with self._lock, self._live() as core:
            return core.unread()

    def unsent(self) -> int:
        """SIOCOUTQ: bytes in the send buffer, sent but not acknowledged included."""
        with self._lock, self._live() as core:
            return core.unsent()

    def poll(self) -> int:
        """poll(2)'s mask for this socket as it is now, without a descriptor."""
        with self._lock, self._live() as core:
            return core.poll()
