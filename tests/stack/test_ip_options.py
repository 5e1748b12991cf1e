"""Record route and timestamps come back with the echo reply: each case as Linux 6.18 answered it, as 198.18.0.1."""

from __future__ import annotations

import pytest

from ustack.drops import Drop
from ustack.hoststate import HostState
from ustack.ring import RingMaker
from ustack.settings import Settings
from ustack.stack.ip import Ip
from ustack.units import MILLISECOND
from ustack.wire import icmp, ipv4
from ustack.wire.address import parse_address
from ustack.wire.frame import IcmpMessage
from ustack.wire.parse import parse_packet

OURS, PEER = parse_address("198.18.0.1"), parse_address("198.18.0.2")
NOW = 0x1020D * MILLISECOND
STAMP = "8001020d"
"""The time as no standard clock has it: the high bit is set (RFC 791)."""

ROUTES = {
    "nine empty": ("072704" + "00" * 36, "07270c" + "c6120001" * 2 + "00" * 28),
    "one of two used": ("070b08" + "0a000009" + "00" * 4, "070b0c" + "0a000009" + "c6120001"),
    "full": ("070b0c" + "0a000009" * 2, "070b0c" + "0a000009" * 2),
    "one of three used": ("070f08" + "0a000009" + "00" * 8, "070f10" + "0a000009" + "c6120001" * 2),
}
TIMES = {
    "three times": ("44100500" + "00" * 12, "44100d00" + STAMP * 2 + "00" * 4),
    "no room": ("44080900" + "01020304", "44080910" + "01020304"),
    "four addresses": ("44240501" + "00" * 32, "44241501" + ("c6120001" + STAMP) * 2 + "00" * 16),
    "one address": ("440c0501" + "00" * 8, "440c0d01" + "c6120001" + STAMP),
    "ours, then another's": (
        "44140503" + "c6120001" + "00" * 4 + "c6120009" + "00" * 4,
        "44140d03" + "c6120001" + STAMP + "c6120009" + "00" * 4,
    ),
    "another's": ("440c0503" + "c6120009" + "00" * 4, "440c0503" + "c6120009" + "00" * 4),
    "a flag that nobody knows": ("440c0502" + "00" * 8, "440c0502" + "00" * 8),
}
OTHERS = {
    "both, with NOPs between": (
        "01" + "070b04" + "00" * 8 + "0101" + "440c0500" + "00" * 8,
        "070b0c" + "c6120001" * 2 + "440c0d00" + STAMP * 2,
    ),
    "unknown": ("1e040102", ""),
    "router alert": ("94040000", ""),
}
WRONG = {
    "pointer below the slots": ("07070300000000", 22),
    "length of a route": ("07020400", 21),
    "length of anything": ("1e010102", 20),
    "sixteenth host without room": ("440809f001020304", 23),
    "two routes": ("07070400000000" + "07070400000000", 27),
}


def asked(options: str) -> tuple[Ip, list[bytes]]:
    """An echo request with these options; the host, and what it sent."""
    env = HostState(Settings(), RingMaker(), b"s" * 32)
    ip = Ip(env)
    ip.add_address(OURS, 24)
    text = icmp.build_echo_request(PEER, OURS, 3, 4, b"data")
    padded = bytes.fromhex(options) + bytes(-(len(options) // 2) % 4)
    frame = parse_packet(ipv4.with_options(ipv4.build(PEER, OURS, 1, text), padded))
    assert isinstance(frame, IcmpMessage)
    ip.icmp.take(frame, NOW)
    return ip, [transmit.packet for transmit in ip.host.outbox]


@pytest.mark.parametrize("case", [*ROUTES, *TIMES, *OTHERS])
def test_what_comes_back(case: str) -> None:
    given, wanted = (ROUTES | TIMES | OTHERS)[case]
    _, (reply,) = asked(given)
    message = parse_packet(reply)
    assert isinstance(message, IcmpMessage)
    assert (message.type, message.body) == (icmp.ECHO_REPLY, b"data")
    length = (reply[0] & 15) * 4
    back = bytes.fromhex(wanted)
    assert reply[20:length] == back + bytes(-len(back) % 4)


@pytest.mark.parametrize("case", WRONG)
def test_a_malformed_option_is_a_parameter_problem(case: str) -> None:
    given, pointer = WRONG[case]
    ip, (answer,) = asked(given)
    message = parse_packet(answer)
    assert isinstance(message, IcmpMessage)
    assert (message.type, message.code, message.rest >> 24) == (icmp.PARAMETER_PROBLEM, 0, pointer)
    assert ip.host.counters.dropped(Drop.IP_OPTIONS) == 1
    assert ip.host.counters["IpInHdrErrors"] == 1


def test_a_slot_that_is_cut_off_leaves_no_answer() -> None:
    ip, answers = asked("07090400000000" + "0000")
    assert answers == []
    assert ip.host.counters["IcmpOutEchoReps"] == 0
