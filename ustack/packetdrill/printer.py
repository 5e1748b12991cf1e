"""From a tree back to text that parses to the same tree."""

from __future__ import annotations

from typing import Final

from ustack.packetdrill.tree import (
    Action,
    Application,
    Array,
    Binary,
    Clock,
    Code,
    Command,
    Event,
    Expression,
    IcmpPacket,
    IpFields,
    Member,
    Number,
    OptionKind,
    Packet,
    Ports,
    QuoteKind,
    Record,
    Script,
    Supplied,
    Symbol,
    SystemCall,
    TcpOption,
    TcpPacket,
    Text,
    Time,
    UdpPacket,
    Unary,
)
from ustack.units import SECOND

_WORDS: Final = (OptionKind.SACK_OK, OptionKind.NOP, OptionKind.EOL)


def format_seconds(nanoseconds: int) -> str:
    """Decimal seconds, exact, without needless zeros."""
    sign = "-" if nanoseconds < 0 else ""
    whole, fraction = divmod(abs(nanoseconds), SECOND)
    return f"{sign}{whole}" + (f".{fraction:09}".rstrip("0") if fraction else "")


def format_time(time: Time) -> str:
    """As it stands before an event."""
    if time.clock is Clock.ANY:
        return "*"
    plus = "+" if time.clock is Clock.RELATIVE else ""
    text = plus + format_seconds(time.start)
    return text if time.end is None else f"{text}~{plus}{format_seconds(time.end)}"


def format_expression(value: Expression) -> str:
    """A value as a system call's argument."""
    if isinstance(value, Number):
        return _number(value)
    if isinstance(value, Symbol):
        return value.name
    if isinstance(value, Text):
        return '"' + "".join(map(_escaped, value.value)) + '"'
    if isinstance(value, Supplied):
        return "..."
    return _format_compound(value)


def _number(number: Number) -> str:
    sign, value = ("-" if number.value < 0 else ""), abs(number.value)
    return sign + {16: f"{value:#x}", 8: f"0{value:o}", 10: f"{value}"}[number.radix]


def _escaped(letter: str) -> str:
    if letter in '"\\':
        return "\\" + letter
    if " " <= letter <= "~" or ord(letter) > 0xFF:
        return letter
    return f"\\x{ord(letter):02x}"


def _format_compound(value: Binary | Unary | Application | Array | Record) -> str:
    if isinstance(value, Binary):
        right = format_expression(value.right)
        left = format_expression(value.left)
        if isinstance(value.right, Binary):
            right = f"({right})"
        if isinstance(value.left, Binary) and value.left.operator != value.operator:
            left = f"({left})"
        return f"{left}|{right}" if value.operator == "|" else f"{left} {value.operator} {right}"
    if isinstance(value, Unary):
        inner = format_expression(value.operand)
        return value.operator + (f"({inner})" if isinstance(value.operand, Binary) else inner)
    if isinstance(value, Application):
        return f"{value.name}({', '.join(map(format_expression, value.arguments))})"
    if isinstance(value, Array):
        return f"[{', '.join(map(format_expression, value.items))}]"
    return "{" + ", ".join(map(_format_member, value.members)) + "}"


def _format_member(member: Member) -> str:
    if not member.name:
        return format_expression(member.value)
    count = f"({format_expression(member.count)})" if member.count is not None else ""
    return f"{member.name}{count}={format_expression(member.value)}"


def format_option(option: TcpOption) -> str:
    """One TCP option in the notation's words."""
    kind, numbers = option.kind, option.numbers
    if kind in _WORDS:
        return str(kind.value)
    if kind is OptionKind.TIMESTAMP:
        return f"TS val {numbers[0]} ecr {numbers[1]}"
    if kind is OptionKind.SACK:
        return "sack " + " ".join(f"{numbers[at]}:{numbers[at + 1]}" for at in range(0, len(numbers), 2))
    if kind is OptionKind.ACCECN:
        return " ".join(["ECN", *(f"{name} {number}" for name, number in zip(option.names, numbers, strict=True))])
    if kind in (OptionKind.MSS, OptionKind.WSCALE):
        return f"{kind.value} {numbers[0]}"
    return f"{kind.value} {option.data.hex()}" if option.data else kind.value


