"""System calls of a ustack Stack, through the cores of ``ustack.socket``: descriptors, O_NONBLOCK, poll, epoll."""

from __future__ import annotations

import errno
import socket
from typing import Final

from ustack.packetdrill.errors import Unsupported
from ustack.packetdrill.symbols import SYMBOLS
from ustack.packetdrill.system import Control, SocketAddress
from ustack.packetdrill.tcpinfo import TCP_INFO_SIZE, read_tcp_info
from ustack.packetdrill.virtualbase import O_NONBLOCK, failed
from ustack.packetdrill.virtualpipes import Pipes
from ustack.packetdrill.virtualpoll import Polls
from ustack.socket.ancillary import control_messages
from ustack.socket.core import Core
from ustack.socket.datagram import DatagramCore
from ustack.socket.sockopt import find_option, set_option
from ustack.socket.stream import StreamCore
from ustack.wire.address import format_address, is_v4, parse_address

_FAST_OPEN: Final = SYMBOLS["MSG_FASTOPEN"]


class VirtualSystem(Polls, Pipes):
    """The calls of sockets; the rest is in ``virtualpoll`` and ``virtualpipes``."""

    def _address(self, core: Core, address: SocketAddress) -> tuple[bytes, int]:
        packed = parse_address(address[0])
        if core.family == socket.AF_INET and not is_v4(packed):
            raise failed(errno.EAFNOSUPPORT)
        if core.family == socket.AF_INET6 and ":" not in address[0]:
            raise failed(errno.EINVAL)
        return packed, address[1]

    # Opening and closing

    def socket(self, domain: int, kind: int, protocol: int) -> int:
        flags = kind & O_NONBLOCK
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

    def disconnect(self, fd: int) -> None:
        with self.core(fd) as core:
            core.disconnect()

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
            self.happened(core, 0)

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
        if fd in self.files:
            return self._read_file(fd, sum(sizes))
        if not sum(sizes):
            self.core(fd)
            return b""  # sock_read_iter(): not even the socket's state is looked at
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
        if fd in self.files:
            return self._write_file(fd, len(data))
        return self.send(fd, data, 0, None)

    def send(self, fd: int, data: bytes, flags: int, address: SocketAddress | None) -> int:
        if flags & SYMBOLS["MSG_ZEROCOPY"]:
            raise Unsupported("MSG_ZEROCOPY")
        with self.core(fd) as core, memoryview(data) as view:
            if isinstance(core, DatagramCore) and address is not None:
                return core.send_to(view, flags, self._address(core, address))
            if isinstance(core, StreamCore) and flags & _FAST_OPEN:
                to = None if address is None else self._address(core, address)
                return core.send_to(view, flags, self._limit(fd, flags), to)
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

    def null_buffer(self, fd: int, count: int, flags: int, writes: bool) -> int:
        """The pointer is looked at when there is something to copy, and not before."""
        if fd in self.files:
            raise failed(errno.EFAULT)
        with self.core(fd) as core:
            assert isinstance(core, StreamCore | DatagramCore)
            limit = self._limit(fd, flags)
            if writes:
                core.send(memoryview(b""), flags, limit) if isinstance(core, StreamCore) else None
                found = count
            elif isinstance(core, StreamCore):
                found = core.receive(memoryview(bytearray(1)), flags | SYMBOLS["MSG_PEEK"], limit)
            else:
                received = core.receive(flags | SYMBOLS["MSG_PEEK"], limit)
                found = len(received.data) if received is not None else 0
        if found and count:
            raise failed(errno.EFAULT)
        return 0

    def null_structure(self, name: str, fd: int) -> int:
        if name not in ("poll", "pipe", "pipe2", "open"):
            self._check_open(fd)
        raise failed(errno.EFAULT)

    def null_option(self, fd: int, level: int, name: int, length: int | None) -> int:
        with self.core(fd) as core:
            find_option(core, level, name, length or 4)
        raise failed(errno.EFAULT)

    def set_option(self, fd: int, level: int, name: int, value: bytes | None, length: int) -> None:
        with self.core(fd) as core:
            set_option(core, level, name, value)

    def fcntl(self, fd: int, command: int, argument: int) -> int:
        self._check_open(fd)
        if command == SYMBOLS["F_GETFL"]:
            return self.flags.get(fd, 0)
        if command == SYMBOLS["F_SETFL"]:
            self.flags[fd] = self.flags.get(fd, 0) & ~O_NONBLOCK | argument & O_NONBLOCK
            return 0
        if command == SYMBOLS["F_GETFD"]:
            return self.descriptor_flags.get(fd, 0)
        if command == SYMBOLS["F_SETFD"]:
            self.descriptor_flags[fd] = argument & SYMBOLS["FD_CLOEXEC"]
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
            self.flags[fd] = self.flags[fd] & ~O_NONBLOCK | (O_NONBLOCK if argument else 0)
            return argument
        if request == SYMBOLS["SIOCATMARK"] and isinstance(core, StreamCore):
            return int(core.at_mark())
        raise Unsupported(f"ioctl({request:#x})")

    def _not_sent(self, fd: int) -> int:
        """Of what waits to be acknowledged, the bytes that have never left."""
        info = self.get_option(fd, SYMBOLS["SOL_TCP"], SYMBOLS["TCP_INFO"], TCP_INFO_SIZE)
        return read_tcp_info(info)["tcpi_notsent_bytes"]

    def local_port(self, fd: int) -> int:
        return self.core(fd).local_name()[1]


def _has_peer(core: Core) -> bool:
    try:
        core.peer_name()
    except OSError:
        return False
    return True
