"""System calls of the machine's own kernel, in the network namespace that the caller is in."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import ipaddress
import os
import socket
import struct
from typing import Final

from ustack.packetdrill.errors import Unsupported
from ustack.packetdrill.system import Control, SocketAddress, System

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_POLLFD: Final = struct.Struct("=ihh")
_EPOLL_EVENT: Final = struct.Struct("=IQ")


def _failed() -> OSError:
    code = ctypes.get_errno()
    return OSError(code, os.strerror(code))


def _read_address(data: bytes) -> SocketAddress | None:
    """A ``struct sockaddr_in`` or ``sockaddr_in6``; None for what is empty (TCP names no sender)."""
    if len(data) < 8:
        return None
    family, port = struct.unpack_from("=H", data)[0], struct.unpack_from("!H", data, 2)[0]
    packed = data[4:8] if family == socket.AF_INET else data[8:24]
    return str(ipaddress.ip_address(packed)), port


class KernelSystem(System):
    """The real thing. Sockets are wrapped without a time-out, so that every call is the plain system call."""

    def __init__(self) -> None:
        self._sockets: dict[int, socket.socket] = {}
        self._others: set[int] = set()

    def _socket(self, fd: int) -> socket.socket:
        known = self._sockets.get(fd)
        if known is not None:
            return known
        os.fstat(fd)  # EBADF, as the call itself would say
        raise OSError(88, os.strerror(88))  # ENOTSOCK

    def _keep(self, made: socket.socket) -> int:
        made.settimeout(None)
        made.set_inheritable(True)  # as the system call makes it, without Python's FD_CLOEXEC
        self._sockets[made.fileno()] = made
        return made.fileno()

    def socket(self, domain: int, kind: int, protocol: int) -> int:
        flags = kind & (socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        made = socket.socket(domain, kind & ~flags, protocol)
        fd = self._keep(made)
        if flags & socket.SOCK_NONBLOCK:
            fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK | os.O_RDWR)
        return fd

    def bind(self, fd: int, address: SocketAddress) -> None:
        self._socket(fd).bind(address)

    def connect(self, fd: int, address: SocketAddress) -> None:
        self._socket(fd).connect(address)

    def disconnect(self, fd: int) -> None:
        if _LIBC.connect(fd, bytes(16), 16) < 0:
            raise _failed()

    def listen(self, fd: int, backlog: int) -> None:
        self._socket(fd).listen(backlog)

    def accept(self, fd: int) -> tuple[int, SocketAddress]:
        made, address = self._socket(fd).accept()
        return self._keep(made), (address[0], address[1])

    def read(self, fd: int, sizes: list[int]) -> bytes:
        if len(sizes) == 1:
            return os.read(fd, sizes[0])
        buffers = [bytearray(size) for size in sizes]
        count = os.readv(fd, buffers)
        return b"".join(buffers)[:count]

    def write(self, fd: int, data: bytes) -> int:
        return os.write(fd, data)

    def receive(self, fd: int, size: int, flags: int) -> tuple[bytes, SocketAddress | None]:
        buffer = ctypes.create_string_buffer(max(size, 1))
        name, name_size = ctypes.create_string_buffer(28), ctypes.c_uint32(28)
        count = _LIBC.recvfrom(fd, buffer, size, flags, name, ctypes.byref(name_size))
        if count < 0:
            raise _failed()
        # MSG_TRUNC makes the result larger than the buffer: what matters to the script is the number.
        return buffer.raw[:count].ljust(count, b"\0"), _read_address(name.raw[: name_size.value])

    def receive_message(
        self, fd: int, size: int, control: int, flags: int
    ) -> tuple[bytes, Control, int, SocketAddress | None]:
        data, messages, got, address = self._socket(fd).recvmsg(size, control, flags)
        return data, list(messages), got, (address[0], address[1]) if address else None

    def send(self, fd: int, data: bytes, flags: int, address: SocketAddress | None) -> int:
        known = self._socket(fd)
        # Without MSG_NOSIGNAL, as scripts write it; Python ignores SIGPIPE.
        return known.send(data, flags) if address is None else known.sendto(data, flags, address)

    def send_message(self, fd: int, data: bytes, control: Control, flags: int, address: SocketAddress | None) -> int:
        known = self._socket(fd)
        return known.sendmsg([data], control, flags, address) if address else known.sendmsg([data], control, flags)

    def shutdown(self, fd: int, how: int) -> None:
        self._socket(fd).shutdown(how)

    def close(self, fd: int) -> None:
        known = self._sockets.pop(fd, None)
        self._others.discard(fd)
        if known is not None:
            os.close(known.detach())
        else:
            os.close(fd)

    def get_option(self, fd: int, level: int, name: int, length: int) -> bytes:
        buffer = ctypes.create_string_buffer(max(length, 1))
        size = ctypes.c_uint32(length)
        if _LIBC.getsockopt(fd, level, name, buffer, ctypes.byref(size)) < 0:
            raise _failed()
        return buffer.raw[: size.value]

    def set_option(self, fd: int, level: int, name: int, value: bytes | None, length: int) -> None:
        if _LIBC.setsockopt(fd, level, name, value, length) < 0:
            raise _failed()

    def null_buffer(self, fd: int, count: int, flags: int, writes: bool) -> int:
        call = _LIBC.sendto if writes else _LIBC.recvfrom
        if fd in self._others:
            call = _LIBC.write if writes else _LIBC.read
            done = call(fd, None, ctypes.c_size_t(count))
        else:
            done = call(fd, None, ctypes.c_size_t(count), flags, None, None)
        if done < 0:
            raise _failed()
        return int(done)

    def null_structure(self, name: str, fd: int) -> int:
        one, rest = ctypes.c_size_t(1), {"epoll_ctl": (1, fd, None), "epoll_wait": (None, 1, 0), "poll": (1, 0)}
        first: tuple[object, ...] = (None,) if name in ("poll", "pipe", "pipe2", "open") else (fd,)
        length = 16 if name in ("bind", "connect") else one if name in ("readv", "writev") else 0
        if (done := getattr(_LIBC, name)(*first, *rest.get(name, (None, length)))) < 0:
            raise _failed()
        return int(done)

    def null_option(self, fd: int, level: int, name: int, length: int | None) -> int:
        size = None if length is None else ctypes.byref(ctypes.c_uint32(length))
        if _LIBC.getsockopt(fd, level, name, None, size) < 0:
            raise _failed()
        return 0

    def fcntl(self, fd: int, command: int, argument: int) -> int:
        return fcntl.fcntl(fd, command, argument)

    def ioctl(self, fd: int, request: int, argument: int) -> int:
        return int(struct.unpack("=i", fcntl.ioctl(fd, request, struct.pack("=i", argument)))[0])

    def poll(self, watched: list[tuple[int, int]], timeout_ms: int) -> list[int]:
        buffer = ctypes.create_string_buffer(b"".join(_POLLFD.pack(fd, events, 0) for fd, events in watched))
        if _LIBC.poll(buffer, len(watched), timeout_ms) < 0:
            raise _failed()
        return [_POLLFD.unpack_from(buffer, at * _POLLFD.size)[2] for at in range(len(watched))]

    def epoll_create(self, size: int, flags: int) -> int:
        fd = int(_LIBC.epoll_create1(flags) if flags or size == 1 else _LIBC.epoll_create(size))
        if fd < 0:
            raise _failed()
        self._others.add(fd)
        return fd

    def epoll_control(self, epoll: int, operation: int, fd: int, events: int, data: int) -> None:
        if _LIBC.epoll_ctl(epoll, operation, fd, _EPOLL_EVENT.pack(events & 0xFFFFFFFF, data)) < 0:
            raise _failed()

    def epoll_wait(self, epoll: int, most: int, timeout_ms: int) -> list[tuple[int, int]]:
        buffer = ctypes.create_string_buffer(max(most, 1) * 12)
        count = _LIBC.epoll_wait(epoll, buffer, most, timeout_ms)
        if count < 0:
            raise _failed()
        return [_EPOLL_EVENT.unpack_from(buffer, at * 12) for at in range(count)]

    def pipe(self, flags: int) -> tuple[int, int]:
        ends = os.pipe2(flags)
        self._others.update(ends)
        return ends

    def splice(self, source: int, destination: int, count: int, flags: int) -> int:
        moved = int(_LIBC.splice(source, None, destination, None, ctypes.c_size_t(count), flags))
        if moved < 0:
            raise _failed()
        return moved

    def send_file(self, destination: int, source: int, offset: int | None, count: int) -> int:
        return os.sendfile(destination, source, offset, count)

    def open(self, path: str, flags: int, mode: int) -> int:
        if path not in ("/dev/zero", "/dev/null") and not path.startswith("/tmp/"):
            raise Unsupported(f'open("{path}")')
        fd = os.open(path, flags, mode)
        self._others.add(fd)
        return fd

    def local_port(self, fd: int) -> int:
        return int(self._socket(fd).getsockname()[1])

    def release(self) -> None:
        """Close what the script left open."""
        for fd in [*self._sockets, *self._others]:
            with contextlib.suppress(OSError):
                self.close(fd)
