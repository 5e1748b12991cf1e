"""C structures of system calls, from the braces of the notation and back for comparison."""

from __future__ import annotations

import operator
import struct
from collections.abc import Callable
from typing import Final

from ustack.packetdrill.errors import Mismatch, Unsupported
from ustack.packetdrill.hints import did_you_mean
from ustack.packetdrill.symbols import SYMBOLS
from ustack.packetdrill.tree import (
    Application,
    Array,
    Binary,
    Expression,
    Number,
    Record,
    Supplied,
    Symbol,
    Text,
    Unary,
)

Differences = list[tuple[str, str, str]]

# The structures by the names of their members: (member, struct form), in memory's order.
_LAYOUTS: Final[tuple[tuple[tuple[str, str], ...], ...]] = (
    (("onoff", "i"), ("linger", "i")),
    (("l_onoff", "i"), ("l_linger", "i")),
    (("tv_sec", "q"), ("tv_usec", "q")),
    (
        ("ee_errno", "I"),
        ("ee_origin", "B"),
        ("ee_type", "B"),
        ("ee_code", "B"),
        ("ee_pad", "B"),
        ("ee_info", "I"),
        ("ee_data", "I"),
    ),
    (("scm_sec", "q"), ("scm_nsec", "q")),
)

_BYTE_WIDE: Final = {
    (SYMBOLS["SOL_IP"], SYMBOLS["IP_TOS"]): "B",
    (SYMBOLS["SOL_IP"], SYMBOLS["IP_RECVTOS"]): "B",
}
"""Control messages whose data is not an int."""


_OPERATORS: Final[dict[str, Callable[[int, int], int]]] = {
    "|": operator.or_,
    "^": operator.xor,
    "&": operator.and_,
    "<<": operator.lshift,
    ">>": operator.rshift,
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.floordiv,
    "%": operator.mod,
}


def unknown_name(name: str) -> Unsupported:
    """The refusal of a constant that nobody knows."""
    return Unsupported(name, did_you_mean(name, SYMBOLS))


def integer(value: Expression) -> int:
    """The number that an expression stands for. Raises Unsupported for an unknown NAME."""
    if isinstance(value, Number):
        return value.value
    if isinstance(value, Symbol):
        if value.name not in SYMBOLS:
            raise unknown_name(value.name)
        return SYMBOLS[value.name]
    if isinstance(value, Binary):
        return _calculated(value.operator, integer(value.left), integer(value.right))
    if isinstance(value, Unary):
        return ~integer(value.operand)
    if isinstance(value, Application) and value.name in ("htons", "ntohs", "htonl", "ntohl"):
        return integer(value.arguments[0])
    if isinstance(value, Array) and len(value.items) == 1:
        return integer(value.items[0])
    raise Unsupported(f"{_KINDS[type(value).__name__]} where a number is needed")


def _calculated(sign: str, left: int, right: int) -> int:
    if sign in ("/", "%") and not right:
        raise Mismatch(f"{left} {sign} 0 has no value")
    if sign in ("<<", ">>") and not 0 <= right < 64:
        raise Mismatch(f"{left} {sign} {right}: a shift is by 0 to 63 bits")
    return _OPERATORS[sign](left, right)


_KINDS: Final = {
    "Supplied": "'...'",
    "Text": "a text",
    "Array": "several values",
    "Record": "a structure",
    "Application": "a function",
}


def _layout(record: Record) -> tuple[tuple[str, str], ...]:
    names = {member.name for member in record.members}
    for layout in _LAYOUTS:
        if names <= {name for name, _ in layout}:
            return layout
    shown = ", ".join(sorted(names - {""})) or "unnamed members"
    raise Unsupported(f"a structure of {shown}")


def _form(layout: tuple[tuple[str, str], ...]) -> struct.Struct:
    return struct.Struct("=" + "".join(form for _, form in layout))


def pack_value(value: Expression, length: int) -> bytes:
    """The bytes of an option's value: an int cut or widened to ``length``, text, or a structure."""
    if isinstance(value, Array):
        if len(value.items) == 1:
            return pack_value(value.items[0], length)
        return b"".join(struct.pack("=i", integer(item)) for item in value.items)
    if isinstance(value, Text):
        return value.value.encode("latin-1", "replace")[: length if length > 0 else None]
    if isinstance(value, Supplied):
        return bytes(max(length, 0))
    if isinstance(value, Record):
        if all(not member.name for member in value.members):
            return b"".join(struct.pack("=I", integer(member.value)) for member in value.members)
        layout = _layout(value)
        given = {member.name: integer(member.value) for member in value.members}
        return _form(layout).pack(*(given.get(name, 0) for name, _ in layout))
    number = integer(value)
    width = length if length in (1, 2, 8) else 4
    return (number & ((1 << 8 * width) - 1)).to_bytes(width, "little")


