"""The frame of ``Socket``: its life, its time-out, its descriptor, its options."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import socket
import warnings
from collections.abc import Callable
from operator import index
from typing import Any, Final, Self, TypeVar

from ustack.socket.address import present
from ustack.socket.arguments import is_int, judge, readable_bytes, seconds
from ustack.socket.core import Core, failure
from ustack.socket.readiness import ERR, HUP, IN, OUT
from ustack.socket.sockopt import find_option, set_option
from ustack.units import SECOND

T = TypeVar("T")
TO_READ: Final = IN | ERR | HUP
TO_WRITE: Final = OUT | ERR | HUP
MAX_OPTION: Final = 1024


class SocketBase(socket.socket):
    """What is the same for every kind of call: ``with self._lock, self._live() as core:``.

    It is a ``socket.socket`` (``isinstance`` says so) that never has a descriptor of the kernel's as its own: whatever
    of the standard library's class is not overridden here fails with EBADF, and loses nothing.

    At its end the driver sends, and the descriptor changes its looks. The lock is outermost, so
    that no exception of a signal handler can leave it locked."""

    __slots__ = (
        "_core",
        "_family",
        "_host",
        "_kind",
        "_lock",
        "_net",
        "_own_fd",
        "_proto",
        "_timeout",
        "_timeout_s",
    )

    def __new__(cls, *arguments: object, **named: object) -> Self:
        made = super().__new__(cls)
        made._core = None  # for __del__, when __init__ fails
        made._host = None
        made._closed = False
        return made

    def __init__(self, core: Core, proto: int, timeout: float | None) -> None:
        self._core: Core | None
        self._host: object
        """The Host lives as long as its sockets."""
        self._net = core.net
        self._lock = core.net.driver.lock
        self._family = core.family
        self._kind = core.kind
        self._proto = proto
        self._timeout: int | None
        """What a core's call takes as its limit when it is None or 0; else ns, kept by ``_patiently``."""
        self._timeout_s: float | None
        self._io_refs = 0
        self._closed = False
        self._own_fd = -1
        """A second descriptor for the same pair: of a dup()."""
        self._keep_timeout(timeout)
        self._core = core

    def _live(self) -> Core:
        core = self._core
        if core is None:
            raise failure(errno.EBADF)
        if self._net.closed:
            raise self._net.gone()
        return core

    def _patiently(self, core: Core, attempt: Callable[[], T], mask: int, deadline: int | None = None) -> T:
        """``attempt`` without blocking, again and again until the socket's time-out: TimeoutError."""
        if deadline is None:
            deadline = core.now() + (self._timeout or 0)
        if mask is TO_READ and core.options.rcvlowat > 1:
            self._await(core, mask, deadline)
        while True:
            try:
                return attempt()
            except BlockingIOError as error:
                if error.errno != errno.EAGAIN:
                    raise  # EINPROGRESS, EALREADY: as the standard library
                self._await(core, mask, deadline)

    @staticmethod
    def _await(core: Core, mask: int, deadline: int) -> None:
        if not core.wait(lambda: bool(core.poll() & mask), deadline):
            raise TimeoutError("timed out")

    # Time-out

    def settimeout(self, value: float | None) -> None:
        """None: block; 0: never block; else seconds. Rounded up to the nanosecond, as the standard library does."""
        self._keep_timeout(value)
        self._live()
        self._show_blocking()

    def _keep_timeout(self, value: float | None) -> None:
        if value is None:
            self._timeout = self._timeout_s = None
            return
        judge(self._family, self._kind, "settimeout", value)
        self._timeout = math.ceil(seconds(value) * SECOND)
        self._timeout_s = self._timeout / SECOND

    def _show_blocking(self) -> None:
        core = self._core
        if core is not None and core.readiness is not None:
            with self._lock:
                if core.readiness is not None:
                    core.readiness.set_blocking(self._timeout is None)

    def gettimeout(self) -> float | None:
        return self._timeout_s

    @property
    def timeout(self) -> float | None:
        """The socket's time-out, as gettimeout() tells it."""
        return self._timeout_s

    def setblocking(self, flag: Any) -> None:
        if flag is not True and flag is not False:
            judge(self._family, self._kind, "setblocking", flag)
        self.settimeout(None if flag else 0.0)

    def getblocking(self) -> bool:
        """False only for a time-out of 0."""
        return self._timeout != 0

    # What it is

    @property
    def family(self) -> socket.AddressFamily:
        return socket.AddressFamily(self._family)

    @property
    def type(self) -> socket.SocketKind:
        return socket.SocketKind(self._kind)

    @property
    def proto(self) -> int:
        return self._proto

    def __repr__(self) -> str:
        kind = type(self)
        text = (
            f"<{kind.__module__}.{kind.__qualname__}{' [closed]' if self._closed else ''} fd={self._known_fd()}, "
            f"family={self._family}, type={self._kind}, proto={self._proto}"
        )
        if not self._closed:
            with contextlib.suppress(OSError):
                text += f", laddr={self.getsockname()}"
            with contextlib.suppress(OSError):
                text += f", raddr={self.getpeername()}"
        return text + ">"

    def __getstate__(self) -> object:
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")

    def getsockname(self) -> Any:
        with self._lock, self._live() as core:
            return present(core.family, *core.local_name())

    def getpeername(self) -> Any:
        """Raises ENOTCONN."""
        with self._lock, self._live() as core:
            return present(core.family, *core.peer_name())

    # Options

    def setsockopt(self, level: int, optname: int, value: Any, optlen: int | None = None, /) -> None:
        """An int, bytes (a struct, a name), or None with a length. Raises what Linux raises for each option."""
        if not (is_int(level) and is_int(optname) and optlen is None and (is_int(value) or type(value) is bytes)):
            rest = () if optlen is None else (optlen,)
            judge(self._family, self._kind, "setsockopt", level, optname, value, *rest)
            level, optname = index(level), index(optname)
        if value is None:
            data = None
        elif hasattr(value, "__index__"):
            data = index(value).to_bytes(4, "little", signed=True)
        else:
            data = bytes(readable_bytes(value))
        with self._lock, self._live() as core:
            set_option(core, level, optname, data, 4 if optlen is None else index(optlen))

    def getsockopt(self, level: int, optname: int, buflen: int = 0, /) -> Any:
        """An int, or with ``buflen`` (1 to 1024) bytes."""
        if not (is_int(level) and is_int(optname) and is_int(buflen) and 0 <= buflen <= MAX_OPTION):
            judge(self._family, self._kind, "getsockopt", level, optname, buflen)
            level, optname, buflen = index(level), index(optname), index(buflen)
        with self._lock, self._live() as core:
            value = find_option(core, level, optname, buflen or 4)
        return value if buflen else int.from_bytes(value.ljust(4, b"\0"), "little", signed=True)

    # Descriptor and end

    def _known_fd(self) -> int:
        if self._core is None:
            return -1
        if self._own_fd >= 0:
            return self._own_fd
        return self._core.readiness.fd if self._core.readiness is not None else -1

    def fileno(self) -> int:
        """A descriptor for select, poll, epoll and selectors: readable, writable and hung up when the socket is.

        It is one end of a socketpair of the kernel, made at the first call (see ``readiness.py``). Only watch
        it: what is read from or written to it directly goes nowhere. -1 after close()."""
        with self._lock:
            if self._core is None or self._net.closed:
                return -1
            fd = self._own_fd if self._own_fd >= 0 else self._core.descriptor(self._timeout is None)
        return fd

    def get_inheritable(self) -> bool:
        """Whether a child process inherits the descriptor (by default not)."""
        return os.get_inheritable(self.fileno())

    def set_inheritable(self, inheritable: bool) -> None:
        """What a child inherits is the descriptor, not the socket behind it."""
        os.set_inheritable(self.fileno(), inheritable)

    def detach(self) -> int:
        """Give the socket up without closing it; returns its descriptor, -1 when it was closed before.

        The ustack socket behind the number lives on: ``Host.socket(fileno=number)`` takes it up again.
        Closing the descriptor with os.close() does not close it."""
        fd = self.fileno()
        core, self._core = self._core, None
        self._closed = True
        if core is not None:
            core.net.detached[fd] = core
        return fd

    def take_descriptor(self, fd: int) -> None:
        """Own ``fd``, a duplicate made by dup() and detach()."""
        self._own_fd = fd

    def _decref_socketios(self) -> None:
        """A file of makefile() was closed (``socket.SocketIO`` calls this)."""
        if self._io_refs > 0:
            self._io_refs -= 1
        if self._closed:
            self.close()

    def close(self) -> None:
        """Close the socket; files of makefile() keep it open until they are closed too."""
        self._closed = True
        if self._io_refs <= 0:
            self._real_close()

    def _real_close(self) -> None:
        with self._lock:
            core, self._core = self._core, None
            if core is not None:
                core.close_descriptor(self._own_fd)
                if not self._net.closed:
                    core.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if not self._closed:
            self.close()

    def __del__(self) -> None:
        core = self._core
        if core is None or core.net.closed:  # sockets end with their Host
            return
        warnings.warn(f"unclosed {self!r}", ResourceWarning, 2, source=self)
        self._core = None
        core.close_descriptor(self._own_fd)
        core.net.driver.defer(core.release)
