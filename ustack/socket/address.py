"""Addresses as applications write them: ``(host, port)`` and ``(host, port, flowinfo, scope_id)``.

Inside, an address is 16 bytes and IPv4 is v4-mapped. There is no name service: a host is numeric, ``""``,
``"localhost"`` or ``"<broadcast>"``; anything else is the ``socket.gaierror`` that the standard
library raises for a name that nobody knows.
"""

from __future__ import annotations

import socket
from typing import Final

from ustack.wire.address import ANY, ANY_V4, BROADCAST, LOOPBACK, V4_PREFIX

LOOPBACK_V4: Final = V4_PREFIX + bytes((127, 0, 0, 1))

Address = tuple[bytes, int]
"""16 bytes and a port."""


def resolve(family: int, host: str | bytes | bytearray) -> bytes:
    """16 bytes for a host as an application writes it. Raises ``socket.gaierror``, TypeError, UnicodeError."""
    if isinstance(host, (bytes, bytearray)):
        text = bytes(host).decode("ascii", "strict")
    elif isinstance(host, str):
        text = host
    else:
        raise TypeError(f"str, bytes or bytearray expected, not {type(host).__name__}")
    if "\0" in text:
        raise TypeError("host name must not contain null character")
    v4 = family == socket.AF_INET
    if text == "":
        return ANY_V4 if v4 else ANY
    if text == "<broadcast>" and v4:
        return BROADCAST
    if text == "localhost":
        return LOOPBACK_V4 if v4 else LOOPBACK
    try:
        packed = socket.inet_pton(family, text)
    except OSError:
        text = text.encode("idna").decode("ascii")  # the standard library's errors for what is no host name
        found = socket.getaddrinfo(text, None, family, socket.SOCK_DGRAM, 0, socket.AI_NUMERICHOST)
        packed = socket.inet_pton(family, str(found[0][4][0]).partition("%")[0])
    return V4_PREFIX + packed if v4 else packed


def parse(family: int, address: object, caller: str) -> Address:
    """16 bytes and the port of an application's address; ``caller`` stands in the messages, ``bind`` say.

    Raises what the standard library raises: TypeError, OverflowError, ``socket.gaierror``."""
    name = "AF_INET" if family == socket.AF_INET else "AF_INET6"
    if not isinstance(address, tuple):
        raise TypeError(f"{caller}(): {name} address must be tuple, not {type(address).__name__}")
    most = 2 if family == socket.AF_INET else 4
    if not 2 <= len(address) <= most:
        shape = "a pair (host, port)" if most == 2 else "a tuple (host, port[, flowinfo[, scopeid]])"
        raise TypeError(f"{caller}(): wrong format for {name} address, {shape} is needed")
    host, port = address[0], address[1]
    if not isinstance(port, int):
        port = _index(port)
    packed = resolve(family, host)
    if not 0 <= port <= 65535:
        raise OverflowError(f"{caller}(): port must be 0-65535.")
    if len(address) > 2 and not 0 <= _index(address[2]) <= 0xFFFFF:
        raise OverflowError(f"{caller}(): flowinfo must be 0-1048575.")
    if len(address) > 3:
        _index(address[3])
    return packed, port


def _index(value: object) -> int:
    """The int that ``value`` stands for; TypeError when it stands for none."""
    try:
        return value.__index__()  # type: ignore[attr-defined, no-any-return]
    except AttributeError:
        raise TypeError(f"'{type(value).__name__}' object cannot be interpreted as an integer") from None


def present(family: int, address: bytes, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
    """The address as an application sees it: a pair, or four for AF_INET6 (no flow label, no scope)."""
    if family == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, address[12:]), port
    return socket.inet_ntop(socket.AF_INET6, address), port, 0, 0


def sockaddr(family: int, address: bytes, port: int) -> bytes:
    """``struct sockaddr_in`` or ``sockaddr_in6`` as it lies in memory."""
    head = family.to_bytes(2, "little") + port.to_bytes(2, "big")
    if family == socket.AF_INET:
        return head + address[12:] + bytes(8)
    return head + bytes(4) + address + bytes(4)
