"""One line of text for a packet: what traces print, in the notation of packetdrill.

``10.0.0.1:40000 > 10.0.0.2:80 S 7:7(0) win 64240 <mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 7>``
"""

from __future__ import annotations

import struct
from typing import Final

from ustack.drops import DROP_RULES
from ustack.wire import icmp, tcp
from ustack.wire.address import format_address, is_v4
from ustack.wire.parse import parse_packet
from ustack.wire.records import (
    Datagram,
    Fragment,
    Frame,
    IcmpMessage,
    OtherPacket,
    RawTransmit,
    Refused,
    Segment,
    Transmit,
)

_FLAG_LETTERS: Final = (
    (tcp.FIN, "F"),
    (tcp.SYN, "S"),
    (tcp.RST, "R"),
    (tcp.PSH, "P"),
    (tcp.ACK, "."),
    (tcp.ECE, "E"),
    (tcp.CWR, "W"),
    (tcp.AE, "A"),
    (tcp.URG, "U"),
)
_ECN_NAMES: Final = ("", "ect1", "ect0", "ce")
_PROTOCOL_NAMES: Final = {1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 41: "ipv6", 47: "gre", 50: "esp", 58: "icmp6"}

_ICMP_NAMES: Final = {
    0: "echo_reply",
    3: "unreachable",
    4: "source_quench",
    5: "redirect",
    8: "echo_request",
    11: "time_exceeded",
    12: "parameter_problem",
}
_UNREACHABLE_NAMES: Final = {
    0: "net_unreachable",
    1: "host_unreachable",
    2: "protocol_unreachable",
    3: "port_unreachable",
    4: "frag_needed",
    5: "source_route_failed",
    6: "net_unknown",
    7: "host_unknown",
    8: "source_host_isolated",
    9: "net_prohibited",
    10: "host_prohibited",
    11: "net_unreachable_for_tos",
    12: "host_unreachable_for_tos",
    13: "admin_prohibited",
    14: "precedence_violation",
    15: "precedence_cutoff",
}
_ICMP6_NAMES: Final = {
    1: "unreachable",
    2: "packet_too_big",
    3: "time_exceeded",
    4: "parameter_problem",
    128: "echo_request",
    129: "echo_reply",
    133: "router_solicitation",
    134: "router_advertisement",
    135: "neighbor_solicitation",
    136: "neighbor_advertisement",
}
_UNREACHABLE6_NAMES: Final = {
    0: "no_route",
    1: "admin_prohibited",
    2: "beyond_scope",
    3: "address_unreachable",
    4: "port_unreachable",
    5: "source_policy",
    6: "reject_route",
}
_MSS: Final = struct.Struct(">H")
_WORDS: Final = struct.Struct(">I")


def describe_packet(packet: bytes | memoryview) -> str:
    """Of the bytes of an IP packet, whatever they are."""
    return describe(parse_packet(packet))


def describe(frame: Frame | Transmit | RawTransmit) -> str:
    """Of anything that arrives or leaves. Sequence numbers are the wire's: see :func:`segment_text` for others."""
    if isinstance(frame, RawTransmit):
        return describe_packet(frame.packet)
    if isinstance(frame, Transmit):
        ends = _ends(frame.source, frame.source_port, frame.destination, frame.destination_port)
        return f"{_ip_text(frame.tos)}{ends} {_transmit_text(frame)}"
    if isinstance(frame, Refused) and len(frame.packet) < 20:
        return f"{len(frame.packet)} bytes {_refused_text(frame)}"
    ends = _ends(frame.source, frame.source_port, frame.destination, frame.destination_port)
    return f"{_ip_text(frame.tos)}{ends} {_body_text(frame)}"


def describe_body(frame: Frame) -> str:
    """Without addresses: ``udp 40000 > 53 (12)``, ``icmp unreachable port_unreachable (40)``, a segment's text."""
    if isinstance(frame, Datagram):
        return f"udp {frame.source_port} > {frame.destination_port} ({len(frame.payload)})"
    return _body_text(frame)


def flag_letters(flags: int) -> str:
    """``S.``, ``FP.``, ``SEW``, ...; ``-`` for none."""
    return "".join(letter for flag, letter in _FLAG_LETTERS if flags & flag) or "-"


def segment_text(segment: Segment, seq_base: int = 0, ack_base: int = 0) -> str:
    """Flags, numbers and options; numbers count from the two bases (each side's ISN, say)."""
    options = segment.options
    if segment.has_ts and not options:
        options = b"\x01\x01\x08\x0a" + _WORDS.pack(segment.ts_val) + _WORDS.pack(segment.ts_ecr)
    numbers = _numbers_text(segment.flags, segment.seq - seq_base, segment.ack - ack_base, segment.payload_length)
    text = f"{numbers} win {segment.window}{_urgent_text(segment.flags, segment.urgent)}"
    text += _options_part(options, ack_base)
    if segment.segs > 1:
        text += f" in {segment.segs} segments"
    return text


def options_text(options: bytes, sack_base: int = 0) -> str:
    """``mss 1460,sackOK,nop,wscale 7``: kinds in the order seen; what is malformed ends it."""
    items, malformed = tcp.split_options(options)
    parts = [_option_text(kind, body, sack_base) for kind, body in items]
    if malformed:
        parts.append("malformed")
    return ",".join(parts)


