"""A packet's headers, field by field: where each stands, what it holds, and what that is for."""

from __future__ import annotations

import dataclasses

from ustack.lab.language import translate
from ustack.wire import tcp
from ustack.wire.address import format_address
from ustack.wire.describe import options_text

V4_PREFIX = bytes(10) + b"\xff\xff"
_PROTOCOLS = {1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6"}


@dataclasses.dataclass(frozen=True)
class Field:
    """One field. ``at`` is the bit of its header at which it begins, ``packet_bit`` the bit of the packet; ``bits`` how
    many it has. ``meaning`` is translated."""

    header: str
    name: str
    at: int
    bits: int
    value: str
    meaning: str
    packet_bit: int = 0


Rows = list[tuple[str, int, str, str]]
"""Name, bits, value, meaning (English) of consecutive fields."""


def decode(packet: bytes) -> list[Field]:
    """The fields of the IP header and of the TCP or UDP header behind it; of another packet, what there is."""
    if len(packet) >= 20 and packet[0] >> 4 == 4:
        length, protocol = (packet[0] & 15) * 4, packet[9]
        fields = _placed("IPv4", _ipv4(packet), 0)
        if int.from_bytes(packet[6:8], "big") & 0x1FFF:
            return fields  # a fragment that is not the first: what follows is no header
    elif len(packet) >= 40 and packet[0] >> 4 == 6:
        length, protocol = 40, packet[6]
        fields = _placed("IPv6", _ipv6(packet), 0)
    else:
        return []
    rest = packet[length:]
    if protocol == tcp.PROTOCOL and len(rest) >= tcp.HEADER_LENGTH:
        fields += _placed("TCP", _tcp(rest), length * 8)
    elif protocol == 17 and len(rest) >= 8:
        fields += _placed("UDP", _udp(rest), length * 8)
    return fields


def header_lines(packet: bytes, header: str) -> list[str]:
    """One header as lines of text: bits, name, value, meaning."""
    lines = []
    for one in decode(packet):
        if one.header == header:
            bits = f"{one.at}-{one.at + one.bits - 1}" if one.bits > 1 else str(one.at)
            lines.append(f"{bits:>9}  {one.name:<22} {one.value:<16} {one.meaning}")
    return lines


def _placed(header: str, rows: Rows, start: int) -> list[Field]:
    fields, at = [], 0
    for name, bits, value, meaning in rows:
        fields.append(Field(header, name, at, bits, value, translate(meaning), start + at))
        at += bits
    return fields


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")


def _ipv4(packet: bytes) -> Rows:
    flags = packet[6] >> 5
    protocol = packet[9]
    return [
        ("version", 4, "4", "IPv4"),
        ("IHL", 4, str(packet[0] & 15), "length of this header in words of 4 bytes"),
        ("DSCP", 6, str(packet[1] >> 2), "how urgent the packet is to routers"),
        ("ECN", 2, str(packet[1] & 3), "congestion: 1 and 2 may be marked, 3 is marked"),
        ("total length", 16, str(_number(packet, 2, 2)), "bytes of the packet, this header included"),
        ("identification", 16, f"{_number(packet, 4, 2):#06x}", "the same in all fragments of a packet"),
        ("flags", 3, f"DF {flags >> 1 & 1}, MF {flags & 1}", "DF: do not fragment; MF: more fragments follow"),
        ("fragment offset", 13, str(_number(packet, 6, 2) & 0x1FFF), "where the fragment belongs, in units of 8 bytes"),
        ("time to live", 8, str(packet[8]), "each router takes one off; at 0 the packet dies"),
        ("protocol", 8, _PROTOCOLS.get(protocol, str(protocol)), "what follows: 6 is TCP, 17 is UDP"),
        ("header checksum", 16, f"{_number(packet, 10, 2):#06x}", "over this header only"),
        ("source address", 32, format_address(V4_PREFIX + packet[12:16]), "who sends"),
        ("destination address", 32, format_address(V4_PREFIX + packet[16:20]), "who is to receive"),
    ]


def _ipv6(packet: bytes) -> Rows:
    word = _number(packet, 0, 4)
    protocol = packet[6]
    return [
        ("version", 4, "6", "IPv6"),
        ("traffic class", 8, f"{word >> 20 & 0xFF:#04x}", "DSCP and ECN"),
        ("flow label", 20, f"{word & 0xFFFFF:#07x}", "the same for all packets of a flow"),
        ("payload length", 16, str(_number(packet, 4, 2)), "bytes behind this header"),
        ("next header", 8, _PROTOCOLS.get(protocol, str(protocol)), "what follows: 6 is TCP, 17 is UDP"),
        ("hop limit", 8, str(packet[7]), "each router takes one off; at 0 the packet dies"),
        ("source address", 128, format_address(packet[8:24]), "who sends"),
        ("destination address", 128, format_address(packet[24:40]), "who is to receive"),
    ]


def _tcp(header: bytes) -> Rows:
    flags = header[13]
    length = (header[12] >> 4) * 4
    rows: Rows = [
        ("source port", 16, str(_number(header, 0, 2)), "which socket of the sender"),
        ("destination port", 16, str(_number(header, 2, 2)), "which socket of the receiver"),
        ("sequence number", 32, str(_number(header, 4, 4)), "number of the first byte of text; of a SYN: the ISN"),
        ("acknowledgment number", 32, str(_number(header, 8, 4)), "the next byte that is awaited, if ACK is set"),
        ("data offset", 4, str(header[12] >> 4), "length of this header in words of 4 bytes"),
        ("reserved", 4, str(header[12] & 15), "zero; RFC 9768 uses the last one as AE"),
    ]
    rows += [
        (name, 1, str(flags >> 7 - place & 1), meaning)
        for place, (name, meaning) in enumerate(
            [
                ("CWR", "the sender has reduced its congestion window"),
                ("ECE", "a packet came that a router had marked"),
                ("URG", "the urgent pointer counts"),
                ("ACK", "the acknowledgment number counts: in all but the first SYN"),
                ("PSH", "hand the text to the application now"),
                ("RST", "the connection is broken off"),
                ("SYN", "opens: the sequence number is the ISN"),
                ("FIN", "the sender has nothing more to say"),
            ]
        )
    ]
    rows += [
        ("window", 16, str(_number(header, 14, 2)), "so many bytes the sender can take; scaled, except in a SYN"),
        ("checksum", 16, f"{_number(header, 16, 2):#06x}", "over both addresses, this header and the text"),
        ("urgent pointer", 16, str(_number(header, 18, 2)), "where urgent text ends, if URG is set"),
    ]
    return rows + _options(header[20:length])


def _options(options: bytes) -> Rows:
    meanings = {
        tcp.EOL: ("end of options", "nothing follows but padding"),
        tcp.NOP: ("option: NOP", "one byte of padding"),
        tcp.MSS: ("option: MSS", "the most text that a segment to me may carry"),
        tcp.WSCALE: ("option: window scale", "my window field counts in units of 2^n bytes"),
        tcp.SACK_PERMITTED: ("option: SACK permitted", "you may tell me what came out of order"),
        tcp.SACK: ("option: SACK", "what came out of order"),
        tcp.TIMESTAMPS: ("option: timestamps", "my clock, and yours as I saw it last"),
    }
    rows: Rows = []
    for kind, body in tcp.split_options(options)[0]:
        name, meaning = meanings.get(kind, (f"option {kind}", "see the IANA registry of TCP options"))
        whole = bytes([kind]) if kind <= tcp.NOP else bytes([kind, len(body) + 2]) + body
        value = "" if kind <= tcp.NOP else options_text(whole).partition(" ")[2]
        rows.append((name, len(whole) * 8, value, meaning))
    return rows


def _udp(header: bytes) -> Rows:
    return [
        ("source port", 16, str(_number(header, 0, 2)), "which socket of the sender"),
        ("destination port", 16, str(_number(header, 2, 2)), "which socket of the receiver"),
        ("length", 16, str(_number(header, 4, 2)), "bytes of the datagram, this header included"),
        ("checksum", 16, f"{_number(header, 6, 2):#06x}", "over both addresses, this header and the data; 0: none"),
    ]