def check_value(value: Expression, got: bytes, what: str) -> Differences:
    """Compare an option's value (``...`` matches all)."""
    if isinstance(value, Array) and len(value.items) == 1:
        value = value.items[0]
    if isinstance(value, Supplied):
        return []
    if isinstance(value, Text):
        text = got.split(b"\0")[0].decode("latin-1")
        return [] if text == value.value else [(what, f'"{value.value}"', f'"{text}"')]
    if isinstance(value, Array):
        numbers = [n for (n,) in struct.iter_unpack("=i", got[: len(got) // 4 * 4])]
        want = [integer(item) for item in value.items]
        return [] if numbers == want else [(what, str(want), str(numbers))]
    if isinstance(value, Record):
        return check_record(value, got, what)
    want_number = integer(value)
    number = int.from_bytes(got, "little", signed=True)
    mask = (1 << 8 * max(len(got), 1)) - 1
    return [] if number & mask == want_number & mask else [(what, str(want_number), str(number))]


def check_record(value: Record, got: bytes, what: str) -> Differences:
    """Compare the members that the script names."""
    layout = _layout(value)
    form = _form(layout)
    if len(got) < form.size:
        return [(what, f"{form.size} bytes", f"{len(got)} bytes")]
    have = dict(zip((name for name, _ in layout), form.unpack_from(got), strict=True))
    return [
        (f"{what}.{member.name}", str(want), str(have[member.name]))
        for member in value.members
        if not isinstance(member.value, Supplied)
        and (want := integer(member.value)) & 0xFFFFFFFFFFFFFFFF != have[member.name] & 0xFFFFFFFFFFFFFFFF
    ]


def members(value: Expression, what: str) -> dict[str, Expression]:
    """The named members of ``{...}``, or of the one record in ``[{...}]``."""
    if isinstance(value, Array) and len(value.items) == 1:
        value = value.items[0]
    if not isinstance(value, Record):
        raise Unsupported(f"{what} that is not {{name=value, ...}}")
    return {member.name: member.value for member in value.members}


def pack_control(value: Expression | None) -> list[tuple[int, int, bytes]]:
    """Control messages to send: ``[{cmsg_level=, cmsg_type=, cmsg_data=}]``."""
    if value is None or isinstance(value, Supplied) or (isinstance(value, Array) and not value.items):
        return []
    items = value.items if isinstance(value, Array) else [value]
    messages: list[tuple[int, int, bytes]] = []
    for item in items:
        fields = members(item, "a control message")
        level, kind = integer(fields["cmsg_level"]), integer(fields["cmsg_type"])
        messages.append((level, kind, pack_value(fields["cmsg_data"], 4)))
    return messages


def check_control(value: Expression, got: list[tuple[int, int, bytes]], epoch: tuple[int, int] | None) -> Differences:
    """Compare received control messages. ``epoch``: (wall clock at time 0, tolerance), ns, for time stamps."""
    if isinstance(value, Supplied):
        return []
    items = value.items if isinstance(value, Array) else [value]
    if len(items) != len(got):
        return [("number of control messages", str(len(items)), f"{len(got)}: {[m[:2] for m in got]}")]
    found: Differences = []
    for at, (item, message) in enumerate(zip(items, got, strict=True)):
        fields = members(item, "a control message")
        for name, have in (("cmsg_level", message[0]), ("cmsg_type", message[1])):
            if name in fields and (want := integer(fields[name])) != have:
                found.append((f"control[{at}].{name}", str(want), str(have)))
        if "cmsg_data" in fields and not found:
            found += _check_data(fields["cmsg_data"], message, f"control[{at}].cmsg_data", epoch)
    return found


def _check_data(
    value: Expression, message: tuple[int, int, bytes], what: str, epoch: tuple[int, int] | None
) -> Differences:
    if isinstance(value, Record) and {member.name for member in value.members} <= {"scm_sec", "scm_nsec"}:
        if epoch is None:
            raise Unsupported("time stamps in control messages")
        given = {member.name: integer(member.value) for member in value.members}
        want = given.get("scm_sec", 0) * 10**9 + given.get("scm_nsec", 0)
        seconds, nanoseconds = struct.unpack_from("=qq", message[2])
        have = seconds * 10**9 + nanoseconds - epoch[0]
        return [] if abs(want - have) <= epoch[1] else [(what, f"{want / 1e9:.6f} s", f"{have / 1e9:.6f} s")]
    if isinstance(value, Record):
        return check_record(value, message[2], what)
    width = struct.calcsize(_BYTE_WIDE.get(message[:2], "i"))
    return check_value(value, message[2][:width], what)
