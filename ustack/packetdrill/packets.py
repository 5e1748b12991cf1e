"""The part of the parser that reads packets."""

from __future__ import annotations

import re
from typing import Final, NoReturn

from ustack.packetdrill.cursor import Cursor
from ustack.packetdrill.errors import Unsupported
from ustack.packetdrill.hints import did_you_mean
from ustack.packetdrill.icmpnames import ICMP_CODES, ICMP_TYPES
from ustack.packetdrill.tree import (
    Direction,
    IcmpPacket,
    IpFields,
    OptionKind,
    Packet,
    Ports,
    Quote,
    QuoteKind,
    TcpOption,
    TcpPacket,
    UdpPacket,
)

_IP_FIELD: Final = re.compile(
    r"(?P<word>ect01|ect0|ect1|ce|noecn|badsum)\b|tos\s+(?P<tos>0[xX][0-9a-fA-F]+|\d+)|ttl\s+(?P<ttl>\d+)"
    r"|flowlabel\s+(?P<label>0[xX][0-9a-fA-F]+|\d+)|src\s+(?P<src>[0-9a-fA-F.:]+)|dst\s+(?P<dst>[0-9a-fA-F.:]+)"
)
_PORTS: Final = re.compile(r"(\d+)\s*>\s*(\d+)")
_FLAGS: Final = re.compile(r"([FSRP.EWAU0-7]+|-)(?=[\s/])")
_SEQ: Final = re.compile(r"(\d+)\s*:\s*(\d+)\s*\(\s*(\d+)\s*\)")
_CLAUSE: Final = re.compile(r"(ack|win|urg)\s+(\d+)")
_COUNT: Final = re.compile(r"\(\s*(\d+)\s*\)")
_WORD: Final = re.compile(r"[A-Za-z_]\w*|\d+")
_ENCAPSULATED: Final = re.compile(r"(ipv4|ipv6|gre|mpls|sctp|udplite|ethernet)\b")
_HEX: Final = re.compile(r"(?:0x)?([0-9a-fA-F]+)")
_OPTION: Final = re.compile(
    r"(?P<word>sackOK|nop|eol)\b|mss\s+(?P<mss>\d+)|wscale\s+(?P<wscale>\d+)"
    r"|TS\s+val\s+(?P<val>\d+)\s+ecr\s+(?P<ecr>\d+)|(?P<sack>sack\s+\d+:\d+(?:\s+\d+:\d+)*)"
    r"|(?P<ecn>ECN(?:\s+e[01]b\s+\d+|\s+ceb\s+\d+)*)"
    r"|(?P<blob>FOEXP|FO|md5|raw)\b(?:\s+(?:0x)?(?P<hex>[0-9a-fA-F]+))?"
)
_PAIR: Final = re.compile(r"(\d+):(\d+)")
_COUNTER: Final = re.compile(r"(e0b|e1b|ceb)\s+(\d+)")
_OPTIONS_HELP: Final = (
    "a TCP option: mss N, wscale N, sackOK, TS val N ecr N, sack A:B, nop, eol, FO HEX, FOEXP HEX, md5 HEX, "
    "ECN e1b N ceb N e0b N"
)
_BLOBS: Final = {
    "FO": OptionKind.FAST_OPEN,
    "FOEXP": OptionKind.FAST_OPEN_EXPERIMENT,
    "md5": OptionKind.MD5,
    "raw": OptionKind.RAW,
}
_OPTION_WORDS: Final = ("mss", "wscale", "sackOK", "TS val", "sack", "nop", "eol", "FO", "FOEXP", "md5", "ECN", "raw")
_WORDS: Final = {"sackOK": OptionKind.SACK_OK, "nop": OptionKind.NOP, "eol": OptionKind.EOL}
_MOST: Final = 65535 - 20 - 20
"""Bytes of text and TCP options that fit one IPv4 packet."""


