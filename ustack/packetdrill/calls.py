"""System calls of a script: from the notation to a call of the back end, and its result compared.

``prepare`` evaluates the arguments now and returns what is to be run (perhaps in another thread, perhaps
for a long time) and what compares the outcome afterwards.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from ustack.packetdrill.config import IPV4, Config
from ustack.packetdrill.structs import (
    Differences,
    integer,
    members,
)
from ustack.packetdrill.symbols import ERRNO_NAMES, SYMBOLS
from ustack.packetdrill.system import SocketAddress, System
from ustack.packetdrill.tree import Application, Expression, Number, Record, Supplied, Symbol, SystemCall, Text

AF_INET, AF_INET6 = SYMBOLS["AF_INET"], SYMBOLS["AF_INET6"]
NOBODYS: Final = 1_000_000_000
"""A descriptor that no process has: more than RLIMIT_NOFILE can be."""


@dataclass
class Outcome:
    """What a call gave: its number (-1 when it failed), errno, and whatever else it delivers."""

    value: int
    errno: int = 0
    extra: Any = None


def _no_check(outcome: Outcome) -> Differences:
    return []


@dataclass
class Prepared:
    """A call with its arguments evaluated."""

    call: SystemCall
    run: Callable[[], Outcome]
    check: Callable[[Outcome], Differences] = _no_check
    makes_descriptor: bool = False
    after: list[Callable[[Outcome], None]] = field(default_factory=list)

    def attempt(self) -> Outcome:
        """Make the call; a failure of the call is an outcome too."""
        try:
            return self.run()
        except OSError as error:
            return Outcome(-1, error.errno or 0)

    def verify(self, outcome: Outcome) -> Differences:
        """Result, errno and what was delivered."""
        found: Differences = []
        expected = self.call.result
        if not isinstance(expected, Supplied):
            want = integer(expected)
            fits = outcome.value == want or (self.makes_descriptor and min(outcome.value, want) >= 0)
            if not fits:
                found.append(("result", result_text(want, self.call.errno), outcome_text(outcome)))
        if self.call.errno is not None and not found and outcome.errno != SYMBOLS[self.call.errno]:
            found.append(("errno", self.call.errno, outcome_text(outcome)))
        return found or (self.check(outcome) if outcome.value >= 0 else [])


def result_text(value: int, errno: str | None) -> str:
    """What the script wants."""
    return f"{value} {errno}" if errno else str(value)


def outcome_text(outcome: Outcome) -> str:
    """What came, with the name of errno."""
    if outcome.value >= 0 or not outcome.errno:
        return str(outcome.value)
    return f"{outcome.value} {ERRNO_NAMES.get(outcome.errno, outcome.errno)}"


def compare_address(value: Expression, got: SocketAddress | None, what: str) -> Differences:
    """What the script says of an address that a call delivered; ``...`` and NULL say nothing."""
    if isinstance(value, Supplied | Number) or getattr(value, "name", "") == "NULL":
        return []
    found: Differences = []
    host, port = got or ("", 0)
    for name, given in members(value, "an address").items():
        if isinstance(given, Supplied):
            continue
        if name.endswith("port") and integer(given) != port:
            found.append((f"{what}.{name}", str(integer(given)), str(port)))
        elif name.endswith("addr") and not _same_host(host_text(given), host):
            found.append((f"{what}.{name}", host_text(given), host))
    return found


def _same_host(left: str, right: str) -> bool:
    """Compared as addresses, an IPv4 address and its mapped form being the same."""
    try:
        both = [ipaddress.ip_address(text) for text in (left, right)]
    except ValueError:
        return left == right
    plain = [getattr(address, "ipv4_mapped", None) or address for address in both]
    return plain[0] == plain[1]


class Caller:
    """Prepares the calls of one script for one back end."""

    def __init__(self, system: System, config: Config) -> None:
        self.system = system
        self.config = config
        self.labels: dict[int, int] = {}
        """A script's number for a descriptor -> the back end's."""
        self.epoch: tuple[int, int] | None = None

    def descriptor(self, value: Expression) -> int:
        """The back end's descriptor; what the script never got is passed on as a number that nobody has."""
        label = integer(value)
        return self.labels.get(label, NOBODYS if label >= 0 else label)

    def address(self, value: Expression, supplied: SocketAddress) -> SocketAddress:
        """A socket address: ``...`` or ``{sa_family=..., sin_port=htons(N), sin_addr=inet_addr("A")}``."""
        if isinstance(value, Supplied):
            return supplied
        fields = members(value, "an address")
        host, port = supplied
        for name, given in fields.items():
            if name.endswith("port") and not isinstance(given, Supplied):
                port = integer(given)
            elif name.endswith("addr") and not isinstance(given, Supplied):
                host = host_text(given)
        return host, port

    def is_unspecified(self, value: Expression) -> bool:
        """``AF_UNSPEC``, or a structure of that family: connect() with it ends a connection."""
        if isinstance(value, Record):
            value = next((member.value for member in value.members if member.name.endswith("family")), Supplied())
        return isinstance(value, Symbol) and value.name in ("AF_UNSPEC", "PF_UNSPEC")

    def local(self) -> SocketAddress:
        return self._mapped(self.config.local), self.config.bind_port

    def remote(self) -> SocketAddress:
        return self._mapped(self.config.remote), self.config.connect_port

    def _mapped(self, address: str) -> str:
        return f"::ffff:{address}" if self.config.ip_version not in (IPV4, "ipv6") else address


def host_text(value: Expression) -> str:
    """An address of a script, ``inet_addr("A")`` or a number, as text."""
    if isinstance(value, Application) and value.arguments and isinstance(value.arguments[-1], Text):
        return value.arguments[-1].value
    if isinstance(value, Text):
        return value.value
    number = integer(value)
    return ".".join(str(number >> shift & 0xFF) for shift in (24, 16, 8, 0))
