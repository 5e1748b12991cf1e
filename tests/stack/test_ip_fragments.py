"""Reassembly against a bytearray, and against those who abuse it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stack.test_ip import ENDS, OURS, OURS6, PEER, PEER6, SECOND, host, sent
from ustack.drops import Drop
from ustack.stack.fragments import FRAGMENT_OVERHEAD, Reassembly, Verdict
from ustack.stack.ip import Ip
from ustack.wire import ipv4, ipv6, udp
from ustack.wire.address import is_v4
from ustack.wire.describe import describe
from ustack.wire.frame import Datagram, Fragment
from ustack.wire.parse import parse_packet

TEXT = bytes(range(256)) * 16


def piece(
    source: bytes, destination: bytes, offset: int, payload: bytes, more: bool, number: int = 7, tos: int = 0
) -> Fragment:
    """A fragment of a UDP packet."""
    if is_v4(source):
        field = offset // 8 | (0x2000 if more else 0)
        packet = ipv4.build(source, destination, 17, payload, 64, tos, number, field)
    else:
        mark = bytes([17, 0]) + (offset | more).to_bytes(2, "big") + number.to_bytes(4, "big")
        packet = ipv6.build(source, destination, 44, mark + payload, 64, tos)
    frame = parse_packet(packet)
    assert isinstance(frame, Fragment)
    return frame


def pieces_of(source: bytes, destination: bytes, size: int, step: int, number: int = 7) -> list[Fragment]:
    """A UDP datagram of ``size`` bytes cut every ``step`` bytes."""
    text = udp.build(source, destination, 1, 2, TEXT[:size])
    ends = range(0, len(text), step)
    return [piece(source, destination, at, text[at : at + step], at + step < len(text), number) for at in ends]


@ENDS
@given(st.data())
def test_any_order_and_any_repeats(ours: bytes, peer: bytes, data: st.DataObject) -> None:
    ip = host()
    step = data.draw(st.sampled_from([8, 64, 200, 512]))
    pieces = pieces_of(peer, ours, data.draw(st.integers(step, 1000)), step)
    order = data.draw(st.permutations(range(len(pieces))))
    repeats = data.draw(st.lists(st.sampled_from(range(len(pieces))), max_size=5))
    last = order[-1]
    for index in [*order[:-1], *(n for n in repeats if n != last)]:
        assert ip.accept(pieces[index], 0) is None
    whole = ip.accept(pieces[last], 0)
    assert isinstance(whole, Datagram)
    assert whole.payload == TEXT[: len(whole.payload)]
    assert ip.next_deadline() is None
    assert ip._v4.memory == ip._v6.memory == 0
    assert ip.host.counters.drops == {}


@ENDS
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 8), st.booleans()), max_size=12))
def test_whatever_comes_only_what_fits_together_is_delivered(
    ours: bytes, peer: bytes, parts: list[tuple[int, int, bool]]
) -> None:
    """The oracle is a bytearray that knows which bytes it has; overlaps empty it."""
    reassembly = Reassembly()
    have: dict[int, int] = {}
    end = -1
    for unit, units, more in parts:
        start, stop = unit * 8, (unit + units) * 8
        fragment = piece(peer, ours, start, bytes([units]) * (stop - start), True)
        fragment.more = more
        verdict = reassembly.add(fragment, 1 << 20, SECOND, 0)
        if (end >= 0 and (stop > end or (not more and stop != end))) or (not more and any(at >= stop for at in have)):
            assert verdict is Verdict.INCONSISTENT
            have, end = {}, -1
        elif all(at in have for at in range(start, stop)):
            assert verdict is Verdict.DUPLICATE
        elif any(at in have for at in range(start, stop)):
            assert verdict is Verdict.OVERLAP
            have, end = {}, -1
        else:
            have |= dict.fromkeys(range(start, stop), units)
            end = end if more else stop
            if end >= 0 and len(have) == end:
                assert verdict is Verdict.WHOLE
                header = 20 if ours is OURS else 40
                assert reassembly.whole[header:] == bytes(have[at] for at in range(end))
                have, end = {}, -1
            else:
                assert verdict is Verdict.KEPT
        assert len(reassembly) == bool(have)
        assert bool(reassembly.memory) == bool(have)


@ENDS
def test_an_overlap_costs_the_packet(ours: bytes, peer: bytes) -> None:
    """RFC 5722; Linux does the same for IPv4."""
    ip = host()
    first, second, third = pieces_of(peer, ours, 592, 200)
    ip.accept(first, 0)
    assert ip.accept(piece(peer, ours, 192, bytes(16), True), 0) is None
    assert ip.accept(second, 0) is None
    assert ip.accept(third, 0) is None
    assert ip.host.counters.dropped(Drop.IP_REASSEMBLY) == 1
    assert ip.host.counters["IpExtReasmOverlaps"] == 1


def test_packets_do_not_mix() -> None:
    """Source, destination, identification and, over IPv4, protocol name a packet."""
    ip = host()
    first = pieces_of(PEER, OURS, 300, 200, 7)
    second = pieces_of(PEER, OURS, 400, 200, 8)
    six = pieces_of(PEER6, OURS6, 300, 200, 7)
    for some in (first, second, six):
        assert ip.accept(some[0], 0) is None
    other = piece(PEER, OURS, 200, bytes(108), False)
    other.protocol = 1
    assert ip.accept(other, 0) is None
    sizes = []
    for some in (six, second, first):
        for fragment in some[1:]:
            whole = ip.accept(fragment, 0)
        assert isinstance(whole, Datagram)
        sizes.append(len(whole.payload))
    assert sizes == [300, 400, 300]


@pytest.mark.parametrize(
    ("fields", "joint"),
    [((0, 0), 0), ((2, 2), 2), ((1, 1), 1), ((2, 3), 3), ((3, 1), 3), ((3, 3), 3), ((0, 2), -1), ((3, 0), -1)],
)
def test_ecn_of_the_whole(fields: tuple[int, int], joint: int) -> None:
    """RFC 3168 section 5.3."""
    for peer, ours in ((PEER, OURS), (PEER6, OURS6)):
        ip = host()
        text = udp.build(peer, ours, 1, 2, bytes(100))
        assert ip.accept(piece(peer, ours, 0, text[:64], True, tos=fields[0]), 0) is None
        whole = ip.accept(piece(peer, ours, 64, text[64:], False, tos=fields[1]), 0)
        if joint < 0:
            assert whole is None
            assert ip.host.counters.dropped(Drop.IP_REASSEMBLY) == 1
        else:
            assert isinstance(whole, Datagram)
            assert whole.ecn == joint


def test_the_whole_is_checked_like_any_packet() -> None:
    ip = host()
    first, last = pieces_of(PEER, OURS, 300, 200)
    last.payload = bytes(len(last.payload))
    assert ip.accept(first, 0) is None
    assert ip.accept(last, 0) is None
    assert ip.host.counters.drops == {Drop.UDP_CHECKSUM: 1}


def test_an_atomic_fragment_is_whole_at_once() -> None:
    """RFC 6946."""
    ip = host()
    waiting = pieces_of(PEER6, OURS6, 300, 200, 7)
    ip.accept(waiting[0], 0)
    whole = ip.accept(piece(PEER6, OURS6, 0, udp.build(PEER6, OURS6, 1, 2, b"all"), False, 8), 0)
    assert isinstance(whole, Datagram)
    assert whole.payload == b"all"


def test_an_atomic_fragment_does_not_join_what_waits() -> None:
    """RFC 6946 section 4: an attacker who guesses the identification spoils nothing with it, and reads nothing."""
    ip = host()
    waiting = pieces_of(PEER6, OURS6, 592, 200, 7)
    for fragment in waiting[:2]:
        assert ip.accept(fragment, 0) is None
    alone = ip.accept(piece(PEER6, OURS6, 0, udp.build(PEER6, OURS6, 1, 2, b"alone"), False, 7), 0)
    assert isinstance(alone, Datagram)
    assert alone.payload == b"alone"
    whole = ip.accept(waiting[2], 0)
    assert isinstance(whole, Datagram)
    assert len(whole.payload) == 592
    counters = ip.host.counters
    assert (counters["Ip6ReasmReqds"], counters["Ip6ReasmOKs"], counters["Ip6ReasmFails"]) == (4, 2, 0)
    assert counters.drops == {}


@ENDS
def test_the_longest_datagram_is_put_together(ours: bytes, peer: bytes) -> None:
    """65535 bytes; over IPv6 behind the header, which does not count (RFC 8200 section 3)."""
    most = udp.MAX_PAYLOAD_V4 if ours is OURS else udp.MAX_PAYLOAD_V6
    ip = host()
    text = udp.build(peer, ours, 1, 2, bytes(most))
    whole = None
    for at in range(0, len(text), 1400):
        assert whole is None
        whole = ip.accept(piece(peer, ours, at, text[at : at + 1400], at + 1400 < len(text)), 0)
    assert isinstance(whole, Datagram)
    assert len(whole.payload) == most
    assert ip.host.counters.drops == {}


@ENDS
def test_a_first_header_that_makes_the_whole_too_long(ours: bytes, peer: bytes) -> None:
    """Only the first piece's header counts in the end, and it may be the longer one."""
    ip = host()
    first = piece(peer, ours, 0, bytes(8), True)
    first.header += bytes(40)
    end = 65535 - (20 if ours is OURS else 0)
    assert ip.accept(first, 0) is None
    for at in range(8, end // 8 * 8, 1400):
        upto = min(at + 1400, end)
        assert ip.accept(piece(peer, ours, at, bytes(upto - at), upto < end), 0) is None
    assert ip.host.counters.drops == {Drop.IP_REASSEMBLY: 1}
    assert ip.next_deadline() is None


def test_a_fragment_within_a_fragment() -> None:
    ip = host()
    inner = bytes([17, 0, 0, 1]) + (9).to_bytes(4, "big") + bytes(16)
    outer = piece(PEER6, OURS6, 0, inner, False, 8)
    outer.header = outer.header[:6] + b"\x2c" + outer.header[7:]
    assert ip.accept(outer, 0) is None
    assert ip.host.counters.drops == {Drop.IP_REASSEMBLY: 1}
    assert ip.next_deadline() is None


@ENDS
def test_time_is_up(ours: bytes, peer: bytes) -> None:
    ip = host()
    patience = (30 if ours is OURS else 60) * SECOND
    pieces = pieces_of(peer, ours, 592, 200)
    ip.accept(pieces[0], 5)
    ip.accept(pieces[2], 7 * SECOND)
    assert ip.next_deadline() == 5 + patience
    ip.on_deadline(4 + patience)
    assert ip.next_deadline() == 5 + patience
    assert sent(ip) == []
    ip.on_deadline(5 + patience)
    assert ip.next_deadline() is None
    (answer,) = ip.host.outbox
    line = describe(answer).removeprefix("(tos 0xc0) ")
    size = 220 if ours is OURS else 248
    name = "icmp" if ours is OURS else "icmp6"
    assert line.endswith(f" {name} time_exceeded 1 ({size})")
    prefix = "Ip" if ours is OURS else "Ip6"
    counters = ip.host.counters
    assert (counters[prefix + "ReasmTimeout"], counters[prefix + "ReasmFails"]) == (1, 1)
    ip.accept(pieces[1], 6 + patience)
    assert ip.next_deadline() == 6 + 2 * patience


def test_nobody_is_told_without_the_first_fragment() -> None:
    """RFC 1122 section 3.3.2."""
    ip = host()
    ip.accept(pieces_of(PEER, OURS, 592, 200)[1], 0)
    ip.on_deadline(100 * SECOND)
    assert sent(ip) == []
    assert ip.host.counters["IpReasmTimeout"] == 1


def test_the_oldest_goes_first() -> None:
    ip = host()
    ip.accept(pieces_of(PEER6, OURS6, 300, 200)[1], 0)
    for number in range(5):
        ip.accept(pieces_of(PEER, OURS, 300, 200, number)[1], number * SECOND)
    ip.on_deadline(32 * SECOND)
    assert ip.host.counters["IpReasmTimeout"] == 3
    assert ip.next_deadline() == 33 * SECOND
    ip.on_deadline(60 * SECOND)
    assert ip.host.counters["Ip6ReasmTimeout"] == 1
    assert ip.next_deadline() is None


def test_a_bomb_of_fragments_stays_within_ipfrag_high_thresh() -> None:
    ip = host(ipfrag_high_thresh=100_000)
    for number in range(1000):
        ip.accept(piece(PEER, OURS, 8, bytes(8), True, number), 0)
    most = 100_000 + 8 + FRAGMENT_OVERHEAD
    assert 100_000 < ip._v4.memory <= most
    assert ip.host.counters["IpReasmFails"] == 1000 - len(ip._v4)
    ip.on_deadline(30 * SECOND)
    assert ip._v4.memory == 0
    first, last = pieces_of(PEER, OURS, 300, 200)
    assert ip.accept(first, 31 * SECOND) is None
    assert isinstance(ip.accept(last, 31 * SECOND), Datagram)


def test_fragments_for_others_are_not_kept() -> None:
    ip: Ip = host()
    ip.accept(piece(PEER, PEER, 8, bytes(8), True), 0)
    assert ip.next_deadline() is None
    assert ip.host.counters.drops == {Drop.NOT_OURS: 1}
