"""The system calls that scripts make, as a runner's back end offers them.

Descriptors are ints of the back end; scripts' own numbers are only labels for them. A call that fails
raises OSError with its errno. A call that would block blocks: the runner decides in what thread and in what time.
"""

from __future__ import annotations

from ustack.packetdrill.errors import Unsupported

SocketAddress = tuple[str, int]
"""(address as text, port)."""

Control = list[tuple[int, int, bytes]]
"""Control messages: (level, type, data)."""


class System:
    """What a back end implements; the base refuses each call by its name."""

    def socket(self, domain: int, kind: int, protocol: int) -> int:
        raise Unsupported("socket()")

    def bind(self, fd: int, address: SocketAddress) -> None:
        raise Unsupported("bind()")

    def connect(self, fd: int, address: SocketAddress) -> None:
        raise Unsupported("connect()")

    def disconnect(self, fd: int) -> None:
        """connect() to AF_UNSPEC."""
        raise Unsupported("connect() to AF_UNSPEC")

    def listen(self, fd: int, backlog: int) -> None:
        raise Unsupported("listen()")

    def accept(self, fd: int) -> tuple[int, SocketAddress]:
        raise Unsupported("accept()")

    def read(self, fd: int, sizes: list[int]) -> bytes:
        """read() and readv()."""
        raise Unsupported("read()")

    def write(self, fd: int, data: bytes) -> int:
        raise Unsupported("write()")

    def receive(self, fd: int, size: int, flags: int) -> tuple[bytes, SocketAddress | None]:
        """recv() and recvfrom()."""
        raise Unsupported("recv()")

    def receive_message(
        self, fd: int, size: int, control: int, flags: int
    ) -> tuple[bytes, Control, int, SocketAddress | None]:
        """recvmsg(): data, control messages, msg_flags, sender."""
        raise Unsupported("recvmsg()")

    def send(self, fd: int, data: bytes, flags: int, address: SocketAddress | None) -> int:
        """send() and sendto()."""
        raise Unsupported("send()")

    def send_message(self, fd: int, data: bytes, control: Control, flags: int, address: SocketAddress | None) -> int:
        raise Unsupported("sendmsg()")

    def shutdown(self, fd: int, how: int) -> None:
        raise Unsupported("shutdown()")

    def close(self, fd: int) -> None:
        raise Unsupported("close()")

    def get_option(self, fd: int, level: int, name: int, length: int) -> bytes:
        raise Unsupported("getsockopt()")

    def set_option(self, fd: int, level: int, name: int, value: bytes | None, length: int) -> None:
        """``value`` None: a null pointer."""
        raise Unsupported("setsockopt()")

    def null_buffer(self, fd: int, count: int, flags: int, writes: bool) -> int:
        """read() or write(), recv() or send() with a null pointer."""
        raise Unsupported("a null pointer as buffer")

    def null_structure(self, name: str, fd: int) -> int:
        """The call ``name`` with a null pointer where it needs a structure."""
        raise Unsupported(f"{name}() with a null pointer")

    def null_option(self, fd: int, level: int, name: int, length: int | None) -> int:
        """getsockopt() without a place for the value (``length`` None: for the length)."""
        raise Unsupported("getsockopt() with a null pointer")

    def fcntl(self, fd: int, command: int, argument: int) -> int:
        raise Unsupported("fcntl()")

    def ioctl(self, fd: int, request: int, argument: int) -> int:
        """The value that the request delivers."""
        raise Unsupported("ioctl()")

    def poll(self, watched: list[tuple[int, int]], timeout_ms: int) -> list[int]:
        """The revents of each."""
        raise Unsupported("poll()")

    def epoll_create(self, size: int, flags: int) -> int:
        raise Unsupported("epoll_create()")

    def epoll_control(self, epoll: int, operation: int, fd: int, events: int, data: int) -> None:
        raise Unsupported("epoll_ctl()")

    def epoll_wait(self, epoll: int, most: int, timeout_ms: int) -> list[tuple[int, int]]:
        """(events, data) of what is ready."""
        raise Unsupported("epoll_wait()")

    def pipe(self, flags: int) -> tuple[int, int]:
        raise Unsupported("pipe()")

    def splice(self, source: int, destination: int, count: int, flags: int) -> int:
        raise Unsupported("splice()")

    def send_file(self, destination: int, source: int, offset: int | None, count: int) -> int:
        raise Unsupported("sendfile()")

    def open(self, path: str, flags: int, mode: int) -> int:
        raise Unsupported("open()")

    def local_port(self, fd: int) -> int:
        """For the runner itself: the port a socket is bound to, 0 if none."""
        raise Unsupported("getsockname()")
