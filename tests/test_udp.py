"""UDP endpoints over a network that only notes what was sent."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from ustack.counters import Counters
from ustack.drops import Drop
from ustack.network import Network, Outgoing
from ustack.settings import Settings
from ustack.sockopts import PMTUDISC_DO, PMTUDISC_DONT, SocketOptions
from ustack.udp import QUEUE_OVERHEAD, UdpEndpoint, UdpTable
from ustack.wire import ipv4, ipv6, udp
from ustack.wire.address import ANY, ANY_V4, BROADCAST, flow_key, is_v4, parse_address
from ustack.wire.frame import Datagram
from ustack.wire.parse import parse_packet

OURS, OURS6 = parse_address("10.0.0.2"), parse_address("fd00::2")
PEER, PEER6 = parse_address("10.0.0.1"), parse_address("fd00::1")
OTHER = parse_address("10.0.0.3")
ENDS = pytest.mark.parametrize(("ours", "peer"), [(OURS, PEER), (OURS6, PEER6)], ids=["ipv4", "ipv6"])


class Wire(Network):
    """Two own addresses; keeps what is sent."""

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


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def table(wire: Wire) -> UdpTable:
    return UdpTable(wire, b"s" * 32)


def options(**fields: Any) -> SocketOptions:
    made = SocketOptions()
    for name, value in fields.items():
        assert hasattr(made, name)
        setattr(made, name, value)
    return made


def datagram(source: bytes, sport: int, destination: bytes, dport: int, payload: bytes = b"hi") -> Datagram:
    text = udp.build(source, destination, sport, dport, payload)
    frame = parse_packet((ipv4 if is_v4(source) else ipv6).build(source, destination, 17, text, tos=8, ttl=9))
    assert isinstance(frame, Datagram)
    return frame


def test_a_datagram_out(wire: Wire, table: UdpTable) -> None:
    endpoint = table.open(ANY_V4, 5000, options(ttl=7, tos=0x10, mtu_discover=PMTUDISC_DO), 0)
    endpoint.send_to(b"hello", PEER, 53, 1)
    (sent,) = wire.sent
    assert (sent.source, sent.destination, sent.protocol) == (OURS, PEER, 17)
    assert (sent.ttl, sent.tos, sent.mtu_discover) == (7, 0x10, PMTUDISC_DO)
    frame = parse_packet(ipv4.build(OURS, PEER, 17, sent.payload))
    assert isinstance(frame, Datagram)
    assert (frame.source_port, frame.destination_port, frame.payload) == (5000, 53, b"hello")
    assert wire.counters["UdpOutDatagrams"] == 1


def test_one_dual_endpoint_speaks_both_families(wire: Wire, table: UdpTable) -> None:
    endpoint = table.open(ANY, 5000, options(), 0)
    endpoint.send_to(b"four", PEER, 53, 0)
    endpoint.send_to(b"six", PEER6, 53, 0)
    assert [sent.source for sent in wire.sent] == [OURS, OURS6]
    assert table.deliver(datagram(PEER, 53, OURS, 5000), 0) == [endpoint]
    assert table.deliver(datagram(PEER6, 53, OURS6, 5000), 0) == [endpoint]
    assert endpoint.receive() == (b"hi", PEER, 53)
    record = endpoint.receive_record()
    assert record is not None
    assert (record.source, record.destination, record.tos, record.ttl) == (PEER6, OURS6, 8, 9)
    assert endpoint.receive() is None


@pytest.mark.parametrize(("peer", "most"), [(PEER, 65507), (PEER6, 65527)])
def test_too_long(wire: Wire, table: UdpTable, peer: bytes, most: int) -> None:
    endpoint = table.open(ANY, 5000, options(), 0)
    endpoint.send_to(bytes(most), peer, 53, 0)
    with pytest.raises(OSError, match="Message too long") as caught:
        endpoint.send_to(bytes(most + 1), peer, 53, 0)
    assert caught.value.errno == errno.EMSGSIZE


@pytest.mark.parametrize(
    ("address", "peer", "port", "code"),
    [
        (OURS, PEER6, 53, errno.ENETUNREACH),
        (OURS, PEER, 0, errno.EINVAL),
        (OURS, BROADCAST, 53, errno.EACCES),
    ],
)
def test_what_send_to_refuses(table: UdpTable, address: bytes, peer: bytes, port: int, code: int) -> None:
    endpoint = table.open(address, 5000, options(), 0)
    with pytest.raises(OSError, match=r"\[Errno") as caught:
        endpoint.send_to(b"", peer, port, 0)
    assert caught.value.errno == code


def test_broadcast_with_leave(wire: Wire, table: UdpTable) -> None:
    table.open(OURS, 5000, options(broadcast=True), 0).send_to(b"all", BROADCAST, 53, 0)
    assert wire.sent[0].destination == BROADCAST


def test_send_needs_a_peer(wire: Wire, table: UdpTable) -> None:
    endpoint = table.open(ANY_V4, 0, options(), 0)
    with pytest.raises(OSError, match="Destination address required"):
        endpoint.send(b"", 0)
    endpoint.connect(PEER, 53)
    endpoint.send(b"x", 0)
    assert wire.sent[0].destination == PEER
    assert endpoint.local == (OURS, endpoint.port)


def test_the_most_exact_one_gets_it(table: UdpTable) -> None:
    ours = options(reuseaddr=True)
    dual = table.open(ANY, 5000, ours, 0)
    wild = table.open(ANY_V4, 5000, ours, 0)
    bound = table.open(OURS, 5000, ours, 0)
    connected = table.open(OURS, 5000, ours, 0)
    connected.connect(PEER, 53)
    order = [connected, bound, wild, dual]
    while order:
        assert table.deliver(datagram(PEER, 53, OURS, 5000), 0) == [order[0]]
        if len(order) == 4:
            assert table.deliver(datagram(OTHER, 53, OURS, 5000), 0) == [bound]
            assert table.deliver(datagram(PEER, 54, OURS, 5000), 0) == [bound]
        order.pop(0).close()
    assert table.deliver(datagram(PEER, 53, OURS, 5000), 0) is None
    assert len(table) == 0
    assert table.counters["UdpNoPorts"] == 1
    assert table.counters.dropped(Drop.NO_ENDPOINT) == 1


def test_v6only_takes_no_ipv4(table: UdpTable) -> None:
    only6 = table.open(ANY, 5000, options(v6only=True), 0)
    assert table.deliver(datagram(PEER, 53, OURS, 5000), 0) is None
    assert table.deliver(datagram(PEER6, 53, OURS6, 5000), 0) == [only6]
    only4 = table.open(ANY_V4, 5000, options(), 0)
    assert table.deliver(datagram(PEER, 53, OURS, 5000), 0) == [only4]


def test_disconnect_takes_anybody_again(table: UdpTable) -> None:
    endpoint = table.open(ANY_V4, 5000, options(), 0)
    endpoint.connect(PEER, 53)
    assert table.deliver(datagram(OTHER, 53, OURS, 5000), 0) is None
    endpoint.connect(OTHER, 53)
    assert table.deliver(datagram(OTHER, 53, OURS, 5000), 0) == [endpoint]
    endpoint.disconnect()
    assert endpoint.local == (ANY_V4, 5000)
    assert table.deliver(datagram(PEER, 53, OURS, 5000), 0) == [endpoint]


@pytest.mark.parametrize(
    ("first", "second", "one", "two", "free"),
    [
        (ANY_V4, OURS, {}, {}, False),
        (ANY, OURS, {}, {}, False),
        (OURS, ANY, {}, {}, False),
        (OURS, OURS, {}, {}, False),
        (ANY, OURS, {"v6only": True}, {}, True),
        (OURS, OURS6, {}, {}, True),
        (ANY_V4, OURS6, {}, {}, True),
        (OURS, OURS, {"reuseaddr": True}, {"reuseaddr": True}, True),
        (OURS, OURS, {"reuseaddr": True}, {}, False),
        (OURS, OURS, {"reuseport": True}, {"reuseport": True}, True),
        (OURS, OURS, {"reuseport": True}, {"reuseaddr": True}, False),
    ],
)
def test_who_may_share_a_port(
    table: UdpTable, first: bytes, second: bytes, one: dict[str, bool], two: dict[str, bool], free: bool
) -> None:
    table.open(first, 5000, options(**one), 0)
    if free:
        table.open(second, 5000, options(**two), 0)
    else:
        with pytest.raises(OSError, match="Address already in use"):
            table.open(second, 5000, options(**two), 0)


def test_bind_wants_an_own_address(table: UdpTable) -> None:
    with pytest.raises(OSError, match="Cannot assign"):
        table.open(PEER, 5000, options(), 0)
    assert table.open(PEER, 5000, options(freebind=True), 0).local == (PEER, 5000)


def test_reuseport_spreads_flows_and_keeps_each(table: UdpTable) -> None:
    group = [table.open(OURS, 5000, options(reuseport=True), 0) for _ in range(4)]
    first = [table.deliver(datagram(PEER, port, OURS, 5000), 0) for port in range(1, 200)]
    again = [table.deliver(datagram(PEER, port, OURS, 5000), 0) for port in range(1, 200)]
    assert first == again
    assert {id(found[0]) for found in first if found} == {id(endpoint) for endpoint in group}


def test_ephemeral_ports_are_in_range_and_run_out(wire: Wire, table: UdpTable) -> None:
    wire.knobs = Settings(ip_local_port_range=(40000, 40009))
    opened = [table.open(ANY_V4, 0, options(), 0) for _ in range(10)]
    assert sorted(endpoint.port for endpoint in opened) == list(range(40000, 40010))
    with pytest.raises(OSError, match="Address already in use"):
        table.open(ANY_V4, 0, options(), 0)
    opened[3].close()
    assert table.open(ANY_V4, 0, options(), 0).port == opened[3].port


def test_the_queue_is_bounded_in_bytes_overhead_included(wire: Wire, table: UdpTable) -> None:
    endpoint = table.open(OURS, 5000, options(rcvbuf=5 * (100 + QUEUE_OVERHEAD)), 0)
    taken = [table.deliver(datagram(PEER, 1, OURS, 5000, bytes(100)), 0) for _ in range(8)]
    assert taken == [[endpoint]] * 6 + [[]] * 2  # as Linux: what is over the limit by less than one fits
    assert endpoint.drops == 2
    assert wire.counters["UdpRcvbufErrors"] == 2
    assert wire.counters.dropped(Drop.RECEIVE_QUEUE_FULL) == 2
    endpoint.receive()
    assert table.deliver(datagram(PEER, 1, OURS, 5000), 0) == [endpoint]
    while endpoint.receive():
        pass
    assert endpoint.queued == 0
    assert not endpoint.readable()


def test_the_default_queue_is_linuxs(table: UdpTable) -> None:
    endpoint = table.open(OURS, 5000, options(), 0)
    while table.deliver(datagram(PEER, 1, OURS, 5000, bytes(1000)), 0):
        pass
    assert endpoint.queued == 212992 // 1576 * 1576 + 1576


def test_a_broadcast_goes_to_all(table: UdpTable) -> None:
    shared = options(reuseaddr=True)
    one, two = table.open(ANY_V4, 5000, shared, 0), table.open(ANY_V4, 5000, shared, 0)
    three = table.open(OURS, 5000, shared, 0)
    connected = table.open(ANY_V4, 5000, shared, 0)
    connected.connect(OTHER, 53)
    assert table.deliver(datagram(PEER, 53, BROADCAST, 5000), 0) == [one, two]
    assert not three.readable()


def test_port_zero_is_nobodys(table: UdpTable) -> None:
    assert table.deliver(datagram(PEER, 53, OURS, 0), 0) is None
    assert table.counters.dropped(Drop.ZERO_PORT) == 1


def sent_key(endpoint: UdpEndpoint, peer: bytes = PEER, port: int = 53) -> bytes:
    return flow_key(OURS, endpoint.port, peer, port)


def test_a_connected_endpoint_hears_of_refusal(table: UdpTable) -> None:
    endpoint = table.open(ANY_V4, 5000, options(), 0)
    assert table.icmp_error(sent_key(endpoint), errno.ECONNREFUSED, True) is None
    endpoint.connect(PEER, 53)
    assert table.icmp_error(sent_key(endpoint, OTHER), errno.ECONNREFUSED, True) is None
    assert table.icmp_error(sent_key(endpoint), errno.EHOSTUNREACH, False) is None
    assert table.icmp_error(sent_key(endpoint), errno.ECONNREFUSED, True) is endpoint
    assert endpoint.error == errno.ECONNREFUSED
    with pytest.raises(ConnectionRefusedError):
        endpoint.send(b"x", 0)
    assert endpoint.error == 0
    endpoint.send(b"x", 0)


def test_ip_recverr_hears_of_everything(table: UdpTable) -> None:
    endpoint = table.open(ANY_V4, 5000, options(recverr=True), 0)
    assert table.icmp_error(sent_key(endpoint), errno.EHOSTUNREACH, False) is endpoint
    assert endpoint.error == errno.EHOSTUNREACH


@ENDS
def test_fragmentation_needed(table: UdpTable, ours: bytes, peer: bytes) -> None:
    endpoint = table.open(ours, 5000, options(), 0)
    endpoint.connect(peer, 53)
    key = flow_key(ours, 5000, peer, 53)
    assert table.icmp_error(key, errno.EMSGSIZE, False) is endpoint
    with pytest.raises(OSError, match="Message too long"):
        endpoint.send(b"x", 0)
    endpoint.options.mtu_discover = endpoint.options.mtu_discover6 = PMTUDISC_DONT
    assert table.icmp_error(key, errno.EMSGSIZE, False) is None


def test_closing_twice_and_sending_after(table: UdpTable) -> None:
    endpoint = table.open(OURS, 5000, options(), 0)
    endpoint.close()
    endpoint.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        endpoint.send_to(b"", PEER, 1, 0)
    assert table.endpoints() == []