def format_options(options: list[TcpOption] | None) -> str:
    """All TCP options, with their angle brackets."""
    return "<" + ("..." if options is None else ",".join(map(format_option, options))) + ">"


def _format_ip(ip: IpFields) -> str:
    words = [ip.ecn] if ip.ecn else []
    words += [f"tos 0x{ip.tos:02x}"] if ip.tos is not None else []
    words += [f"ttl {ip.ttl}"] if ip.ttl is not None else []
    words += [f"flowlabel 0x{ip.flow_label:x}"] if ip.flow_label is not None else []
    words += [f"src {ip.source}"] if ip.source else []
    words += [f"dst {ip.destination}"] if ip.destination else []
    words += ["badsum"] if ip.bad_checksum else []
    if not words and not ip.brackets:
        return ""
    return ("(" + ", ".join(words) + ")" if ip.brackets == "(" else "[" + ", ".join(words) + "]") + " "


def _format_ports(ports: Ports | None) -> str:
    return f"{ports.source} > {ports.destination} " if ports is not None else ""


def format_packet(packet: Packet, *, arrow: bool = True) -> str:
    """A packet in the notation, with its arrow or without."""
    head = (packet.direction.value + " " if arrow else "") + _format_ip(packet.ip) + _format_ports(packet.ports)
    if isinstance(packet, TcpPacket):
        return head + _format_tcp(packet)
    if isinstance(packet, UdpPacket):
        return f"{head}udp ({packet.length})"
    return head + _format_icmp(packet)


def _format_tcp(packet: TcpPacket) -> str:
    text = f"{packet.flags} {packet.seq}:{packet.end}({packet.length})"
    text += f" ack {packet.ack}" if packet.ack is not None else ""
    text += f" win {packet.window}" if packet.window is not None else ""
    text += f" urg {packet.urgent}" if packet.urgent is not None else ""
    return text if packet.options == [] else f"{text} {format_options(packet.options)}"


def _format_icmp(packet: IcmpPacket) -> str:
    text = f"icmp {packet.type}" + (f" {packet.code}" if packet.code is not None else "")
    text += f" mtu {packet.mtu}" if packet.mtu is not None else ""
    text += f" id {packet.identifier}" if packet.identifier is not None else ""
    quote = packet.quote
    if quote is None:
        return text
    if quote.kind is QuoteKind.TCP:
        return f"{text} [{quote.seq}:{(quote.seq + quote.length) & 0xFFFFFFFF}({quote.length})]"
    return f"{text} [{quote.kind.value} ({quote.length})]"


def format_call(call: SystemCall) -> str:
    """A system call with its result."""
    text = f"{call.name}({', '.join(map(format_expression, call.arguments))}) = {format_expression(call.result)}"
    text += f" {call.errno}" if call.errno else ""
    return text + "".join(f" ({note})" for note in call.notes)


def format_action(action: Action) -> str:
    """Whatever an event does."""
    if isinstance(action, SystemCall):
        return format_call(action)
    if isinstance(action, Command):
        return f"`{action.text}`"
    if isinstance(action, Code):
        return "%{" + action.text + "}%"
    return format_packet(action)


def format_event(event: Event) -> str:
    """One line of a script."""
    time = format_time(event.time)
    if isinstance(event.action, SystemCall) and event.action.until is not None:
        time += "..." + format_seconds(event.action.until)
    return f"{time} {format_action(event.action)}"


def format_script(script: Script) -> str:
    """The whole file; comments are not kept."""
    lines: list[str] = []
    for setting in script.settings:
        value = setting.value
        if value is not None and (" " in value or ('"' not in value and not value)):
            value = f'"{value}"'
        lines.append(f"--{setting.name}" + (f"={value}" if value is not None else ""))
    lines += [f"`{script.init.text}`"] if script.init is not None else []
    lines += [format_event(event) for event in script.events]
    lines += [f"`{script.cleanup.text}`"] if script.cleanup is not None else []
    return "\n".join(lines) + "\n"
