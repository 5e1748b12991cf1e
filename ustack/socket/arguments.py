"""What is wrong with the arguments of a call: the standard library itself says it.

A closed socket of the kernel reads its arguments as an open one does and then fails with EBADF. So whatever is not
plainly right is shown to such a socket: its exception is, to the word, the one of this interpreter's version.
"""

from __future__ import annotations

import errno
import io
import socket
from operator import index
from typing import Any, Final

INT_MAX: Final = 2**31 - 1
INT_MIN: Final = -(2**31)

_closed: dict[tuple[int, int], socket.socket] = {}


def _closed_socket(family: int, kind: int) -> socket.socket:
    """Made of a socketpair, which every machine has, whatever families its kernel knows."""
    found = _closed.get((family, kind))
    if found is None:
        one, other = socket.socketpair()
        other.close()
        found = socket.socket(family, kind, 0, fileno=one.detach())
        found.close()
        _closed[family, kind] = found
    return found


def judge(family: int, kind: int, call: str, *arguments: Any) -> None:
    """Raises what a kernel socket's ``call`` raises for ``arguments``; returns when nothing is wrong with them."""
    try:
        getattr(_closed_socket(family, kind), call)(*arguments)
    except OSError as error:
        if error.errno != errno.EBADF:
            raise


def is_int(value: object) -> bool:
    """A C int fits it, and it needs no conversion."""
    return isinstance(value, int) and INT_MIN <= value <= INT_MAX


def is_plain(buffer: Any, *, to_write: bool = False) -> bool:
    """A buffer of bytes in one piece, as most are."""
    if type(buffer) is memoryview:
        return buffer.format == "B" and buffer.ndim == 1 and buffer.c_contiguous and not (to_write and buffer.readonly)
    return type(buffer) is bytearray or (type(buffer) is bytes and not to_write)


def seconds(value: Any) -> float | int:
    """A time-out's value, after ``judge``: a float, or whatever stands for an int."""
    return value if isinstance(value, float) else index(value)


def readable_bytes(data: Any) -> memoryview:
    """The bytes of an argument that ``judge`` took: of any format and shape."""
    view = memoryview(data)
    if view.format == "B" and view.ndim == 1:
        return view
    try:
        return view.cast("B")
    except TypeError:  # no items, or a format of ctypes
        return memoryview(view.tobytes())


def writable_bytes(buffer: Any) -> memoryview | None:
    """The same to write to; None when it can only be filled by :func:`fill`."""
    view = memoryview(buffer)
    if view.format == "B" and view.ndim == 1:
        return view
    try:
        return view.cast("B")
    except TypeError:
        return None


def fill(buffer: Any, data: bytes | bytearray | memoryview) -> None:
    """Writes to the head of a buffer of any format."""
    io.BytesIO(data).readinto(buffer)
