"""Addresses between asyncio's tuples and the stack's 16 bytes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from typing import Any

from ustack.wire.address import format_address, is_v4, parse_address


def name_of(address: bytes, port: int) -> tuple[Any, ...]:
    """As getsockname() has it: ``("10.0.0.1", 80)``, ``("fd00::1", 80, 0, 0)``."""
    text = format_address(address)
    return (text, port) if is_v4(address) else (text, port, 0, 0)


async def resolve(
    host: str | None, port: Any, kind: int, family: int = 0, flags: int = 0
) -> list[tuple[int, bytes, int]]:
    """Family, address (16 bytes) and port of each address of a name, in the resolver's order. Raises OSError."""
    literal = _literal(host, port, family)
    if literal is not None:
        return [literal]
    events = asyncio.get_running_loop()
    found = await events.getaddrinfo(host, port, family=family, type=kind, flags=flags)
    if not found:
        raise OSError("getaddrinfo() returned empty list")
    return [packed(*one) for one in found if one[0] in (socket.AF_INET, socket.AF_INET6)]


def packed(family: int, _type: int, _proto: int, _canonical: str, address: Sequence[Any]) -> tuple[int, bytes, int]:
    """Of one result of getaddrinfo()."""
    return family, parse_address(str(address[0]).partition("%")[0]), int(address[1])


def _literal(host: str | None, port: Any, family: int) -> tuple[int, bytes, int] | None:
    """Of an address in numbers, which needs no resolver and no thread."""
    if not isinstance(host, str) or not isinstance(port, int):
        return None
    for kind in (socket.AF_INET, socket.AF_INET6):
        if family in (0, kind):
            with contextlib.suppress(OSError):
                socket.inet_pton(kind, host)
                return int(kind), parse_address(host), port
    return None
