"""Printing and parsing are each other's inverse, for any tree."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ustack.packetdrill.icmpnames import ICMP_CODES, ICMP_TYPES
from ustack.packetdrill.packets import option_size
from ustack.packetdrill.parser import parse_script
from ustack.packetdrill.printer import format_script
from ustack.packetdrill.tree import (
    Application,
    Array,
    Binary,
    Clock,
    Code,
    Command,
    Direction,
    Event,
    IcmpPacket,
    IpFields,
    Member,
    Number,
    OptionKind,
    Ports,
    Quote,
    QuoteKind,
    Record,
    Script,
    Setting,
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

u8, u16, u32 = st.integers(0, 0xFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
instants = st.integers(0, 10**14)
names = st.from_regex(r"[A-Z][A-Z_0-9]{0,10}", fullmatch=True)
members = st.from_regex(r"[a-z][a-z_]{0,10}", fullmatch=True)


def optional(strategy):
    return st.none() | strategy


numbers = st.builds(Number, st.integers(-(2**63), 2**64), st.sampled_from([10, 16])) | st.builds(
    Number, st.integers(1, 0o7777), st.just(8)
)
leaves = (
    numbers
    | st.builds(Symbol, names)
    | st.builds(Text, st.text(st.characters(max_codepoint=255), max_size=10))
    | st.builds(Supplied)
)


def compounds(inner):
    return (
        st.builds(Binary, st.sampled_from(["|", "&", "<<", ">>"]), inner, inner)
        | st.builds(Unary, st.just("~"), inner)
        | st.builds(Application, st.from_regex(r"[a-z]{3,8}", fullmatch=True), st.lists(inner, max_size=3))
        | st.builds(Array, st.lists(inner, max_size=3))
        | st.builds(Record, st.lists(st.builds(Member, members, inner, optional(numbers)), max_size=3))
    )


expressions = st.recursive(leaves, compounds, max_leaves=6)

options = st.one_of(
    st.sampled_from([OptionKind.NOP, OptionKind.EOL, OptionKind.SACK_OK]).map(TcpOption),
    u16.map(lambda n: TcpOption(OptionKind.MSS, (n,))),
    u8.map(lambda n: TcpOption(OptionKind.WSCALE, (n,))),
    st.tuples(u32, u32).map(lambda pair: TcpOption(OptionKind.TIMESTAMP, pair)),
    st.lists(st.tuples(u32, u32), min_size=1, max_size=3).map(
        lambda pairs: TcpOption(OptionKind.SACK, tuple(n for pair in pairs for n in pair))
    ),
    st.binary(max_size=8).map(lambda data: TcpOption(OptionKind.FAST_OPEN, data=data)),
    st.binary(max_size=8).map(lambda data: TcpOption(OptionKind.FAST_OPEN_EXPERIMENT, data=data)),
    (st.none() | st.binary(min_size=16, max_size=16)).map(lambda data: TcpOption(OptionKind.MD5, data=data)),
    st.lists(st.integers(0, 0xFFFFFF), max_size=3).map(
        lambda values: TcpOption(OptionKind.ACCECN, tuple(values), names=("e1b", "ceb", "e0b")[: len(values)])
    ),
)


@st.composite
def option_lists(draw):
    chosen = []
    for option in draw(st.lists(options, max_size=4)):
        if sum(map(option_size, [*chosen, option])) <= 36:
            chosen.append(option)
    padding = -sum(map(option_size, chosen)) % 4
    return chosen + [TcpOption(OptionKind.NOP)] * padding


@st.composite
def ip_fields(draw, inbound):
    words = ["ect0", "ect1", "ce", "noecn"] + ([] if inbound else ["ect01"])
    fields = IpFields(
        draw(optional(st.sampled_from(words))),
        draw(optional(u8)),
        draw(optional(u8)),
        draw(optional(st.integers(0, 0xFFFFF))),
    )
    if not fields.is_plain():
        fields.brackets = draw(st.sampled_from("(["))
    return fields


@st.composite
def packets(draw):
    inbound = draw(st.booleans())
    direction = Direction.INBOUND if inbound else Direction.OUTBOUND
    ip = draw(ip_fields(inbound))
    ports = draw(optional(st.builds(Ports, u16, u16)))
    kind = draw(st.sampled_from(["tcp", "tcp", "tcp", "udp", "icmp"]))
    length = st.integers(0, 65400) if inbound else u16  # what is injected must fit a packet
    if kind == "udp":
        return UdpPacket(direction, draw(length), ip, ports)
    if kind == "icmp":
        return draw(icmp_packets(direction, ip, ports))
    flags = draw(st.sampled_from(["S", "S.", ".", "P.", "F.", "R", "FP.", "-", "SEW", "P.5", "SA", "PU."]))
    return TcpPacket(
        direction,
        flags,
        draw(u32),
        draw(length),
        draw(u32) if "." in flags else None,
        draw(u16) if inbound else draw(optional(u16)),
        draw(optional(u16)),
        draw(option_lists()) if inbound else draw(optional(option_lists())),
        ip,
        ports,
    )


@st.composite
def icmp_packets(draw, direction, ip, ports):
    quotes = st.builds(Quote, st.just(QuoteKind.TCP), u32, u16) | st.builds(
        Quote, st.sampled_from([QuoteKind.UDP, QuoteKind.RAW]), st.just(0), u16
    )
    return IcmpPacket(
        direction,
        draw(st.sampled_from(sorted(ICMP_TYPES))),
        draw(optional(st.sampled_from(sorted(ICMP_CODES)))),
        draw(optional(u32)),
        draw(optional(u16)),
        draw(optional(quotes)),
        ip,
        ports,
    )


calls = st.builds(
    SystemCall,
    st.from_regex(r"[a-z][a-z_]{2,10}", fullmatch=True),
    st.lists(expressions, max_size=4),
    leaves,
    optional(st.sampled_from(["EAGAIN", "ECONNRESET", "EINPROGRESS"])),
    st.lists(st.from_regex(r"[A-Za-z ]{1,12}", fullmatch=True), max_size=2),
    optional(instants),
)
commands = st.builds(Command, st.text(st.characters(exclude_characters="`", max_codepoint=126), max_size=20))
codes = st.builds(Code, st.from_regex(r"[a-z =0-9\n]{0,20}", fullmatch=True))


@st.composite
def events(draw):
    action = draw(packets() | calls | commands | codes)
    plain = st.builds(Time, st.sampled_from([Clock.ABSOLUTE, Clock.RELATIVE]), instants)
    if getattr(action, "direction", None) is not Direction.OUTBOUND:
        return Event(draw(plain), action)
    clock = draw(st.sampled_from(list(Clock)))
    if clock is Clock.ANY:
        return Event(Time(clock), action)
    start = draw(instants)
    return Event(Time(clock, start, draw(optional(st.integers(start, 10**15)))), action)


scripts = st.builds(
    Script,
    st.lists(st.builds(Setting, st.sampled_from(["mss", "ip_version", "speed"]), optional(members)), max_size=3),
    optional(commands),
    st.lists(events(), min_size=1, max_size=6),
    optional(commands),
)


@settings(max_examples=150, deadline=None)
@given(scripts)
def test_what_is_printed_parses_to_the_same(script):
    text = format_script(script)
    assert parse_script(text) == script, text


@settings(max_examples=50, deadline=None)
@given(scripts)
def test_printing_is_stable(script):
    text = format_script(script)
    assert format_script(parse_script(text)) == text
