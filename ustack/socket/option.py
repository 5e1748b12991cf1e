"""The kinds of rows in the table of socket options: flags, numbers with a range, what is only remembered or told."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any, Final

from ustack.socket.core import Core, failure

INT_MAX: Final = 2**31 - 1
INT_MIN: Final = -(2**31)
SOL_SOCKET: Final = int(socket.SOL_SOCKET)
IPPROTO_IP: Final = 0
IPPROTO_TCP: Final = 6
IPPROTO_UDP: Final = 17
IPPROTO_IPV6: Final = 41


def pack_int(value: int) -> bytes:
    """A C int."""
    return (value & 0xFFFFFFFF).to_bytes(4, "little")


def unpack_int(data: bytes) -> int:
    """The C int at the head of ``data``."""
    return int.from_bytes(data[:4], "little", signed=True)


class Option:
    """One row of the table. ``set`` gets the bytes as the application gave them, ``get`` returns all that there is
    (the caller cuts it to the application's length). Here: an option that can be neither set nor read."""

    least = 4
    """Fewer bytes than this are EINVAL (IPPROTO_IP bends that: see ``sockopt.set_option``)."""
    shortest_null = 4
    """The same for a null pointer."""

    def set(self, core: Core, data: bytes) -> None:
        raise failure(errno.ENOPROTOOPT)

    def get(self, core: Core) -> bytes:
        raise failure(errno.ENOPROTOOPT)


class Number(Option):
    """An int in a field of SocketOptions. ``low`` to ``high``, else EINVAL; zero in the field reads as ``default``."""

    def __init__(
        self, field: str, low: int, high: int, default: Callable[[Core], int] | None = None, unset: int = 0
    ) -> None:
        self.field = field
        self.low = low
        self.high = high
        self.default = default
        self.unset = unset

    def accept(self, core: Core, value: int) -> int:
        """The value to keep; raises EINVAL."""
        if not self.low <= value <= self.high:
            raise failure(errno.EINVAL)
        return value

    def set(self, core: Core, data: bytes) -> None:
        setattr(core.options, self.field, self.accept(core, unpack_int(data)))
        core.option_changed(self.field)

    def get(self, core: Core) -> bytes:
        value = int(getattr(core.options, self.field))
        if self.default is not None and value == self.unset:
            value = self.default(core)
        return pack_int(value)


class Flag(Number):
    """A bool: anything but zero is true. ``strict``: only 0 and 1 are taken."""

    def __init__(self, field: str, *, strict: bool = False) -> None:
        super().__init__(field, 0 if strict else INT_MIN, 1 if strict else INT_MAX)

    def set(self, core: Core, data: bytes) -> None:
        setattr(core.options, self.field, bool(self.accept(core, unpack_int(data))))
        core.option_changed(self.field)


class Adjusted(Number):
    """A number that Linux bends into its range instead of refusing it."""

    def __init__(
        self, field: str, adjust: Callable[[Core, int], int], default: Callable[[Core], int] | None = None
    ) -> None:
        super().__init__(field, INT_MIN, INT_MAX, default)
        self.adjust = adjust

    def accept(self, core: Core, value: int) -> int:
        return self.adjust(core, value)


STAMPS: Final = (SOL_SOCKET, 29)
"""Where ``Core.stored`` keeps which of SO_TIMESTAMP and its kin is on, by its number; 0 none."""


class Remembered(Option):
    """Harmless here: kept and read back."""

    def __init__(self, default: int = 0, low: int = INT_MIN, high: int = INT_MAX, *, flag: bool = False) -> None:
        self.default = default
        self.low = low
        self.high = high
        self.flag = flag
        self.at = (0, 0)

    def set(self, core: Core, data: bytes) -> None:
        value = unpack_int(data)
        if not self.low <= value <= self.high:
            raise failure(errno.EINVAL)
        core.stored[self.at] = int(bool(value)) if self.flag else value

    def get(self, core: Core) -> bytes:
        return pack_int(core.stored.get(self.at, self.default))


class RememberedV4(Remembered):
    """The same, but an AF_INET6 socket does not have it switched on."""

    def get(self, core: Core) -> bytes:
        if core.family != socket.AF_INET:
            return pack_int(core.stored.get(self.at, 0))
        return super().get(core)


class RememberedShort(Remembered):
    """The same, and too few bytes are the value 0."""

    least = 0

    def set(self, core: Core, data: bytes) -> None:
        super().set(core, data if len(data) >= 4 else bytes(4))


class Told(Option):
    """Can be read only. ``tell`` returns an int, or the bytes of a struct."""

    def __init__(self, tell: Callable[[Any], int | bytes]) -> None:
        self.tell = tell

    def get(self, core: Core) -> bytes:
        told = self.tell(core)
        return told if isinstance(told, bytes) else pack_int(told)


class Refused(Option):
    """Setting fails with ``on_set``, reading with ``on_get``."""

    def __init__(self, on_set: int, on_get: int) -> None:
        self.on_set = on_set
        self.on_get = on_get

    def set(self, core: Core, data: bytes) -> None:
        raise failure(self.on_set)

    def get(self, core: Core) -> bytes:
        raise failure(self.on_get)


class Fixed(Option):
    """Of other kinds of sockets: reads as 0 and cannot be set."""

    def get(self, core: Core) -> bytes:
        return pack_int(0)


class Advice(Option):
    """Taken without any effect here, and not to be read."""

    def __init__(self, low: int = INT_MIN, high: int = INT_MAX) -> None:
        self.low = low
        self.high = high

    def set(self, core: Core, data: bytes) -> None:
        if not self.low <= unpack_int(data) <= self.high:
            raise failure(errno.EINVAL)


class Nothing(Remembered):
    """Taken and without any effect, not even on what is read back."""

    def set(self, core: Core, data: bytes) -> None:
        if not self.low <= unpack_int(data) <= self.high:
            raise failure(errno.EINVAL)


def knob(name: str) -> Callable[[Core], int]:
    """The default of an option is the Setting of this name."""
    return lambda core: int(getattr(core.net.stack.settings, name))
