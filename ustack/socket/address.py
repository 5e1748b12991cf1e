"""Addresses as applications write them: ``(host, port)`` and ``(host, port, flowinfo, scope_id)``.

Inside, an address is 16 bytes and IPv4 is v4-mapped. Names are resolved by this machine's resolver, as the standard
library does it: the first address of ``socket.getaddrinfo``.
"""

from __future__ import annotations

import socket
from operator import index
from typing import Any, Final

from ustack.socket.arguments import judge
from ustack.wire.address import ANY, ANY_V4, BROADCAST, V4_PREFIX

LOOPBACK_V4: Final = V4_PREFIX + bytes((127, 0, 0, 1))

Address = tuple[bytes, int]
"""16 bytes and a port."""


def resolve(family: int, host: str | bytes | bytearray) -> bytes:
    """16 bytes for a host as an application writes it: setipaddr() of socketmodule.c. Asks the resolver for a name, so
    it may block. Raises ``socket.gaierror``."""
    text = host if isinstance(host, str) else bytes(host).decode("utf-8", "surrogateescape")
    v4 = family == socket.AF_INET
    if text == "":
        return ANY_V4 if v4 else ANY
    if text == "<broadcast>":
        return BROADCAST
    try:
        packed = socket.inet_pton(family, text)
    except (OSError, ValueError):
        international = isinstance(host, str) and not host.isascii()
        name = text.encode("idna") if international else text.encode("utf-8", "surrogateescape")
        found = socket.getaddrinfo(name, None, family)
        packed = socket.inet_pton(family, str(found[0][4][0]).partition("%")[0])
    return V4_PREFIX + packed if v4 else packed


def parse(family: int, kind: int, address: Any, caller: str, *before: Any) -> Address:
    """16 bytes and the port of an application's address, the last argument of ``caller``, ``bind`` say (``before`` it
    stand others).

    Raises what the standard library raises: TypeError, OverflowError, ``socket.gaierror``. May block in the resolver:
    not to be called with the driver's lock held."""
    if not _is_plain(family, address):
        judge(family, kind, caller, *before, address)
    host, port = address[:2]
    return resolve(family, host), index(port)


def _is_plain(family: int, address: Any) -> bool:
    """Nothing is wrong with the address, except that its host may be unknown."""
    most = 2 if family == socket.AF_INET else 4
    if type(address) is not tuple or not 2 <= len(address) <= most:
        return False
    host, port = address[:2]
    if type(host) is not str or not host.isascii() or "\0" in host or type(port) is not int or not 0 <= port <= 65535:
        return False
    if most == 4 and host in ("<broadcast>", "255.255.255.255"):
        return False
    rest = address[2:]
    return not rest or (all(type(item) is int and item >= 0 for item in rest) and rest[0] <= 0xFFFFF)


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
