"""setsockopt() and getsockopt(): from (level, number) to what Linux does with it.

Defaults, ranges, what a value reads back as, and the errno of a bad value or length are those of Linux 6.18:
``tests/socket/test_socket_options.py`` asks a kernel socket and a ustack socket the same questions. Options that
mean nothing to a stack in user space (SO_BUSY_POLL, SO_INCOMING_CPU, ...) are remembered and otherwise harmless.
"""

from __future__ import annotations

import errno
import socket
from typing import Final

from ustack.socket import option_ip, option_socket, option_tcp, option_udp
from ustack.socket.core import Core, failure
from ustack.socket.option import (
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPPROTO_TCP,
    IPPROTO_UDP,
    SOL_SOCKET,
    Option,
    Remembered,
    Told,
    pack_int,
    unpack_int,
)

MOST_READ: Final = 64
"""No option reads further."""

_READ_FIRST: Final = (SOL_SOCKET, IPPROTO_TCP, IPPROTO_UDP)
IP_LOCAL_PORT_RANGE: Final = 51
SO_PEERNAME: Final = 28

_LEVELS: Final = {
    SOL_SOCKET: option_socket.TABLE,
    IPPROTO_TCP: option_tcp.TABLE,
    IPPROTO_IP: option_ip.IP_TABLE,
    IPPROTO_IPV6: option_ip.IPV6_TABLE,
    IPPROTO_UDP: option_udp.TABLE,
}
for _level, _table in _LEVELS.items():
    for _number, _option in _table.items():
        if isinstance(_option, Remembered):
            _option.at = (_level, _number)


def _row(core: Core, level: int, number: int) -> Option | None:
    if level == IPPROTO_TCP and core.kind != socket.SOCK_STREAM:
        return None
    if level == IPPROTO_UDP and core.kind != socket.SOCK_DGRAM:
        return None
    if level == IPPROTO_IPV6 and core.family != socket.AF_INET6:
        return None
    return _LEVELS.get(level, {}).get(number)


def _is_level(core: Core, level: int) -> bool:
    """False: getsockopt() says EOPNOTSUPP instead of ENOPROTOOPT."""
    if level == IPPROTO_TCP:
        return core.kind == socket.SOCK_STREAM
    if level == IPPROTO_UDP:
        return core.kind == socket.SOCK_DGRAM
    if level == IPPROTO_IPV6:
        return core.family == socket.AF_INET6
    return level in _LEVELS


def set_option(core: Core, level: int, number: int, data: bytes | None, length: int = 4) -> None:
    """setsockopt(2). ``data`` None is a null pointer with a ``length``. Raises ENOPROTOOPT, EINVAL, EFAULT and what
    the option says."""
    if length < 0:
        raise failure(errno.EINVAL)
    option = _row(core, level, number)
    if data is None:
        data = _null(core, level, option, length)
    data = _measured(core, level, number, option, data)
    if option is None:
        raise failure(errno.ENOPROTOOPT)
    _check_state(core, level, number)
    option.set(core, data)


def _measured(core: Core, level: int, number: int, option: Option | None, data: bytes) -> bytes:
    """The value, long enough for the option. Raises EINVAL for one that is too short, as each level judges it."""
    if level == IPPROTO_IP:
        if number == IP_LOCAL_PORT_RANGE and len(data) != 4:
            raise failure(errno.EINVAL)
        if option is not None and len(data) < 4 and option.least == 4:
            if not data and number in option_ip.NEEDS_A_BYTE:
                raise failure(errno.EINVAL)
            return data[:1].ljust(4, b"\0")
        return data
    is_judged = option is not None if level == IPPROTO_IPV6 else _is_level(core, level)
    if is_judged and len(data) < (4 if option is None else option.least):
        raise failure(errno.EINVAL)
    return data


def _null(core: Core, level: int, option: Option | None, length: int) -> bytes:
    """What a null pointer instead of a value does: IPv6 reads 0, the others fail, each in its way, unless they need
    not read at all."""
    if level == IPPROTO_IPV6 and option is not None:
        return bytes(min(length, MOST_READ))
    if level == IPPROTO_IP and not length:
        return b""
    reads_first = level in _READ_FIRST and _is_level(core, level)
    if reads_first and length < (4 if option is None else option.shortest_null):
        raise failure(errno.EINVAL)
    if isinstance(option, option_socket.BindToDevice) and not length:
        return b""
    if isinstance(option, option_tcp.FastOpenKey) and length not in (16, 32):
        raise failure(errno.EINVAL)
    if not reads_first and (option is None or isinstance(option, Told)):
        raise failure(errno.ENOPROTOOPT)
    raise failure(errno.EFAULT)


def _check_state(core: Core, level: int, number: int) -> None:
    """What may be set only before the socket is bound, or before it is connected."""
    if level == IPPROTO_IPV6 and number == 26 and core.local_name()[1]:
        raise failure(errno.EINVAL)


def find_option(core: Core, level: int, number: int, length: int) -> bytes:
    """getsockopt(2): at most ``length`` bytes. Raises ENOPROTOOPT, EOPNOTSUPP for a level that there is not."""
    option = _row(core, level, number)
    if option is None:
        known = _is_level(core, level) or core.family == socket.AF_INET6
        raise failure(errno.ENOPROTOOPT if known else errno.EOPNOTSUPP)
    if level == SOL_SOCKET and number == 57 and length < 8:
        raise failure(errno.EINVAL)
    value = option.get(core)
    if level == SOL_SOCKET and number == SO_PEERNAME and length > len(value):
        raise failure(errno.EINVAL)
    if level == IPPROTO_IP and 0 < length < 4 and 0 <= unpack_int(value) <= 255:
        return value[:1]
    if level == SOL_SOCKET and number == 47 and length < 8:
        rate = int.from_bytes(value, "little")
        return pack_int(min(rate, 0xFFFFFFFF))[:length]
    return value[:length]
