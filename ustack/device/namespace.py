"""A network namespace of one's own: nothing that happens in it touches the machine's network.

Linux only, and only with CAP_SYS_ADMIN. It holds for the calling thread and the threads that it starts.
"""

from __future__ import annotations

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


class Namespace:
    """``with Namespace():`` sockets and devices made inside belong to a new, empty network with a loopback."""

    def __init__(self) -> None:
        self._before = -1

    def __enter__(self) -> Namespace:
        self._before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _call("unshare", CLONE_NEWNET)
            bring_up("lo")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        before, self._before = self._before, -1
        _call("setns", before, CLONE_NEWNET)
        os.close(before)
