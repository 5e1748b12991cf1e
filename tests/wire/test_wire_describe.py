"""One line for anything: the lines themselves."""

import pytest

from ustack.ring import SendRing
from ustack.wire import icmp, ipv4, ipv6, udp
from ustack.wire.address import parse_address
from ustack.wire.describe import describe, describe_packet, flag_letters, options_text, segment_text
from ustack.wire.frame import RawTransmit, Segment, Transmit
from ustack.wire.parse import parse_packet
from ustack.wire.split import cut
from ustack.wire.tcp import ACK, CWR, ECE, FIN, PSH, SYN, URG

FOUR = (parse_address("10.0.0.1"), parse_address("10.0.0.2"))
SIX = (parse_address("fd00::1"), parse_address("fd00::2"))
SYN_OPTIONS = bytes.fromhex("020405b40402080a00000001000000000103030a")


def test_a_syn_says_the_same_as_transmit_and_as_frame() -> None:
    syn = Transmit(*FOUR, 40000, 80, 7, 0, SYN | ECE | CWR, 64240, 0, SYN_OPTIONS)
    line = "10.0.0.1:40000 > 10.0.0.2:80 SEW 7:7(0) win 64240 <mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 10>"
    assert describe(syn) == line
    assert describe_packet(cut(syn)[0]) == line
    assert describe(RawTransmit(cut(syn)[0])) == line


def test_a_run() -> None:
    ring = SendRing(10000)
    ring.write(bytes(5000))
    run = Transmit(*SIX, 1, 2, 0xFFFFFFFF, 5, ACK | PSH | FIN | URG, 9, 3, ring=ring, length=5000, segment_size=1000)
    run.tos = 2
    assert (
        describe(run) == "(ect0) [fd00::1]:1 > [fd00::2]:2 FP.U 4294967295:4999(5000) ack 5 win 9 urg 3 in 5 segments"
    )


def test_numbers_from_a_base_and_timestamps_without_raw_options() -> None:
    segment = Segment(bytes(36), 6, 0, 64, b"", 105, 1010, ACK, 9, 0, True, 3, 4, b"", b"xyz", 3, 2, 2)
    assert segment_text(segment, 100, 1000) == ". 5:8(3) ack 10 win 9 <nop,nop,TS val 3 ecr 4> in 2 segments"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ("00", "eol"),
        ("050a0000000a00000014", "sack 9:19"),
        ("05120000000a000000140000001e00000028", "sack 9:19 29:39"),
        ("2202", "FO"),
        ("22060a0b0c0d", "FO 0a0b0c0d"),
        ("fe06f9890102", "FOEXP 0102"),
        ("1312" + "ab" * 16, "md5 " + "ab" * 16),
        ("4d03ff", "77 0xff"),
        ("0203ff0101", "2 0xff,nop,nop"),
        ("01020501", "nop,malformed"),
    ],
)
def test_options(options: str, text: str) -> None:
    assert options_text(bytes.fromhex(options), sack_base=1) == text


def test_flags() -> None:
    assert flag_letters(0) == "-"
    assert flag_letters(0xFFF) == "FSRP.EWAU"


@pytest.mark.parametrize(
    ("protocol", "text", "line"),
    [
        (17, udp.build(*FOUR, 53, 99, b"abc"), "10.0.0.1:53 > 10.0.0.2:99 udp (3)"),
        (1, icmp.build_echo_request(*FOUR, 7, 9, b"abc"), "10.0.0.1 > 10.0.0.2 icmp echo_request id 7 seq 9 (3)"),
        (
            1,
            icmp.build_unreachable(*FOUR, 4, b"E" * 28, 1400),
            "10.0.0.1 > 10.0.0.2 icmp unreachable frag_needed mtu 1400 (28)",
        ),
        (1, icmp.build_time_exceeded(*FOUR, 1, b"E" * 28), "10.0.0.1 > 10.0.0.2 icmp time_exceeded 1 (28)"),
        (1, icmp.build(*FOUR, 77, 0, 0, b""), "10.0.0.1 > 10.0.0.2 icmp type 77 (0)"),
        (47, b"abc", "10.0.0.1 > 10.0.0.2 gre (3)"),
        (99, b"abc", "10.0.0.1 > 10.0.0.2 protocol 99 (3)"),
    ],
)
def test_ipv4(protocol: int, text: bytes, line: str) -> None:
    assert describe_packet(ipv4.build(*FOUR, protocol, text)) == line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (icmp.build_packet_too_big(*SIX, 1300, b"`" * 48), "icmp6 packet_too_big mtu 1300 (48)"),
        (icmp.build_unreachable(*SIX, 4, b"`" * 48), "icmp6 unreachable port_unreachable (48)"),
        (icmp.build_unreachable(*SIX, 44, b"`" * 48), "icmp6 unreachable 44 (48)"),
        (icmp.build_echo_reply(*SIX, 1 << 16 | 2, b""), "icmp6 echo_reply id 1 seq 2 (0)"),
    ],
)
def test_ipv6(text: bytes, line: str) -> None:
    assert describe_packet(ipv6.build(*SIX, 58, text, tos=0x28)) == f"(tos 0x28) fd00::1 > fd00::2 {line}"


def test_fragments_and_what_is_refused() -> None:
    first, last = ipv4.fragment_packet(ipv4.build(*FOUR, 17, bytes(100), identification=0x1234), 100)
    assert describe_packet(first) == "10.0.0.1 > 10.0.0.2 udp fragment 0x1234 0+ (80)"
    assert describe_packet(last) == "10.0.0.1 > 10.0.0.2 udp fragment 0x1234 80 (20)"
    line = describe_packet(ipv4.build(*FOUR, 6, bytes(19)))
    assert line.startswith("10.0.0.1 > 10.0.0.2 refused TCP_TRUNCATED: ")
    assert describe_packet(b"abc").startswith("3 bytes refused IP_TRUNCATED: ")
    assert describe(parse_packet(b"")).startswith("0 bytes refused FRAME_EMPTY: ")
