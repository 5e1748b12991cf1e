"""System calls of a ustack Stack, through the cores of ``ustack.socket``: descriptors, O_NONBLOCK, poll, epoll."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Final

from ustack.packetdrill.errors import Unsupported
from ustack.packetdrill.symbols import SYMBOLS
from ustack.packetdrill.system import Control, SocketAddress, System
from ustack.packetdrill.tcpinfo import TCP_INFO_SIZE, read_tcp_info
from ustack.packetdrill.virtualfiles import File, Pipe, PipeEnd, Zeros
from ustack.socket.ancillary import control_messages
from ustack.socket.core import Attachment, Core
from ustack.socket.datagram import DatagramCore
from ustack.socket.sockopt import find_option, set_option
from ustack.socket.stream import StreamCore
from ustack.wire.address import format_address, is_v4, parse_address

MILLISECOND: Final = 1_000_000
_DONTWAIT: Final = SYMBOLS["MSG_DONTWAIT"]
_ALWAYS: Final = SYMBOLS["POLLERR"] | SYMBOLS["POLLHUP"]
_O_NONBLOCK: Final = SYMBOLS["O_NONBLOCK"]
_EDGE: Final = SYMBOLS["EPOLLET"]
_ONESHOT: Final = SYMBOLS["EPOLLONESHOT"]
_UNCLAIMED_FLAGS: Final = {name: SYMBOLS[name] for name in ("MSG_FASTOPEN", "MSG_ZEROCOPY")}


def _failed(code: int) -> OSError:
    return OSError(code, os.strerror(code))


class Watch:
    """One descriptor in an epoll instance."""

    def __init__(self, fd: int, events: int, data: int) -> None:
        self.fd = fd
        self.events = events
        self.data = data
        self.told = 0
        """EPOLLET: what was reported and has not gone away since."""
        self.unread = 0
        self.disarmed = False


class Epoll:
    """An epoll instance."""

    def __init__(self) -> None:
        self.watches: dict[int, Watch] = {}


class VirtualSystem(System):
    """``wait(ready, deadline)`` lets virtual time pass until ``ready()`` or the deadline (ns, None: for ever)."""

    def __init__(self, net: Attachment, wait: Callable[[Callable[[], bool], int | None], bool]) -> None:
        self.net = net
        self.cores: dict[int, Core] = {}
        self.epolls: dict[int, Epoll] = {}
        self.files: dict[int, File] = {}
        self.flags: dict[int, int] = {}
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
        if fd in self.epolls or fd in self.files:
            raise _failed(errno.ENOTSOCK)
        if fd not in self.cores:
            raise _failed(errno.EBADF)
        return self.cores[fd]

    def stream(self, fd: int) -> StreamCore | None:
        core = self.cores.get(fd)
        return core if isinstance(core, StreamCore) else None

    def _limit(self, fd: int, flags: int = 0) -> int | None:
        return 0 if self.flags.get(fd, 0) & _O_NONBLOCK or flags & _DONTWAIT else None

    def _address(self, core: Core, address: SocketAddress) -> tuple[bytes, int]:
        packed = parse_address(address[0])
        if core.family == socket.AF_INET and not is_v4(packed):
            raise _failed(errno.EAFNOSUPPORT)
        if core.family == socket.AF_INET6 and ":" not in address[0]:
            raise _failed(errno.EINVAL)
        return packed, address[1]

    # Opening and closing

    def socket(self, domain: int, kind: int, protocol: int) -> int:
        flags = kind & _O_NONBLOCK
        plain = kind & 15
        if domain not in (SYMBOLS["AF_INET"], SYMBOLS["AF_INET6"]):
            raise Unsupported(f"address family {domain}")
        if plain == SYMBOLS["SOCK_STREAM"] and protocol in (0, SYMBOLS["IPPROTO_TCP"]):
            return self._add(StreamCore(self.net, domain), flags)
        if plain == SYMBOLS["SOCK_DGRAM"] and protocol in (0, SYMBOLS["IPPROTO_UDP"]):
            return self._add(DatagramCore(self.net, domain), flags)
        raise Unsupported(f"socket(type {plain}, protocol {protocol})")

    def bind(self, fd: int, address: SocketAddress) -> None:
        with self.core(fd) as core:
            core.bind(*self._address(core, address))

    def connect(self, fd: int, address: SocketAddress) -> None:
        with self.core(fd) as core:
            core.connect(*self._address(core, address), self._limit(fd))

    def listen(self, fd: int, backlog: int) -> None:
        with self.core(fd) as core:
            core.listen(backlog)

    def accept(self, fd: int) -> tuple[int, SocketAddress]:
        with self.core(fd) as core:
            child = core.accept(self._limit(fd))
        address, port = child.peer_name() if child.poll() is not None and _has_peer(child) else (bytes(16), 0)
        return self._add(child), (format_address(address), port)

    def shutdown(self, fd: int, how: int) -> None:
        with self.core(fd) as core:
            core.shutdown(how)

    def close(self, fd: int) -> None:
        if self.epolls.pop(fd, None) is not None or self.files.pop(fd, None) is not None:
            return
        with self.core(fd) as core:
            del self.cores[fd]
            for epoll in self.epolls.values():
                epoll.watches.pop(fd, None)
            core.release()

    # Data

    def read(self, fd: int, sizes: list[int]) -> bytes:
        pipe = self._pipe_end(fd, False)
        if pipe is not None:
            count = min(sum(sizes), pipe.count)
            pipe.count -= count
            return bytes(count)
        return self._receive(fd, sum(sizes), 0)[0]

    def receive(self, fd: int, size: int, flags: int) -> tuple[bytes, SocketAddress | None]:
        return self._receive(fd, size, flags)[:2]

    def _receive(self, fd: int, size: int, flags: int) -> tuple[bytes, SocketAddress | None, Control, int]:
        with self.core(fd) as core:
            if isinstance(core, DatagramCore):
                found = core.receive(flags, self._limit(fd, flags))
                if found is None:
                    return b"", None, [], 0
                control, cut = control_messages(core, found, 1024)
                cut |= SYMBOLS["MSG_TRUNC"] if len(found.data) > size else 0
                data = found.data if flags & SYMBOLS["MSG_TRUNC"] else found.data[:size]
                return data, (format_address(found.source), found.source_port), control, cut
            assert isinstance(core, StreamCore)
            space = bytearray(size)
            with memoryview(space) as view:
                count = core.receive(view, flags, self._limit(fd, flags))
            control, cut = control_messages(core, None, 1024)
        return bytes(space[:count]).ljust(count, b"\0"), None, control, cut

    def receive_message(
        self, fd: int, size: int, control: int, flags: int
    ) -> tuple[bytes, Control, int, SocketAddress | None]:
        if flags & SYMBOLS["MSG_ERRQUEUE"]:
            raise Unsupported("MSG_ERRQUEUE")
        data, address, messages, got = self._receive(fd, size, flags)
        return data, messages, got, address

    def write(self, fd: int, data: bytes) -> int:
        pipe = self._pipe_end(fd, True)
        if pipe is not None:
            count = min(len(data), pipe.room())
            pipe.count += count
            return count
        return self.send(fd, data, 0, None)

    def send(self, fd: int, data: bytes, flags: int, address: SocketAddress | None) -> int:
        for name, flag in _UNCLAIMED_FLAGS.items():
            if flags & flag:
                raise Unsupported(name)
        with self.core(fd) as core, memoryview(data) as view:
            if isinstance(core, DatagramCore) and address is not None:
                return core.send_to(view, flags, self._address(core, address))
            assert isinstance(core, StreamCore | DatagramCore)
            return core.send(view, flags, self._limit(fd, flags))

    def send_message(self, fd: int, data: bytes, control: Control, flags: int, address: SocketAddress | None) -> int:
        if control:
            raise Unsupported("control messages in sendmsg()")
        return self.send(fd, data, flags, address)

    # Options

    def get_option(self, fd: int, level: int, name: int, length: int) -> bytes:
        with self.core(fd) as core:
            return find_option(core, level, name, length)

    def set_option(self, fd: int, level: int, name: int, value: bytes) -> None:
        with self.core(fd) as core:
            set_option(core, level, name, value)

    def fcntl(self, fd: int, command: int, argument: int) -> int:
        self.core(fd)
        if command == SYMBOLS["F_GETFL"]:
            return self.flags[fd]
        if command == SYMBOLS["F_SETFL"]:
            self.flags[fd] = SYMBOLS["O_RDWR"] | argument & _O_NONBLOCK
            return 0
        if command in (SYMBOLS["F_GETFD"], SYMBOLS["F_SETFD"]):
            return 0
        raise Unsupported(f"fcntl({command})")

    def ioctl(self, fd: int, request: int, argument: int) -> int:
        core = self.core(fd)
        if request == SYMBOLS["SIOCINQ"]:
            return core.unread()
        if request == SYMBOLS["SIOCOUTQ"]:
            return core.unsent()
        if request == SYMBOLS["SIOCOUTQNSD"] and isinstance(core, StreamCore):
            return self._not_sent(fd)
        if request == SYMBOLS["FIONBIO"]:
            self.flags[fd] = self.flags[fd] & ~_O_NONBLOCK | (_O_NONBLOCK if argument else 0)
            return argument
        raise Unsupported(f"ioctl({request:#x})")

    def _not_sent(self, fd: int) -> int:
        """Of what waits to be acknowledged, the bytes that have never left."""
        info = self.get_option(fd, SYMBOLS["SOL_TCP"], SYMBOLS["TCP_INFO"], TCP_INFO_SIZE)
        return read_tcp_info(info)["tcpi_notsent_bytes"]

    # Readiness

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

    def epoll_create(self, flags: int) -> int:
        fd = self._number()
        self.epolls[fd] = Epoll()
        return fd

    def _epoll(self, fd: int) -> Epoll:
        if fd not in self.epolls:
            raise _failed(errno.EINVAL if fd in self.cores else errno.EBADF)
        return self.epolls[fd]

    def epoll_control(self, epoll: int, operation: int, fd: int, events: int, data: int) -> None:
        watches = self._epoll(epoll).watches
        self.core(fd)
        if operation == SYMBOLS["EPOLL_CTL_ADD"]:
            if fd in watches:
                raise _failed(errno.EEXIST)
            watches[fd] = Watch(fd, events, data)
            return
        if fd not in watches:
            raise _failed(errno.ENOENT)
        if operation == SYMBOLS["EPOLL_CTL_DEL"]:
            del watches[fd]
        else:
            watches[fd] = Watch(fd, events, data)

    def epoll_wait(self, epoll: int, most: int, timeout_ms: int) -> list[tuple[int, int]]:
        watches = self._epoll(epoll).watches

        def ready() -> list[tuple[Watch, int]]:
            return [(watch, news) for watch in watches.values() if (news := self._news(watch))]

        if timeout_ms and not ready():
            self._wait(lambda: bool(ready()), self._deadline(timeout_ms))
        found = ready()[:most]
        for watch, news in found:
            watch.told |= news
            watch.unread = self._unread(watch.fd)
            watch.disarmed = bool(watch.events & _ONESHOT)
        return [(news, watch.data) for watch, news in found]

    def _unread(self, fd: int) -> int:
        try:
            return self.cores[fd].unread()
        except OSError:
            return 0

    def _news(self, watch: Watch) -> int:
        """What epoll_wait() would report of a descriptor now; edges are guessed from what changed since."""
        if watch.disarmed:
            return 0
        mask = self._ready(watch.fd, watch.events & 0xFFFF)
        if not watch.events & _EDGE:
            return mask
        watch.told &= mask
        fresh = mask & ~watch.told
        if mask & SYMBOLS["POLLIN"] and self._unread(watch.fd) > watch.unread:
            fresh |= SYMBOLS["POLLIN"]
        return mask if fresh else 0

    # Pipes and files

    def pipe(self, flags: int) -> tuple[int, int]:
        made = Pipe()
        ends = self._number(), self._number()
        self.files[ends[0]], self.files[ends[1]] = PipeEnd(made, False), PipeEnd(made, True)
        return ends

    def open(self, path: str, flags: int, mode: int) -> int:
        if path != "/dev/zero":
            raise Unsupported(f'open("{path}")')
        fd = self._number()
        self.files[fd] = Zeros()
        return fd

    def _pipe_end(self, fd: int, writes: bool) -> Pipe | None:
        end = self.files.get(fd)
        return end.pipe if isinstance(end, PipeEnd) and end.writes is writes else None

    def splice(self, source: int, destination: int, count: int, flags: int) -> int:
        into, out = self._pipe_end(destination, True), self._pipe_end(source, False)
        wait = _DONTWAIT if flags & SYMBOLS["SPLICE_F_NONBLOCK"] else 0
        if into is not None:
            if not into.room():
                raise _failed(errno.EAGAIN)
            data, _, _, _ = self._receive(source, min(count, into.room()), wait)
            into.count += len(data)
            return len(data)
        if out is None:
            raise _failed(errno.EINVAL)
        if not out.count:
            raise _failed(errno.EAGAIN)
        more = SYMBOLS["MSG_MORE"] if flags & SYMBOLS["SPLICE_F_MORE"] else 0
        sent = self.send(destination, bytes(min(count, out.count)), wait | more, None)
        out.count -= sent
        return sent

    def send_file(self, destination: int, source: int, offset: int | None, count: int) -> int:
        if not isinstance(self.files.get(source), Zeros):
            raise Unsupported("sendfile() from what is not /dev/zero")
        return self.send(destination, bytes(count), 0, None)

    def local_port(self, fd: int) -> int:
        return self.core(fd).local_name()[1]


def _has_peer(core: Core) -> bool:
    try:
        core.peer_name()
    except OSError:
        return False
    return True
