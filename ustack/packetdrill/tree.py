"""A script as a typed tree. Two trees are equal when they say the same, wherever it stood in the file.

Times are int nanoseconds. Numbers keep what a packet or a call needs of their spelling (hexadecimal or not),
so that a printed script reads as its author would have written it.
"""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass, field

# Times


class Clock(enum.Enum):
    """From where an event's time counts."""

    ABSOLUTE = "absolute"
    RELATIVE = "relative"
    ANY = "any"


@dataclass(slots=True)
class Time:
    """When an event happens: ``start``, or any instant of ``start .. end`` (outbound packets only)."""

    clock: Clock
    start: int = 0
    end: int | None = None


# Expressions of system calls


@dataclass(slots=True)
class Number:
    """An integer. ``radix`` is 10, 16 or 8, as written."""

    value: int
    radix: int = 10


@dataclass(slots=True)
class Symbol:
    """A name such as SOL_SOCKET."""

    name: str


@dataclass(slots=True)
class Text:
    """A quoted string, its escapes resolved."""

    value: str


@dataclass(slots=True)
class Supplied:
    """``...``: the runner supplies it, or does not check it."""


@dataclass(slots=True)
class Binary:
    """``left | right`` (also ^ & << >> + - * / %)."""

    operator: str
    left: Expression
    right: Expression


@dataclass(slots=True)
class Unary:
    """``~x``."""

    operator: str
    operand: Expression


@dataclass(slots=True)
class Application:
    """A function of the notation: ``htons(8080)``, ``inet_addr("192.0.2.1")``."""

    name: str
    arguments: list[Expression]


@dataclass(slots=True)
class Array:
    """``[x, y]``: values by reference."""

    items: list[Expression]


@dataclass(slots=True)
class Member:
    """``name=value`` or ``name(count)=value`` inside braces; ``name`` is empty for a bare value."""

    name: str
    value: Expression
    count: Expression | None = None


@dataclass(slots=True)
class Record:
    """``{onoff=1, linger=0}``."""

    members: list[Member]


Expression = Number | Symbol | Text | Supplied | Binary | Unary | Application | Array | Record

# Packets


class Direction(enum.Enum):
    """The arrow of a packet: into the stack under test, or out of it."""

    INBOUND = "<"
    OUTBOUND = ">"


@dataclass(slots=True)
class Ports:
    """``sport > dport`` when a packet names them."""

    source: int
    destination: int


@dataclass(slots=True)
class IpFields:
    """What a packet says about its IP header; None is not checked (and sent with a plain value)."""

    ecn: str | None = None
    """ect0 ect1 ect01 ce noecn."""
    tos: int | None = None
    ttl: int | None = None
    flow_label: int | None = None
    source: str | None = None
    """Another source address than the flow's (ustack's own addition)."""
    destination: str | None = None
    bad_checksum: bool = False
    """Inbound only, ustack's own addition: the TCP or UDP checksum is wrong on purpose."""
    brackets: str = ""
    """"(" or "[" as written, "" when there is nothing."""

    def is_plain(self) -> bool:
        return self == IpFields(brackets=self.brackets)


class OptionKind(enum.Enum):
    """TCP options by the words of the notation."""

    MSS = "mss"
    WSCALE = "wscale"
    SACK_OK = "sackOK"
    TIMESTAMP = "TS"
    SACK = "sack"
    NOP = "nop"
    EOL = "eol"
    FAST_OPEN = "FO"
    FAST_OPEN_EXPERIMENT = "FOEXP"
    MD5 = "md5"
    ACCECN = "ECN"
    RAW = "raw"


@dataclass(slots=True)
class TcpOption:
    """One option. ``numbers``: mss N; wscale N; TS val, ecr; sack a b c d ...; ECN's counters in order.

    ``data``: cookie, digest or raw bytes; None means "not checked" on an outbound packet. ``names``: the
    counters of ECN, as written.
    """

    kind: OptionKind
    numbers: tuple[int, ...] = ()
    data: bytes | None = b""
    names: tuple[str, ...] = ()


@dataclass(slots=True)
class TcpPacket:
    """A TCP segment in the script's numbers."""

    direction: Direction
    flags: str
    seq: int
    length: int
    ack: int | None = None
    window: int | None = None
    urgent: int | None = None
    options: list[TcpOption] | None = field(default_factory=list)
    """None: ``<...>``, not checked."""
    ip: IpFields = field(default_factory=IpFields)
    ports: Ports | None = None

    @property
    def end(self) -> int:
        return (self.seq + self.length) & 0xFFFFFFFF

    def has(self, flag: str) -> bool:
        return flag in self.flags


@dataclass(slots=True)
class UdpPacket:
    """``udp (N)``: a datagram of N zero bytes."""

    direction: Direction
    length: int
    ip: IpFields = field(default_factory=IpFields)
    ports: Ports | None = None


class QuoteKind(enum.Enum):
    """What an ICMP message quotes."""

    TCP = "tcp"
    UDP = "udp"
    RAW = "raw"


@dataclass(slots=True)
class Quote:
    """The packet inside an ICMP message; ``seq`` for TCP only."""

    kind: QuoteKind
    seq: int = 0
    length: int = 0


@dataclass(slots=True)
class IcmpPacket:
    """``icmp TYPE [CODE] [mtu N] [id N] [quote]``."""

    direction: Direction
    type: str
    code: str | None = None
    mtu: int | None = None
    identifier: int | None = None
    quote: Quote | None = None
    ip: IpFields = field(default_factory=IpFields)
    ports: Ports | None = None


Packet = TcpPacket | UdpPacket | IcmpPacket

# Other actions


@dataclass(slots=True)
class SystemCall:
    """``name(args) = RESULT [ERRNO (text)] [(note)]``; ``until`` when it blocks: ``TIME...END``."""

    name: str
    arguments: list[Expression]
    result: Expression
    errno: str | None = None
    notes: list[str] = field(default_factory=list)
    until: int | None = None


@dataclass(slots=True)
class Command:
    """A shell command in backquotes."""

    text: str


@dataclass(slots=True)
class Code:
    """``%{ python }%``."""

    text: str


Action = TcpPacket | UdpPacket | IcmpPacket | SystemCall | Command | Code


@dataclass(slots=True)
class Event:
    """One line of the dialogue. ``source`` is its text; it and the place do not count for equality."""

    time: Time
    action: Action
    line: int = field(default=0, compare=False)
    column: int = field(default=0, compare=False)
    source: str = field(default="", compare=False)


@dataclass(slots=True)
class Setting:
    """``--name=value`` (``value`` None when there is no ``=``)."""

    name: str
    value: str | None
    line: int = field(default=0, compare=False)


@dataclass(slots=True)
class Script:
    """A whole file."""

    settings: list[Setting] = field(default_factory=list)
    init: Command | None = None
    events: list[Event] = field(default_factory=list)
    cleanup: Command | None = None
    path: str = field(default="", compare=False)
    text: str = field(default="", compare=False)
    init_line: int = field(default=0, compare=False)
    cleanup_line: int = field(default=0, compare=False)
    directives: dict[str, str] = field(default_factory=dict, compare=False)
    """``// name: text`` lines of the head: what the file says about itself to ustack's own tests."""


replace = dataclasses.replace
