"""poll() and epoll in virtual time, over the poll masks of the sockets' cores."""

from __future__ import annotations

import errno
from typing import Final

from ustack.packetdrill.symbols import SYMBOLS
from ustack.packetdrill.virtualbase import Epoll, VirtualBase, Watch, failed
from ustack.socket.core import Core
from ustack.units import MILLISECOND

_ALWAYS: Final = SYMBOLS["POLLERR"] | SYMBOLS["POLLHUP"]
_EDGE: Final = SYMBOLS["EPOLLET"]
_ONESHOT: Final = SYMBOLS["EPOLLONESHOT"]


class Polls(VirtualBase):
    """Readiness of descriptors."""

    def _deadline(self, timeout_ms: int) -> int | None:
        return None if timeout_ms < 0 else self.net.driver.now() + timeout_ms * MILLISECOND

    def poll(self, watched: list[tuple[int, int]], timeout_ms: int) -> list[int]:
        def look() -> list[int]:
            return [self._ready(fd, events) for fd, events in watched]

        if timeout_ms and not any(look()):
            self._wait(lambda: any(look()), self._deadline(timeout_ms))
        return look()

    def _ready(self, fd: int, events: int) -> int:
        if fd < 0:
            return 0
        core = self.cores.get(fd)
        return SYMBOLS["POLLNVAL"] if core is None else core.poll() & (events | _ALWAYS)

    def epoll_create(self, size: int, flags: int) -> int:
        if size <= 0 or flags & ~SYMBOLS["EPOLL_CLOEXEC"]:
            raise failed(errno.EINVAL)
        fd = self._number()
        self.epolls[fd] = Epoll()
        return fd

    def _epoll(self, fd: int) -> Epoll:
        if fd not in self.epolls:
            raise failed(errno.EINVAL if fd in self.cores or fd in self.files else errno.EBADF)
        return self.epolls[fd]

    def epoll_control(self, epoll: int, operation: int, fd: int, events: int, data: int) -> None:
        self._check_open(epoll)
        self._check_open(fd)
        if fd in self.files:
            raise failed(errno.EPERM)
        watches = self._epoll(epoll).watches
        if epoll == fd:
            raise failed(errno.EINVAL)
        core = self.core(fd)
        if operation == SYMBOLS["EPOLL_CTL_ADD"]:
            if fd in watches:
                raise failed(errno.EEXIST)
        elif operation not in (SYMBOLS["EPOLL_CTL_DEL"], SYMBOLS["EPOLL_CTL_MOD"]):
            raise failed(errno.EINVAL)
        elif fd not in watches:
            raise failed(errno.ENOENT)
        if operation == SYMBOLS["EPOLL_CTL_DEL"]:
            del watches[fd]
            return
        watches[fd] = Watch(fd, events, data)
        core.poll()

    def epoll_wait(self, epoll: int, most: int, timeout_ms: int) -> list[tuple[int, int]]:
        self._check_open(epoll)
        if most <= 0:
            raise failed(errno.EINVAL)
        watches = self._epoll(epoll).watches

        def ready() -> list[tuple[Watch, int]]:
            return [(watch, news) for watch in watches.values() if (news := self._news(watch))]

        if timeout_ms and not ready():
            self._wait(lambda: bool(ready()), self._deadline(timeout_ms))
        found = ready()[:most]
        for watch, _ in found:
            watch.listed = False
            watch.disarmed = bool(watch.events & _ONESHOT)
        return [(news, watch.data) for watch, news in found]

    def _news(self, watch: Watch) -> int:
        """What epoll_wait() would report of a descriptor now. An edge (EPOLLET) that is looked at and has nothing to
        show is gone, as in the kernel's ready list."""
        if watch.disarmed or (watch.events & _EDGE and not watch.listed):
            return 0
        mask = self._ready(watch.fd, watch.events & 0xFFFF)
        if not mask:
            watch.listed = False
        return mask

    def happened(self, core: Core, edges: int) -> None:
        """Something happened to a socket (``edges``: poll's bits; 0 wakes whoever watches): ep_poll_callback()."""
        for epoll in self.epolls.values():
            for watch in epoll.watches.values():
                if self.cores.get(watch.fd) is core and (not edges or edges & (watch.events | _ALWAYS)):
                    watch.listed = True
