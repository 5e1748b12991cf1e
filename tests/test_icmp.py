"""ICMP: what is answered and what is not, what errors mean, and ping's side of it."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ustack.counters import Counters
from ustack.drops import Drop
from ustack.icmp import ECHO_QUEUE, Icmp, IcmpEndpoint
from ustack.network import Network, Outgoing
from ustack.settings import Settings
from ustack.sockopts import PMTUDISC_DONT
from ustack.wire import icmp, ipv4, ipv6, udp
from ustack.wire.address import ANY, ANY_V4, BROADCAST, flow_key, is_v4, parse_address
from ustack.wire.frame import Datagram, Frame, IcmpMessage, OtherPacket, Refused
from ustack.wire.icmp_error import IcmpError, IcmpKind, parse_error
from ustack.wire.parse import parse_packet

OURS, OURS6 = parse_address("10.0.0.2"), parse_address("fd00::2")
PEER, PEER6 = parse_address("10.0.0.1"), parse_address("fd00::1")
ROUTER, ROUTER6 = parse_address("10.0.0.254"), parse_address("fd00::fe")
ENDS = pytest.mark.parametrize(("ours", "peer"), [(OURS, PEER), (OURS6, PEER6)], ids=["ipv4", "ipv6"])
MS = 1_000_000
SECOND = 1000 * MS


class Wire(Network):
    def __init__(self) -> None:
        super().__init__(Counters())
        self.sent: list[Outgoing] = []
        self.knobs = Settings()

    def settings(self) -> Settings:
        return self.knobs

    def is_local(self, address: bytes) -> bool:
        return address in (OURS, OURS6)

    def is_broadcast(self, address: bytes) -> bool:
        return address == BROADCAST

    def source_for(self, destination: bytes) -> bytes | None:
        return OURS if is_v4(destination) else OURS6

    def send(self, outgoing: Outgoing, now: int) -> None:
        self.sent.append(outgoing)

    def frames(self) -> list[Frame]:
        """What was sent, parsed; and forgotten."""
        sent, self.sent = self.sent, []
        return [parse_packet(packet_of(o.source, o.destination, o.protocol, o.payload, o.tos)) for o in sent]


def packet_of(source: bytes, destination: bytes, protocol: int, text: bytes, tos: int = 0) -> bytes:
    return (ipv4 if is_v4(source) else ipv6).build(source, destination, protocol, text, tos=tos)


def message(source: bytes, destination: bytes, text: bytes, tos: int = 0) -> IcmpMessage:
    frame = parse_packet(packet_of(source, destination, icmp.protocol_of(source), text, tos))
    assert isinstance(frame, IcmpMessage)
    return frame


def datagram(source: bytes, destination: bytes, payload: bytes = b"hi", tos: int = 0) -> Datagram:
    frame = parse_packet(packet_of(source, destination, 17, udp.build(source, destination, 40000, 53, payload), tos))
    assert isinstance(frame, Datagram)
    return frame


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def layer(wire: Wire) -> Icmp:
    return Icmp(wire)


# Echo


@ENDS
def test_an_echo_request_is_answered(wire: Wire, layer: Icmp, ours: bytes, peer: bytes) -> None:
    request = message(peer, ours, icmp.build_echo_request(peer, ours, 7, 9, b"data" * 500), tos=0x20)
    assert layer.take(request, 0) is None
    assert wire.sent[0].ttl == -1
    assert wire.sent[0].mtu_discover == PMTUDISC_DONT
    (reply,) = wire.frames()
    assert isinstance(reply, IcmpMessage)
    assert (reply.source, reply.destination, reply.tos) == (ours, peer, 0x20)
    assert (reply.type, reply.code, reply.rest) == (0 if ours is OURS else 129, 0, 7 << 16 | 9)
    assert reply.body == b"data" * 500


def test_echo_replies_are_not_limited(wire: Wire, layer: Icmp) -> None:
    request = message(PEER, OURS, icmp.build_echo_request(PEER, OURS, 7, 9, b""))
    for _ in range(500):
        layer.take(request, 0)
    assert len(wire.sent) == 500


def test_who_gets_no_echo_reply(wire: Wire, layer: Icmp) -> None:
    layer.take(message(PEER, BROADCAST, icmp.build_echo_request(PEER, BROADCAST, 7, 9, b"")), 0)
    wire.knobs = Settings(icmp_echo_ignore_all=1)
    layer.take(message(PEER, OURS, icmp.build_echo_request(PEER, OURS, 7, 9, b"")), 0)
    assert wire.sent == []


@ENDS
def test_ping(wire: Wire, layer: Icmp, ours: bytes, peer: bytes) -> None:
    endpoint = layer.open(ANY, 7, 0)
    endpoint.send_echo(peer, 9, b"data", 0)
    (request,) = wire.frames()
    assert isinstance(request, IcmpMessage)
    assert (request.type, request.rest, request.source) == (8 if ours is OURS else 128, 7 << 16 | 9, ours)
    assert not endpoint.readable()
    assert layer.take(message(peer, ours, icmp.build_echo_reply(peer, ours, request.rest, b"data")), 5) is endpoint
    assert endpoint.readable()
    reply = endpoint.receive()
    assert reply is not None
    assert (reply.source, reply.sequence, reply.data, reply.ttl, reply.at) == (peer, 9, b"data", 64, 5)
    assert endpoint.receive() is None


@ENDS
def test_ping_hears_that_it_failed(wire: Wire, layer: Icmp, ours: bytes, peer: bytes) -> None:
    endpoint = layer.open(ours, 7, 0)
    endpoint.send_echo(peer, 9, b"data", 0)
    quoted = packet_of(ours, peer, icmp.protocol_of(ours), wire.sent[0].payload)
    router = ROUTER if ours is OURS else ROUTER6
    code = icmp.HOST_UNREACHABLE if ours is OURS else icmp.V6_ADDRESS_UNREACHABLE
    assert layer.take(message(router, ours, icmp.build_unreachable(router, ours, code, quoted)), 5) is endpoint
    failure = endpoint.receive_failure()
    assert failure is not None
    assert (failure.source, failure.sequence, failure.error.code_errno) == (router, 9, errno.EHOSTUNREACH)
    assert endpoint.receive_failure() is None


def test_a_reply_that_nobody_asked_for(layer: Icmp, wire: Wire) -> None:
    assert layer.take(message(PEER, OURS, icmp.build_echo_reply(PEER, OURS, 7 << 16, b"")), 0) is None
    assert wire.counters.dropped(Drop.ICMP_UNMATCHED) == 1


def test_the_queue_of_replies_is_bounded(layer: Icmp, wire: Wire) -> None:
    endpoint = layer.open(ANY, 7, 0)
    reply = message(PEER, OURS, icmp.build_echo_reply(PEER, OURS, 7 << 16, bytes(10_000)))
    for _ in range(100):
        layer.take(reply, 0)
    assert endpoint.queued <= ECHO_QUEUE + 10_576
    assert endpoint.drops == wire.counters.dropped(Drop.RECEIVE_QUEUE_FULL) > 0
    while endpoint.receive():
        pass
    assert endpoint.queued == 0


def test_identifiers(layer: Icmp) -> None:
    first = layer.open(ANY, 0, 0)
    assert first.identifier == 32768  # the middle one, where nothing is random
    assert layer.open(ANY_V4, 0, 0).identifier == 32769
    with pytest.raises(OSError, match="in use"):
        layer.open(ANY, 32768, 0)
    with pytest.raises(OSError, match="Cannot assign"):
        layer.open(PEER, 5, 0)
    first.close()
    first.close()
    assert layer.open(ANY, 32768, 0).identifier == 32768


def test_what_ping_refuses(layer: Icmp) -> None:
    endpoint = layer.open(OURS, 7, 0)
    with pytest.raises(OSError, match="Message too long"):
        endpoint.send_echo(PEER, 1, bytes(65508), 0)
    with pytest.raises(OSError, match="Network is unreachable"):
        endpoint.send_echo(PEER6, 1, b"", 0)


# Errors out


@ENDS
def test_port_unreachable(wire: Wire, layer: Icmp, ours: bytes, peer: bytes) -> None:
    asked = datagram(peer, ours, bytes(2000), tos=0x18)
    layer.port_unreachable(asked, 0)
    (answer,) = wire.frames()
    assert isinstance(answer, IcmpMessage)
    assert (answer.source, answer.destination) == (ours, peer)
    assert (answer.type, answer.code, answer.rest) == ((3, 3, 0) if ours is OURS else (1, 4, 0))
    assert answer.tos == (0xD8 if ours is OURS else 0)
    assert len(answer.packet) == (576 if ours is OURS else 1280)
    assert asked.packet.startswith(answer.body)


def test_protocol_unreachable(wire: Wire, layer: Icmp) -> None:
    for ours, peer in ((OURS, PEER), (OURS6, PEER6)):
        frame = parse_packet(packet_of(peer, ours, 47, b"x" * 20))
        assert isinstance(frame, OtherPacket)
        layer.protocol_unreachable(frame, 0)
    four, six = wire.frames()
    assert isinstance(four, IcmpMessage)
    assert isinstance(six, IcmpMessage)
    assert (four.type, four.code) == (3, 2)
    assert (six.type, six.code, six.rest) == (4, 1, 6)


def test_no_next_header_is_no_mistake(wire: Wire, layer: Icmp) -> None:
    frame = parse_packet(packet_of(PEER6, OURS6, 59, b"x"))
    assert isinstance(frame, OtherPacket)
    layer.protocol_unreachable(frame, 0)
    assert wire.sent == []


def test_parameter_problem(wire: Wire, layer: Icmp) -> None:
    text = b"\x11\x00\x9e\x04\x00\x00\x00\x00" + udp.build(PEER6, OURS6, 1, 2, b"")
    frame = parse_packet(packet_of(PEER6, OURS6, 60, text))
    assert isinstance(frame, Refused)
    layer.parameter_problem(frame, 0)
    (answer,) = wire.frames()
    assert isinstance(answer, IcmpMessage)
    assert (answer.type, answer.code, answer.rest) == (4, 2, 42)


ALL_NODES = parse_address("ff02::1")


@pytest.mark.parametrize(
    ("source", "destination"),
    [
        (PEER, BROADCAST),
        (PEER, parse_address("224.0.0.1")),
        (BROADCAST, OURS),
        (ANY_V4, OURS),
        (parse_address("224.0.0.1"), OURS),
        (parse_address("0.1.2.3"), OURS),
        (parse_address("240.0.0.1"), OURS),
        (ANY, OURS6),
        (PEER6, ALL_NODES),
        (ALL_NODES, OURS6),
    ],
)
def test_rfc_1122_section_3_2_2_no_error_about(wire: Wire, layer: Icmp, source: bytes, destination: bytes) -> None:
    layer.port_unreachable(datagram(source, destination), 0)
    assert wire.sent == []


@ENDS
def test_no_error_about_an_error(wire: Wire, layer: Icmp, ours: bytes, peer: bytes) -> None:
    quoted = packet_of(ours, peer, 17, udp.build(ours, peer, 1, 2, b""))
    error = message(peer, ours, icmp.build_unreachable(peer, ours, 3, quoted))
    assert not layer.may_answer(error, 0)
    assert layer.may_answer(message(peer, ours, icmp.build_echo_request(peer, ours, 1, 2, b"")), 0)


def test_the_multicast_exception_of_rfc_4443(wire: Wire, layer: Icmp) -> None:
    text = b"\x11\x00\x9e\x04\x00\x00\x00\x00" + udp.build(PEER6, ALL_NODES, 1, 2, b"")
    frame = parse_packet(packet_of(PEER6, ALL_NODES, 60, text))
    assert isinstance(frame, Refused)
    layer.parameter_problem(frame, 0)
    (answer,) = wire.frames()
    assert answer.source == OURS6


def test_errors_to_one_peer_are_limited(wire: Wire, layer: Icmp) -> None:
    """icmp_ratelimit: six at once, then one a second."""
    asked = datagram(PEER, OURS)
    for _ in range(20):
        layer.port_unreachable(asked, 0)
    assert len(wire.sent) == 6
    layer.port_unreachable(asked, SECOND - 1)
    assert len(wire.sent) == 6
    layer.port_unreachable(asked, SECOND)
    layer.port_unreachable(asked, SECOND)
    assert len(wire.sent) == 7
    for _ in range(20):
        layer.port_unreachable(asked, 100 * SECOND)
    assert len(wire.sent) == 13
    assert wire.counters["IcmpOutRateLimitHost"] == 14 + 1 + 1 + 14


def test_errors_to_all_are_limited(wire: Wire, layer: Icmp) -> None:
    """icmp_msgs_burst at once, then icmp_msgs_per_sec, not more often than each 20 ms (Linux's icmp_global_allow)."""

    def ask(count: int, now: int) -> int:
        before = len(wire.sent)
        for n in range(count):
            layer.port_unreachable(datagram(parse_address(f"10.{now // MS % 200}.{n // 200}.{n % 200 + 1}"), OURS), now)
        return len(wire.sent) - before

    assert ask(100, 0) == 50
    assert ask(100, 10 * MS) == 0
    assert ask(100, 20 * MS) == 20
    assert ask(100, 5 * SECOND) == 50
    assert wire.counters["IcmpOutRateLimitGlobal"] == 50 + 100 + 80 + 50


def test_no_limit_at_all(wire: Wire, layer: Icmp) -> None:
    wire.knobs = Settings(icmp_ratelimit=0, icmp_msgs_burst=1000)
    for _ in range(200):
        layer.port_unreachable(datagram(PEER, OURS), 0)
    assert len(wire.sent) == 200


def test_what_is_kept_of_peers_is_bounded(wire: Wire, layer: Icmp) -> None:
    wire.knobs = Settings(icmp_msgs_burst=10_000, icmp_msgs_per_sec=10_000)
    for n in range(3000):
        layer.port_unreachable(datagram(parse_address(f"10.1.{n // 250}.{n % 250 + 1}"), OURS), 0)
    assert len(wire.sent) == 3000
    assert len(layer._limiter._peers) == 1024


# Errors in


def error_about(quoted: bytes, ours: bytes, router: bytes, kind: int, code: int, rest: int = 0) -> IcmpMessage:
    return message(router, ours, icmp.build(router, ours, kind, code, rest, quoted))


def tcp_packet(ours: bytes, peer: bytes) -> bytes:
    text = (40000 << 16 | 80).to_bytes(4, "big") + (0x12345678).to_bytes(4, "big") + bytes(12)
    return packet_of(ours, peer, 6, text)


@pytest.mark.parametrize(
    ("kind", "code", "meaning", "code_errno", "is_fatal"),
    [
        (3, 0, IcmpKind.UNREACHABLE, errno.ENETUNREACH, False),
        (3, 1, IcmpKind.UNREACHABLE, errno.EHOSTUNREACH, False),
        (3, 2, IcmpKind.UNREACHABLE, errno.ENOPROTOOPT, True),
        (3, 3, IcmpKind.UNREACHABLE, errno.ECONNREFUSED, True),
        (3, 4, IcmpKind.TOO_BIG, errno.EMSGSIZE, False),
        (3, 5, IcmpKind.UNREACHABLE, errno.EOPNOTSUPP, False),
        (3, 7, IcmpKind.UNREACHABLE, errno.EHOSTDOWN, True),
        (3, 8, IcmpKind.UNREACHABLE, errno.ENONET, True),
        (3, 13, IcmpKind.UNREACHABLE, errno.EHOSTUNREACH, True),
        (3, 99, IcmpKind.UNREACHABLE, errno.EHOSTUNREACH, False),
        (11, 0, IcmpKind.TIME_EXCEEDED, errno.EHOSTUNREACH, False),
        (12, 0, IcmpKind.PARAMETER_PROBLEM, errno.EPROTO, True),
        (4, 0, IcmpKind.SOURCE_QUENCH, 0, False),
        (5, 1, IcmpKind.REDIRECT, 0, False),
    ],
)
def test_what_icmp_means(kind: int, code: int, meaning: IcmpKind, code_errno: int, is_fatal: bool) -> None:
    error = parse_error(error_about(tcp_packet(OURS, PEER), OURS, ROUTER, kind, code, 1400))
    assert error is not None
    assert (error.kind, error.code_errno, error.is_fatal) == (meaning, code_errno, is_fatal)
    assert (error.key, error.protocol, error.seq) == (flow_key(OURS, 40000, PEER, 80), 6, 0x12345678)
    assert (error.offender, error.destination) == (ROUTER, PEER)
    assert error.mtu == (1400 if code == 4 else 0)


@pytest.mark.parametrize(
    ("kind", "code", "meaning", "code_errno", "is_fatal"),
    [
        (1, 0, IcmpKind.UNREACHABLE, errno.ENETUNREACH, False),
        (1, 1, IcmpKind.UNREACHABLE, errno.EACCES, True),
        (1, 3, IcmpKind.UNREACHABLE, errno.EHOSTUNREACH, False),
        (1, 4, IcmpKind.UNREACHABLE, errno.ECONNREFUSED, True),
        (1, 99, IcmpKind.UNREACHABLE, errno.EPROTO, True),
        (2, 0, IcmpKind.TOO_BIG, errno.EMSGSIZE, False),
        (3, 0, IcmpKind.TIME_EXCEEDED, errno.EHOSTUNREACH, False),
        (4, 1, IcmpKind.PARAMETER_PROBLEM, errno.EPROTO, True),
        (100, 0, IcmpKind.OTHER, errno.EPROTO, False),
    ],
)
def test_what_icmpv6_means(kind: int, code: int, meaning: IcmpKind, code_errno: int, is_fatal: bool) -> None:
    error = parse_error(error_about(tcp_packet(OURS6, PEER6), OURS6, ROUTER6, kind, code, 70000))
    assert error is not None
    assert (error.kind, error.code_errno, error.is_fatal) == (meaning, code_errno, is_fatal)
    assert (error.key, error.protocol, error.seq) == (flow_key(OURS6, 40000, PEER6, 80), 6, 0x12345678)
    assert error.mtu == (70000 if kind == 2 else 0)


@pytest.mark.parametrize(
    "quoted",
    [
        b"",
        tcp_packet(OURS, PEER)[:27],
        tcp_packet(OURS6, PEER6),
        ipv4.fragment_packet(ipv4.build(OURS, PEER, 17, bytes(100), fragment=0), 60)[1],
        b"\x4f" + tcp_packet(OURS, PEER)[1:],
        tcp_packet(PEER, OURS),
    ],
    ids=["empty", "short", "other version", "later fragment", "long header", "not ours"],
)
def test_a_quote_that_says_nothing(wire: Wire, layer: Icmp, quoted: bytes) -> None:
    assert layer.take(error_about(quoted, OURS, ROUTER, 3, 3), 0) is None
    assert wire.counters.dropped(Drop.ICMP_UNMATCHED) == 1


def test_a_quote_behind_extension_headers() -> None:
    fragment = b"\x06\x00" + b"\x11\x00\x00\x01\x00\x00\x00\x07" + b"\x9c\x40\x00\x35" + bytes(4)
    quoted = packet_of(OURS6, PEER6, 60, b"\x2c\x00" + bytes(6) + fragment[2:])
    error = parse_error(error_about(quoted, OURS6, ROUTER6, 1, 4))
    assert error is not None
    assert (error.protocol, error.key) == (17, flow_key(OURS6, 40000, PEER6, 53))


def test_errors_about_tcp_and_udp_are_handed_on(layer: Icmp) -> None:
    error = layer.take(error_about(tcp_packet(OURS, PEER), OURS, ROUTER, 3, 3), 0)
    assert isinstance(error, IcmpError)
    assert not isinstance(error, IcmpEndpoint)


@pytest.mark.parametrize(("kind", "code"), [(4, 0), (5, 1), (13, 0), (9, 0), (42, 0)])
def test_source_quench_and_what_a_host_may_ignore(wire: Wire, layer: Icmp, kind: int, code: int) -> None:
    """MUST-55."""
    assert layer.take(error_about(tcp_packet(OURS, PEER), OURS, ROUTER, kind, code), 0) is None
    assert wire.sent == []


@given(st.sampled_from([3, 11, 12, 1, 2, 4, 100]), st.integers(0, 255), st.binary(max_size=120), st.booleans())
def test_any_quote_does(kind: int, code: int, quoted: bytes, six: bool) -> None:
    layer = Icmp(Wire())
    ours, router = (OURS6, ROUTER6) if six else (OURS, ROUTER)
    layer.take(error_about((b"\x60" if six else b"\x45") + quoted, ours, router, kind, code, 0xFFFFFFFF), 0)