def parse_packet(cursor: Cursor, direction: Direction) -> Packet:
    """What follows the arrow of a packet."""
    ip = _ip_fields(cursor, direction)
    if (found := _ENCAPSULATED.match(cursor.text, cursor.skip())) is not None:
        raise Unsupported(f"{found.group()} packets")
    ports: Ports | None = None
    named = cursor.match(_PORTS)
    if named is not None:
        ports = Ports(_number(cursor, named, 1, 0xFFFF), _number(cursor, named, 2, 0xFFFF))
    if cursor.take("udp"):
        length = cursor.need_match(_COUNT, "the payload's length, '(N)', after udp")
        most = _MOST + 20 - 8 if direction is Direction.INBOUND else 0xFFFFFFFF
        return UdpPacket(direction, _number(cursor, length, 1, most), ip, ports)
    if cursor.take("icmp"):
        return _icmp(cursor, direction, ip, ports)
    return _tcp(cursor, direction, ip, ports)


def _number(cursor: Cursor, found: re.Match[str], group: int | str, most: int = 0xFFFFFFFF) -> int:
    value = int(found.group(group), 0) if found.group(group)[:2] in ("0x", "0X") else int(found.group(group))
    if value > most:
        cursor.fail(f"{value} is too large: at most {most} fits here", found.start(group))
    return value


def _ip_fields(cursor: Cursor, direction: Direction) -> IpFields:
    fields = IpFields()
    if not (cursor.looking_at("(") or cursor.looking_at("[")):
        return fields
    fields.brackets = cursor.text[cursor.at]
    cursor.at += 1
    closing = ")" if fields.brackets == "(" else "]"
    while not cursor.take(closing):
        found = cursor.need_match(_IP_FIELD, f"ect0, ect1, ect01, ce, noecn, tos N, ttl N, flowlabel N or '{closing}'")
        if found["word"] == "badsum":
            fields.bad_checksum = True
        elif found["word"]:
            fields.ecn = found["word"]
            if fields.ecn == "ect01" and direction is Direction.INBOUND:
                cursor.fail("ect01 means 'either': an inbound packet needs ect0 or ect1", found.start())
        fields.tos = _number(cursor, found, "tos", 0xFF) if found["tos"] else fields.tos
        fields.ttl = _number(cursor, found, "ttl", 0xFF) if found["ttl"] else fields.ttl
        fields.flow_label = _number(cursor, found, "label", 0xFFFFF) if found["label"] else fields.flow_label
        fields.source = found["src"] or fields.source
        fields.destination = found["dst"] or fields.destination
        cursor.take(",")
    return fields


def _tcp(cursor: Cursor, direction: Direction, ip: IpFields, ports: Ports | None) -> TcpPacket:
    found = cursor.match(_FLAGS)
    if found is None:
        _no_flags(cursor)
    flags = found.group(1)
    if sum(letter.isdigit() for letter in flags) > 1:
        cursor.fail("only one digit, for the three-bit ACE field, may stand among the flags", found.start())
    where = cursor.skip()
    numbers = cursor.need_match(_SEQ, "the sequence numbers, 'start:end(length)'")
    seq, end = _number(cursor, numbers, 1), _number(cursor, numbers, 2)
    length = _number(cursor, numbers, 3, 0xFFFF * 16)
    if (seq + length - end) & 0xFFFFFFFF:
        cursor.fail(f"{seq}:{end}({length}) does not add up: from {seq} to {end} are {end - seq} bytes", where)
    packet = TcpPacket(direction, flags, seq, length, ip=ip, ports=ports)
    end = cursor.at
    while (clause := cursor.match(_CLAUSE)) is not None:
        _clause(cursor, packet, clause)
        end = cursor.at
    if cursor.take("<"):
        packet.options = parse_options(cursor, direction)
    if direction is Direction.INBOUND and length > (most := _MOST - sum(map(option_size, packet.options or []))):
        cursor.fail(f"{length} bytes do not fit one IP packet: this inbound segment holds {most} at most", where)
    if direction is Direction.INBOUND and packet.window is None:
        cursor.fail("an inbound packet must say its window: expected 'win N' here, after ack, before <options>", end)
    return packet


