"""What the parser takes, and what it says when it does not."""

from __future__ import annotations

import pytest

from ustack.packetdrill.config import configure
from ustack.packetdrill.errors import ScriptError, Unsupported
from ustack.packetdrill.parser import parse_script
from ustack.packetdrill.tree import (
    Clock,
    Code,
    Command,
    Direction,
    IcmpPacket,
    IpFields,
    OptionKind,
    Ports,
    QuoteKind,
    SystemCall,
    TcpPacket,
    UdpPacket,
)


def only(text):
    script = parse_script(text)
    assert len(script.events) == 1
    return script.events[0]


@pytest.mark.parametrize(
    ("text", "clock", "start", "end"),
    [
        ("0", Clock.ABSOLUTE, 0, None),
        (".1", Clock.ABSOLUTE, 100_000_000, None),
        ("+.000001", Clock.RELATIVE, 1000, None),
        ("1.5~2", Clock.ABSOLUTE, 1_500_000_000, 2_000_000_000),
        ("+0~+0.25", Clock.RELATIVE, 0, 250_000_000),
        ("*", Clock.ANY, 0, None),
    ],
)
def test_times(text, clock, start, end):
    time = only(f"{text} > . 1:1(0) ack 1").time
    assert (time.clock, time.start, time.end) == (clock, start, end)


def test_a_packet_with_everything():
    packet = only("0 < [ect0, ttl 3] 99 > 80 PU. 1:11(10) ack 7 win 9 urg 2 <mss 1460,nop,nop,sackOK>").action
    assert isinstance(packet, TcpPacket)
    assert packet.ip == IpFields("ect0", ttl=3, brackets="[")
    assert packet.ports == Ports(99, 80)
    assert (packet.flags, packet.seq, packet.length, packet.ack) == ("PU.", 1, 10, 7)
    assert (packet.window, packet.urgent) == (9, 2)
    assert packet.options is not None
    assert [option.kind for option in packet.options] == [
        OptionKind.MSS,
        OptionKind.NOP,
        OptionKind.NOP,
        OptionKind.SACK_OK,
    ]


def test_options_not_checked_and_no_options():
    assert only("0 > . 1:1(0) ack 1 <...>").action.options is None
    assert only("0 > . 1:1(0) ack 1").action.options == []


def test_sequence_numbers_wrap():
    assert only("0 > . 4294967291:5(10) ack 1").action.end == 5


def test_other_packets():
    assert isinstance(only("0 < udp (7)").action, UdpPacket)
    icmp = only("0 < icmp unreachable frag_needed mtu 1200 [5:15(10)]").action
    assert isinstance(icmp, IcmpPacket)
    assert (icmp.code, icmp.mtu, icmp.quote.kind, icmp.quote.seq) == ("frag_needed", 1200, QuoteKind.TCP, 5)
    assert only("0 < icmp echo_request id 9 [raw (3)]").action.identifier == 9


def test_an_icmp_without_code_before_another_event():
    script = parse_script("0 < icmp source_quench\n0.1 read(3, ..., 1) = 0\n")
    assert script.events[0].action.code is None
    assert len(script.events) == 2


def test_calls():
    call = only("0...0.5 accept(3, ..., ...) = -1 EAGAIN (Resource (temporarily) away) (why not)").action
    assert isinstance(call, SystemCall)
    assert (call.until, call.errno, call.notes) == (500_000_000, "EAGAIN", ["Resource (temporarily) away", "why not"])


def test_a_result_is_followed_by_any_time():
    script = parse_script("0 read(3, ..., 1) = 1\n+0 read(3, ..., 1) = 1\n* > . 1:1(0) ack 1\n.5 close(3) = 0")
    assert [event.line for event in script.events] == [1, 2, 3, 4]


