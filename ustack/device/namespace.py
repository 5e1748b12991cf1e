"""A network namespace of one's own: nothing that happens in it touches the machine's network.

Linux only, and only with CAP_SYS_ADMIN. It holds for the calling thread and the threads that it starts.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from types import TracebackType

from ustack.device.link import bring_up

CLONE_NEWNET = 0x40000000


def _call(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def open_namespace() -> int:
    """A descriptor of the calling thread's network; the network lives while it is open."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


class Visit:
    """``with Visit(descriptor):`` the calling thread is in the network that the descriptor (open_namespace) is of."""

    def __init__(self, namespace: int) -> None:
        self._namespace = namespace
        self._before = -1

    def __enter__(self) -> None:
        self._before = open_namespace()
        try:
            self._enter()
        except BaseException:
            with contextlib.suppress(OSError):  # who may not go need not come back
                self.__exit__(None, None, None)
            raise

    def _enter(self) -> None:
        _call("setns", self._namespace, CLONE_NEWNET)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        before, self._before = self._before, -1
        try:
            _call("setns", before, CLONE_NEWNET)
        finally:
            os.close(before)


class Namespace(Visit):
    """``with Namespace():`` sockets and devices made inside belong to a new, empty network with a loopback."""

    def __init__(self) -> None:
        super().__init__(-1)

    def _enter(self) -> None:
        _call("unshare", CLONE_NEWNET)
        bring_up("lo")