def _no_flags(cursor: Cursor) -> NoReturn:
    """Fail, naming the letter that is none if the word looks like flags."""
    word = re.compile(r"[A-Za-z.0-9]+").match(cursor.text, cursor.skip())
    wrong = (
        next((letter for letter in word.group() if letter not in "FSRP.EWAU01234567"), "") if word is not None else ""
    )
    known = "letters of F S R P . E W A U ('.' is ACK), a digit 0-7, or '-' (or udp, icmp)"
    cursor.expected(f"TCP flags: {known}", f"'{wrong}' is no flag" if wrong else "")


def _clause(cursor: Cursor, packet: TcpPacket, clause: re.Match[str]) -> None:
    if clause[1] == "ack":
        if packet.has("A") and not packet.has("."):
            cursor.fail(
                "'ack' without the flag '.': write '.' among the flags ('A' is AE of Accurate ECN, not ACK), "
                "or leave 'ack' out",
                clause.start(),
            )
        packet.ack = _number(cursor, clause, 2)
    elif clause[1] == "win":
        packet.window = _number(cursor, clause, 2, 0xFFFF)
    else:
        packet.urgent = _number(cursor, clause, 2, 0xFFFF)


def parse_options(cursor: Cursor, direction: Direction) -> list[TcpOption] | None:
    """The TCP options; their '<' is behind us. None for ``<...>``."""
    start = cursor.at
    if cursor.take("..."):
        if direction is Direction.INBOUND:
            cursor.fail("<...> means 'not checked': an inbound packet must say its options", start)
        cursor.need(">", "after '...'")
        return None
    options: list[TcpOption] = []
    if cursor.take(">"):
        return options
    while True:
        options.append(_option(cursor))
        if cursor.take(">"):
            break
        if not cursor.take(","):
            cursor.expected("',' or '>' after a TCP option")
    size = sum(map(option_size, options))
    if size % 4 and any(option.kind is OptionKind.FAST_OPEN and not option.data for option in options):
        # A request for a cookie is two bytes long, and Linux fills up with nops: a script need not write them.
        options += [TcpOption(OptionKind.NOP)] * (-size % 4)
        size += -size % 4
    if size % 4 and options[-1].kind is not OptionKind.RAW:
        cursor.fail(f"these options take {size} bytes, no multiple of 4: add {4 - size % 4} nop", start - 1)
    if size > 40:
        cursor.fail(f"these options take {size} bytes: a TCP header has room for 40", start - 1)
    return options


def option_size(option: TcpOption) -> int:
    """Bytes on the wire."""
    kind = option.kind
    if kind in (OptionKind.NOP, OptionKind.EOL):
        return 1
    if kind is OptionKind.RAW:
        return len(option.data or b"")
    if kind is OptionKind.MD5:
        return 18
    fixed = {OptionKind.MSS: 4, OptionKind.WSCALE: 3, OptionKind.SACK_OK: 2, OptionKind.TIMESTAMP: 10}
    if kind in fixed:
        return fixed[kind]
    if kind is OptionKind.SACK:
        return 2 + 4 * len(option.numbers)
    if kind is OptionKind.ACCECN:
        return 2 + 3 * len(option.numbers)
    return (4 if kind is OptionKind.FAST_OPEN_EXPERIMENT else 2) + len(option.data or b"")


def _option(cursor: Cursor) -> TcpOption:
    found = cursor.match(_OPTION)
    if found is None:
        word = _WORD.match(cursor.text, cursor.skip())
        near = did_you_mean(word.group(), _OPTION_WORDS) if word is not None else ""
        cursor.expected(_OPTIONS_HELP, near)
    if found["word"]:
        return TcpOption(_WORDS[found["word"]])
    if found["mss"]:
        return TcpOption(OptionKind.MSS, (_number(cursor, found, "mss", 0xFFFF),))
    if found["wscale"]:
        return TcpOption(OptionKind.WSCALE, (_number(cursor, found, "wscale", 0xFF),))
    if found["val"]:
        return TcpOption(OptionKind.TIMESTAMP, (_number(cursor, found, "val"), _number(cursor, found, "ecr")))
    if found["sack"]:
        numbers = [int(edge) for pair in _PAIR.findall(found["sack"]) for edge in pair]
        return TcpOption(OptionKind.SACK, tuple(numbers))
    if found["ecn"]:
        return _accecn(cursor, found)
    return _blob(cursor, found)


