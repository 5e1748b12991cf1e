"""What the system calls of virtual time share: descriptors and what stands behind them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Final

from ustack.packetdrill.symbols import SYMBOLS
from ustack.packetdrill.system import System
from ustack.packetdrill.virtualfiles import Disk, File
from ustack.socket.core import Attachment, Core
from ustack.socket.stream import StreamCore

DONTWAIT: Final = SYMBOLS["MSG_DONTWAIT"]
O_NONBLOCK: Final = SYMBOLS["O_NONBLOCK"]


def failed(code: int) -> OSError:
    """The failure of a system call."""
    return OSError(code, os.strerror(code))


class Watch:
    """One descriptor in an epoll instance."""

    def __init__(self, fd: int, events: int, data: int) -> None:
        self.fd = fd
        self.events = events
        self.data = data
        self.listed = True
        """EPOLLET: something has happened since the last report (or nothing was reported yet)."""
        self.disarmed = False


class Epoll:
    """An epoll instance."""

    def __init__(self) -> None:
        self.watches: dict[int, Watch] = {}


class VirtualBase(System):
    """``wait(ready, deadline)`` lets virtual time pass until ``ready()`` or the deadline (ns, None: for ever)."""

    def __init__(self, net: Attachment, wait: Callable[[Callable[[], bool], int | None], bool]) -> None:
        self.net = net
        self.cores: dict[int, Core] = {}
        self.epolls: dict[int, Epoll] = {}
        self.files: dict[int, File] = {}
        self.disk = Disk()
        self.flags: dict[int, int] = {}
        self.descriptor_flags: dict[int, int] = {}
        self._wait = wait
        self._next = 3

    def _add(self, core: Core, flags: int = 0) -> int:
        fd = self._number()
        self.cores[fd] = core
        self.flags[fd] = SYMBOLS["O_RDWR"] | flags
        return fd

    def _number(self) -> int:
        self._next += 1
        return self._next - 1

    def core(self, fd: int) -> Core:
        """The socket behind a descriptor. Raises ENOTSOCK, EBADF."""
        if fd in self.epolls or fd in self.files:
            raise failed(errno.ENOTSOCK)
        if fd not in self.cores:
            raise failed(errno.EBADF)
        return self.cores[fd]

    def stream(self, fd: int) -> StreamCore | None:
        core = self.cores.get(fd)
        return core if isinstance(core, StreamCore) else None

    def _check_open(self, fd: int) -> None:
        """Raises EBADF."""
        if fd not in self.cores and fd not in self.files and fd not in self.epolls:
            raise failed(errno.EBADF)

    def _limit(self, fd: int, flags: int = 0) -> int | None:
        return 0 if self.flags.get(fd, 0) & O_NONBLOCK or flags & DONTWAIT else None