def test_commands_code_comments():
    script = parse_script(
        "// head: words\n--mss=1000 // why\n--define=X=5\n`one\ntwo`\n"
        "0 `three` /* a\nb */\n0 %{ assert 1;\\\n assert 2 }%\n0 read(X, ..., 1) = X\n`four`"
    )
    assert script.init == Command("one\ntwo")
    assert script.cleanup == Command("four")
    assert script.events[0].action == Command("three")
    assert isinstance(script.events[1].action, Code)
    assert script.events[2].action.arguments[0].value == 5
    assert script.directives == {"head": "words"}
    assert configure(script).mss == 1000


def test_definitions_are_for_bare_words():
    script = parse_script('--define=FOO=7\n0 `FOO` // FOO\n0 open("FOO", FOO) = FOO')
    assert script.events[0].action == Command("FOO")
    assert script.events[1].action.arguments[0].value == "FOO"
    assert script.events[1].action.arguments[1].value == 7


def test_the_command_line_wins():
    script = parse_script("--mss=1000\n--define=A=1\n0 read(A, ..., 1) = 0", symbols={"A": "2"})
    assert configure(script, ["mss=900"]).mss == 900
    assert script.events[0].action.arguments[0].value == 2


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ("0 sock(3) 3", 1, 11, "expected '=' and the result of sock()"),
        ("\n0 < S 0:1(0) win 9", 2, 7, "does not add up"),
        ("0 < S 0:0(0)", 1, 13, "'win N'"),
        ("0 > S 0:0(0) <wscale 7>", 1, 14, "add 1 nop"),
        ("0 > S 0:0(0) <mss>", 1, 15, "expected a TCP option"),
        ("0 > SA 0:0(0) ack 1", 1, 15, "'ack' without the flag '.'"),
        ("0 > Q 0:0(0)", 1, 5, "expected TCP flags"),
        ("0 > P.55 0:0(0)", 1, 5, "only one digit"),
        ("+0~0.1 > . 1:1(0) ack 1", 1, 1, "both ends of a range"),
        ("0.2~0.1 > . 1:1(0) ack 1", 1, 1, "ends before it begins"),
        ("* < . 1:1(0) ack 1 win 1", 1, 1, "packets that are expected"),
        ("0...1 > . 1:1(0) ack 1", 1, 1, "only a system call can block"),
        ("0 read(3, ..., 1 = 1", 1, 18, "',' or ')'"),
        ("0 > . 1:1(0) ack 99999999999", 1, 18, "too large"),
        ("0 < icmp nonsense", 1, 10, "no ICMP type"),
        ("0 %{ assert 1", 1, 3, "python code closed by"),
        ("0 `sleep", 1, 3, "closed by another backquote"),
        ("/* never", 1, 1, "never closed"),
        ("// nothing", 1, 11, "at least one event"),
        ("0 > . 1:1(0) ack 1 <md5 00>", 1, 25, "32 hexadecimal"),
        ("`a`\n0 close(3) = 0\n`b`\n0 close(3) = 0", 4, 1, "after the cleanup command"),
    ],
)
def test_errors_say_where_and_what_was_expected(text, line, column, said):
    with pytest.raises(ScriptError) as caught:
        parse_script(text)
    assert said in str(caught.value)
    assert (caught.value.line, caught.value.column) == (line, column)


def test_errors_after_a_definition_count_the_original_columns():
    with pytest.raises(ScriptError) as caught:
        parse_script("--define=LONGWORD=1\n0 read(LONGWORD, ..., 1) 1")
    assert (caught.value.line, caught.value.column) == (2, 26)


def test_unknown_options_name_the_known_ones():
    with pytest.raises(ScriptError, match="tolerance_usecs"):
        configure(parse_script("--tolerence=4\n0 close(3) = 0"))
    with pytest.raises(ScriptError, match="takes ipv4"):
        configure(parse_script("--ip_version=ipv5\n0 close(3) = 0"))


def test_encapsulation_is_named():
    with pytest.raises(Unsupported, match="gre"):
        parse_script("0 > gre 1:1(0)")
    assert Direction("<") is Direction.INBOUND