def _accecn(cursor: Cursor, found: re.Match[str]) -> TcpOption:
    counters = _COUNTER.findall(found["ecn"])
    names = tuple(name for name, _ in counters)
    if names != ("e1b", "ceb", "e0b")[: len(names)] and names != ("e0b", "ceb", "e1b")[: len(names)]:
        cursor.fail("ECN counters come as 'e1b N ceb N e0b N' or 'e0b N ceb N e1b N', or fewer of these", found.start())
    return TcpOption(OptionKind.ACCECN, tuple(int(value) & 0xFFFFFF for _, value in counters), names=names)


def _blob(cursor: Cursor, found: re.Match[str]) -> TcpOption:
    digits = found["hex"] or ""
    if len(digits) % 2:
        cursor.fail(f"an odd number of hexadecimal digits ({len(digits)})", found.start("hex"))
    kind = _BLOBS[found["blob"]]
    data: bytes | None = bytes.fromhex(digits)
    if kind is OptionKind.MD5 and not digits:
        data = None
    if kind is OptionKind.MD5 and digits and len(digits) != 32:
        cursor.fail("an md5 digest has 32 hexadecimal digits", found.start("hex"))
    return TcpOption(kind, data=data)


def _icmp(cursor: Cursor, direction: Direction, ip: IpFields, ports: Ports | None) -> IcmpPacket:
    kind = cursor.need_match(_WORD, "an ICMP type: " + ", ".join(sorted(ICMP_TYPES)))
    if kind.group() not in ICMP_TYPES and not kind.group().isdigit():
        cursor.fail(f"no ICMP type '{kind.group()}'; known are " + ", ".join(sorted(ICMP_TYPES)), kind.start())
    packet = IcmpPacket(direction, kind.group(), ip=ip, ports=ports)
    code = re.compile(r"(?!mtu\b|id\b)([A-Za-z_]\w*|\d+(?![\d.~]*\s*[<>`%+]))").match(cursor.text, cursor.skip())
    line_end = cursor.text.find("\n", kind.end())
    if code is not None and (line_end < 0 or code.start() < line_end):
        if code.group() not in ICMP_CODES and not code.group().isdigit():
            cursor.fail(f"no ICMP code '{code.group()}'; known are " + ", ".join(sorted(ICMP_CODES)), code.start())
        packet.code = code.group()
        cursor.at = code.end()
    if (mtu := cursor.match(re.compile(r"mtu\s+(\d+)"))) is not None:
        packet.mtu = _number(cursor, mtu, 1)
    if (identifier := cursor.match(re.compile(r"id\s+(\d+)"))) is not None:
        packet.identifier = _number(cursor, identifier, 1, 0xFFFF)
    if cursor.take("["):
        packet.quote = _quote(cursor)
    return packet


def _quote(cursor: Cursor) -> Quote:
    for kind in (QuoteKind.UDP, QuoteKind.RAW):
        if cursor.take(kind.value):
            length = cursor.need_match(_COUNT, f"'(N)' after {kind.value}")
            cursor.need("]", "after what the ICMP message quotes")
            return Quote(kind, length=int(length.group(1)))
    numbers = cursor.need_match(_SEQ, "what the ICMP message quotes: 'start:end(length)', 'udp (N)' or 'raw (N)'")
    cursor.need("]", "after what the ICMP message quotes")
    return Quote(QuoteKind.TCP, int(numbers.group(1)), int(numbers.group(3)))