def _transmit_text(transmit: Transmit) -> str:
    text = _numbers_text(transmit.flags, transmit.seq, transmit.ack, transmit.length)
    text += f" win {transmit.window}{_urgent_text(transmit.flags, transmit.urgent)}{_options_part(transmit.options, 0)}"
    size = transmit.segment_size
    if 0 < size < transmit.length:
        text += f" in {-(-transmit.length // size)} segments"
    return text


def _numbers_text(flags: int, seq: int, ack: int, length: int) -> str:
    seq &= 0xFFFFFFFF
    text = f"{flag_letters(flags)} {seq}:{(seq + length) & 0xFFFFFFFF}({length})"
    return f"{text} ack {ack & 0xFFFFFFFF}" if flags & tcp.ACK else text


def _urgent_text(flags: int, urgent: int) -> str:
    return f" urg {urgent}" if flags & tcp.URG else ""


def _options_part(options: bytes, sack_base: int) -> str:
    return f" <{options_text(options, sack_base)}>" if options else ""


def _option_text(kind: int, body: bytes, sack_base: int) -> str:
    size = len(body)
    if kind == tcp.EOL:
        return "eol"
    if kind == tcp.NOP:
        return "nop"
    if kind == tcp.MSS and size == 2:
        return f"mss {_MSS.unpack(body)[0]}"
    if kind == tcp.WSCALE and size == 1:
        return f"wscale {body[0]}"
    if kind == tcp.SACK_PERMITTED and size == 0:
        return "sackOK"
    if kind == tcp.TIMESTAMPS and size == 8:
        return f"TS val {_WORDS.unpack(body[:4])[0]} ecr {_WORDS.unpack(body[4:])[0]}"
    if kind == tcp.SACK and size and size % 8 == 0:
        return _sack_text(body, sack_base)
    return _rare_option_text(kind, body)


def _sack_text(body: bytes, base: int) -> str:
    edges = [(_WORDS.unpack(body[at : at + 4])[0] - base) & 0xFFFFFFFF for at in range(0, len(body), 4)]
    blocks = [f"{edges[i]}:{edges[i + 1]}" for i in range(0, len(edges), 2)]
    return f"sack {' '.join(blocks)}"


def _rare_option_text(kind: int, body: bytes) -> str:
    if kind == tcp.FAST_OPEN:
        return f"FO {body.hex()}".rstrip()
    if kind == tcp.EXPERIMENT_2 and body.startswith(tcp.FAST_OPEN_MAGIC.to_bytes(2, "big")):
        return f"FOEXP {body[2:].hex()}".rstrip()
    if kind == tcp.MD5:
        return f"md5 {body.hex()}".rstrip()
    return f"{kind} 0x{body.hex()}"


def _ip_text(tos: int) -> str:
    """``(ect0) `` when there is something to say, as packetdrill writes it."""
    if tos & 0xFC:
        return f"(tos 0x{tos:02x}) "
    return f"({_ECN_NAMES[tos & 3]}) " if tos else ""


def _ends(source: bytes, source_port: int, destination: bytes, destination_port: int) -> str:
    if not source_port and not destination_port:
        return f"{format_address(source)} > {format_address(destination)}"
    return f"{endpoint_text(source, source_port)} > {endpoint_text(destination, destination_port)}"


def endpoint_text(address: bytes, port: int) -> str:
    """``10.0.0.1:80`` or ``[fd00::1]:80``."""
    text = format_address(address)
    return f"{text}:{port}" if is_v4(address) else f"[{text}]:{port}"


def _body_text(frame: Frame) -> str:
    if isinstance(frame, Segment):
        return segment_text(frame)
    if isinstance(frame, Datagram):
        return f"udp ({len(frame.payload)})"
    if isinstance(frame, IcmpMessage):
        return _icmp_text(frame)
    if isinstance(frame, Fragment):
        more = "+" if frame.more else ""
        name = _protocol_name(frame.protocol)
        return f"{name} fragment {frame.identification:#x} {frame.offset}{more} ({len(frame.payload)})"
    if isinstance(frame, Refused):
        return _refused_text(frame)
    if isinstance(frame, OtherPacket):
        return f"{_protocol_name(frame.protocol)} ({len(frame.payload)})"
    return _protocol_name(frame.protocol)


def _protocol_name(protocol: int) -> str:
    return _PROTOCOL_NAMES.get(protocol, f"protocol {protocol}")


def _refused_text(frame: Refused) -> str:
    rule, source = DROP_RULES.get(frame.reason, ("", ""))
    return f"refused {frame.reason.name}: {rule} ({source})" if rule else f"refused {frame.reason.name}"


def _icmp_text(message: IcmpMessage) -> str:
    v4 = message.protocol == icmp.PROTOCOL_V4
    kind = message.type
    name = (_ICMP_NAMES if v4 else _ICMP6_NAMES).get(kind, f"type {kind}")
    text = f"{'icmp' if v4 else 'icmp6'} {name}"
    if name in ("echo_request", "echo_reply"):
        return f"{text} id {message.rest >> 16} seq {message.rest & 0xFFFF} ({len(message.body)})"
    if name == "unreachable":
        names = _UNREACHABLE_NAMES if v4 else _UNREACHABLE6_NAMES
        text += f" {names.get(message.code, str(message.code))}"
        if v4 and message.code == icmp.FRAGMENTATION_NEEDED:
            text += f" mtu {message.rest & 0xFFFF}"
    elif name == "packet_too_big":
        text += f" mtu {message.rest}"
    elif message.code:
        text += f" {message.code}"
    return f"{text} ({len(message.body)})"
