"""Headers field by field: every bit is some field's, and the values are the packet's."""

from __future__ import annotations

import pytest

from ustack.lab.header import Field, decode, header_lines
from ustack.wire import ipv4, tcp, udp
from ustack.wire.address import parse_address

ENDS = parse_address("10.0.0.1"), parse_address("10.0.0.2")
OPTIONS = b"\x02\x04\x05\xb4\x04\x02\x08\x0a\0\0\0\1\0\0\0\2\x01\x03\x03\x07"


def tcp_packet() -> bytes:
    header = tcp.TcpHeader(40000, 80, 1000, 2000, tcp.SYN | tcp.ACK, 64240)
    return ipv4.build(*ENDS, 6, tcp.build_segment(*ENDS, header, OPTIONS, b"hello"))


def fields(packet: bytes, header: str) -> dict[str, str]:
    return {one.name: one.value for one in decode(packet) if one.header == header}


@pytest.mark.parametrize(("header", "length"), [("IPv4", 20), ("TCP", 20 + len(OPTIONS))])
def test_every_bit_is_some_fields(header: str, length: int) -> None:
    found: list[Field] = [one for one in decode(tcp_packet()) if one.header == header]
    ends = [0] + [one.at + one.bits for one in found]
    assert [one.at for one in found] == ends[:-1]
    assert ends[-1] == length * 8
    assert all(one.meaning for one in found)


def test_values_are_the_packets() -> None:
    found = fields(tcp_packet(), "TCP")
    assert found["source port"] == "40000"
    assert (found["SYN"], found["ACK"], found["FIN"]) == ("1", "1", "0")
    assert found["data offset"] == "10"
    assert found["option: MSS"] == "1460"
    assert found["option: window scale"] == "7"
    assert found["option: timestamps"] == "val 1 ecr 2"


def test_udp_says_its_length() -> None:
    packet = ipv4.build(*ENDS, 17, udp.build(*ENDS, 40000, 53, b"question"))
    assert fields(packet, "UDP")["length"] == "16"
    assert len(header_lines(packet, "UDP")) == 4


def test_what_is_no_packet_has_no_fields() -> None:
    assert decode(b"") == []
    assert decode(b"\x60" + bytes(10)) == []
