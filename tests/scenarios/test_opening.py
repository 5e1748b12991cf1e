"""Opening, where one script is not enough: floods, numbers, ports, a handshake of two steps (scenarios B7 to B13)."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import pytest

from tests.scenarios.conftest import MakeHosts
from tests.scenarios.two_hosts import CLIENT, HOUR, SERVER, TwoHosts, segment_packet
from tests.socket.socket_world import KernelWorld, World
from ustack.device.namespace import Namespace
from ustack.settings import Settings
from ustack.sockopts import SocketOptions
from ustack.stack.listing import sockets
from ustack.tcp.connection.connection import Connection
from ustack.wire.address import parse_address
from ustack.wire.frame import Segment
from ustack.wire.parse import parse_packet
from ustack.wire.tcp import ACK, FIN, PSH, RST, SYN, TcpHeader

MSS_OPTION = b"\x02\x04\x05\xb4"
GREETING = b"220 welcome\r\n"

# B7


@pytest.mark.scenario("B7")
def test_the_listing_shows_a_full_accept_queue(make_hosts: MakeHosts) -> None:
    """``ss -lnt``: Recv-Q beyond Send-Q, and somaxconn is the most that any backlog can be."""
    hosts = make_hosts(server={"somaxconn": 2})
    hosts.listen(backlog=1000)
    clients = [hosts.connect() for _ in range(3)]
    hosts.settle()
    row = sockets(hosts.far.stack.tcp)[0]
    assert row.line(hosts.network.now) == "LISTEN 3 2 0.0.0.0:80 0.0.0.0:*"
    assert row.recv_q > row.send_q
    late = hosts.keep(hosts.client.socket())
    late.settimeout(30)
    with pytest.raises(TimeoutError):
        late.connect((SERVER, 80))
    assert hosts.far.stack.counters["ListenOverflows"] == len(hosts.segments(SYN, "client")) - len(clients)


# B8


def flood(hosts: TwoHosts, count: int) -> None:
    """SYNs, each from another address that never answers."""
    network = hosts.network
    for number in range(count):
        header = TcpHeader(1024 + number % 60000, 80, number * 7919, 0, SYN, 65535)
        network.clock.after(0, lambda n=number, h=header: hosts.far.receive([_spoofed(n, h)]))  # type: ignore[misc]
    network.run_until(lambda: False, network.now)


def _spoofed(number: int, header: TcpHeader) -> bytes:
    return segment_packet(f"10.9.{number // 250}.{1 + number % 250}", header, MSS_OPTION)


Flooded = Callable[..., TwoHosts]


@pytest.fixture
def flooded(make_hosts: MakeHosts) -> Flooded:
    """``flooded(backlog, tcp_syncookies=0)``: a server that a flood of 1000 SYNs has just reached, 20 ms from its real
    client."""

    def made(backlog: int, **knobs: int) -> TwoHosts:
        hosts = make_hosts("delay=20ms", server=knobs)
        hosts.listen(backlog)
        flood(hosts, 1000)
        return hosts

    return made


def waiting(hosts: TwoHosts) -> int:
    """Requests that cost the server memory."""
    return hosts.states(hosts.far).count("SYN_RECEIVED")


def admitted(hosts: TwoHosts) -> Connection:
    (found,) = hosts.far.stack.tcp.connections.values()
    return found


@pytest.mark.scenario("B8")
@pytest.mark.parametrize(("retries", "seconds"), [(5, 67.04), (1, 3.04)])
def test_without_cookies_a_flood_shuts_real_clients_out(flooded: Flooded, retries: int, seconds: float) -> None:
    """tcp_max_syn_backlog = 256, a quarter of it kept for known peers: 193 requests, the rest dropped. The client gets
    in with the first SYN after the flood's requests are forgotten: after 63 s, or 3 s with one SYN-ACK resend."""
    hosts = flooded(4096, tcp_syncookies=0, tcp_max_syn_backlog=256, tcp_synack_retries=retries)
    assert waiting(hosts) == 193
    assert hosts.far.stack.counters["ListenDrops"] == 807
    hosts.connect()
    assert hosts.elapsed == pytest.approx(seconds)
    hosts.settle()
    assert waiting(hosts) == 0
    assert hosts.far.stack.counters["SyncookiesSent"] == 0


@pytest.mark.parametrize(
    ("timestamps", "kept"), [(1, (1300, True, 10, True)), (0, (1300, False, 0, False))], ids=["timestamps", "none"]
)
@pytest.mark.scenario("B8")
def test_with_cookies_real_clients_get_in_at_once(
    flooded: Flooded, timestamps: int, kept: tuple[int, bool, int, bool]
) -> None:
    """tcp_syncookies = 1: from the 130th SYN on nothing is kept; the MSS comes back in the cookie, window scale and
    SACK only through timestamps."""
    hosts = flooded(128, tcp_syncookies=1)
    assert waiting(hosts) == 129
    assert hosts.far.stack.counters["SyncookiesSent"] == 871
    hosts.near.stack.settings = Settings().replace(tcp_timestamps=timestamps)
    hosts.near.stack.set_mtu(1340)
    client = hosts.connect()
    assert hosts.elapsed == pytest.approx(0.04)
    client.sendall(b"x" * 100_000)
    hosts.settle()
    found = admitted(hosts)
    assert (found.agreed.peer_mss, found.agreed.sack_on, found.agreed.snd_wscale, found.agreed.wscale_on) == kept
    assert found.unread() > 60_000
    assert hosts.far.stack.counters["SyncookiesRecv"] == 1
    assert waiting(hosts) == 129


@pytest.mark.scenario("B8")
def test_cookies_always(flooded: Flooded) -> None:
    """tcp_syncookies = 2: no request is ever kept, no timer runs."""
    hosts = flooded(128, tcp_syncookies=2)
    assert waiting(hosts) == 0
    assert hosts.far.stack.next_deadline() is None
    assert hosts.far.stack.counters["SyncookiesSent"] == 1000
    hosts.connect()
    hosts.settle()
    assert admitted(hosts).agreed.sack_on
    assert hosts.far.stack.counters["SyncookiesRecv"] == 1


# B9


def isn_of(hosts: TwoHosts, local_port: int) -> int:
    """Connects, reads the number off the wire, and leaves without TIME-WAIT."""
    hosts.wire.clear()
    found = hosts.connect(local_port=local_port)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    found.close()
    hosts.settle()
    (syn,) = hosts.segments(SYN, "client")
    return syn.seq


@pytest.mark.scenario("B9")
def test_isns_on_the_wire(make_hosts: MakeHosts) -> None:
    """A tick is 4 us, a turn 2^32 of them: 4.77 h. One tuple goes on with the clock, another is somewhere else."""
    hosts = make_hosts()
    hosts.listen()
    begun: list[int] = []
    numbers: list[int] = []
    others: set[int] = set()
    for _ in range(5):
        begun.append(hosts.network.now)
        numbers.append(isn_of(hosts, 40000))
        others.add((isn_of(hosts, 40001) - numbers[-1]) & 0xFFFFFFFF)
        hosts.pass_time(3600)
    for (sooner, at), (later, then) in pairwise(zip(numbers, begun, strict=True)):
        assert (later - sooner) & 0xFFFFFFFF == (then - at) // 4000
        assert (later - sooner) & 0xFFFFFFFF < 1 << 31  # forwards
    assert round((1 << 32) * 4000 / HOUR, 2) == 4.77
    assert len(others) == 1  # F stays: only M moves
    assert not others & set(range(1 << 20))


# B12

RANGE = (40000, 40009)


@pytest.fixture(params=["ustack", pytest.param("kernel", marks=pytest.mark.kernel)])
def small_range(request: pytest.FixtureRequest) -> Iterator[World]:
    """Hosts with ten ephemeral ports."""
    if request.param == "ustack":
        made = World(Settings().replace(ip_local_port_range=RANGE))
        yield made
        made.close()
        return
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with Namespace():
        with open("/proc/sys/net/ipv4/ip_local_port_range", "w", encoding="ascii") as file:
            file.write("{} {}".format(*RANGE))
        kernel = KernelWorld(own_network=False)
        yield kernel
        kernel.close()


@pytest.mark.scenario("B12")
def test_ports_run_out_for_one_remote_end_only(small_range: World) -> None:
    listeners: list[Any] = []
    for port in (80, 81):
        found = small_range.server_socket()
        found.bind((small_range.address(), port))
        found.listen(20)
        listeners.append(found)
    clients = [small_range.socket() for _ in range(10)]
    for client in clients:
        client.connect((small_range.address(), 80))
    assert {client.getsockname()[1] for client in clients} == set(range(RANGE[0], RANGE[1] + 1))
    late = small_range.socket()
    with pytest.raises(OSError, match="assign requested address") as caught:
        late.connect((small_range.address(), 80))
    assert caught.value.errno == errno.EADDRNOTAVAIL
    late.connect((small_range.address(), 81))
    assert late.getsockname()[1] in range(RANGE[0], RANGE[1] + 1)


@pytest.mark.scenario("B12")
def test_the_default_range_has_28232_ports(make_hosts: MakeHosts) -> None:
    """32768 to 60999."""
    hosts = make_hosts()
    hosts.link.is_up = False
    stack, now = hosts.near.stack, hosts.network.now
    ours, theirs = parse_address(CLIENT), parse_address(SERVER)
    own = SocketOptions()
    ports = {stack.connect(ours, 0, theirs, 80, own, now).flow.local_port for _ in range(28232)}
    assert (min(ports), max(ports), len(ports)) == (32768, 60999, 28232)
    with pytest.raises(OSError, match="assign requested address") as caught:
        stack.connect(ours, 0, theirs, 80, own, now)
    assert caught.value.errno == errno.EADDRNOTAVAIL
    assert stack.connect(ours, 0, theirs, 81, own, now).flow.local_port in ports
    assert stack.connect(ours, 0, parse_address("10.0.0.3"), 80, own, now).flow.local_port in ports


# B13


class TwoWayServer:
    """Deliberately wrong: what a SYN asks for is a connection at once, the SYN-ACK ends the handshake.

    It takes the place of the server's TCP, greets whom it has accepted, answers FIN with FIN, and believes a RST."""

    def __init__(self, hosts: TwoHosts) -> None:
        self.hosts = hosts
        self.accepted: list[int] = []
        self.open: set[int] = set()
        hosts.far.receive = self.receive  # type: ignore[method-assign]

    def receive(self, packets: Sequence[bytes]) -> None:
        for packet in packets:
            segment = parse_packet(packet)
            assert isinstance(segment, Segment)
            port = segment.source_port
            if segment.flags == SYN:
                self.accepted.append(port)
                self.open.add(port)
                self._say(port, 7000, segment.seq + 1, SYN | ACK)
                self._say(port, 7001, segment.seq + 1, PSH | ACK, GREETING)
            elif segment.flags & RST:
                self.open.discard(port)
            elif segment.flags & FIN and port in self.open:
                self.open.discard(port)
                self._say(port, segment.ack, segment.seq + segment.payload_length + 1, FIN | ACK)

    def _say(self, port: int, seq: int, ack: int, flags: int, text: bytes = b"") -> None:
        packet = segment_packet(SERVER, TcpHeader(80, port, seq, ack, flags, 65535), b"", CLIENT, text)
        self.hosts.network.route(self.hosts.far, packet)


def visit(hosts: TwoHosts, listener: Any = None) -> bytes:
    """A client comes, is greeted, and goes. Returns the packet of its SYN, of which a copy is still on its way."""
    client = hosts.connect()
    if listener is not None:
        served = hosts.accept(listener)
        served.sendall(GREETING)
    assert client.recv(100) == GREETING
    client.close()
    hosts.settle()
    if listener is not None:
        assert served.recv(100) == b""
        served.close()
    (packet,) = [sent.packet for sent in hosts.wire if sent.segment.flags == SYN]
    hosts.pass_time(120)
    assert hosts.states(hosts.near) == []
    return packet


@pytest.mark.scenario("B13")
@pytest.mark.parametrize("is_rst_lost", [False, True], ids=["rst", "rst-lost"])
def test_three_steps_make_no_connection_that_nobody_wants(hosts: TwoHosts, is_rst_lost: bool) -> None:
    """A copy of an old SYN comes two minutes late: the application of the right server never hears of it."""
    listener = hosts.listen()
    old = visit(hosts, listener)
    hosts.spoil = lambda sender, segment: is_rst_lost and bool(segment.flags & RST)
    hosts.link.carry(hosts.near, old)
    hosts.pass_time(0.03)
    assert hosts.states(hosts.far) == ["LISTEN", "SYN_RECEIVED"]
    hosts.pass_time(64 if is_rst_lost else 0.04)
    assert hosts.states(hosts.far) == ["LISTEN"]
    assert len(hosts.segments(SYN | ACK, "server")) == 1 + (6 if is_rst_lost else 1)
    assert hosts.far.stack.counters["TcpPassiveOpens"] == 1
    assert hosts.far.stack.counters["EmbryonicRsts"] == (0 if is_rst_lost else 1)
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.scenario("B13")
@pytest.mark.parametrize("is_rst_lost", [False, True], ids=["rst", "rst-lost"])
def test_two_steps_make_one(hosts: TwoHosts, is_rst_lost: bool) -> None:
    """The wrong server accepts and greets somebody who has gone; if the RST is lost as well, it keeps him for ever."""
    server = TwoWayServer(hosts)
    old = visit(hosts)
    assert (len(server.accepted), server.open) == (1, set())
    hosts.spoil = lambda sender, segment: is_rst_lost and bool(segment.flags & RST)
    hosts.link.carry(hosts.near, old)
    hosts.pass_time(24 * 3600)
    assert len(server.accepted) == 2  # one client came
    assert [segment.payload_length for segment in hosts.segments(PSH | ACK, "server")] == [len(GREETING)] * 2
    assert server.open == ({server.accepted[1]} if is_rst_lost else set())


@pytest.mark.scenario("B13", "B11")
def test_four_steps_are_one_too_many(hosts: TwoHosts, make_hosts: MakeHosts) -> None:
    """SYN and ACK of the server share a segment: three are enough. Four it takes when both ends begin at once."""
    hosts.listen()
    hosts.connect()
    hosts.settle()
    assert [sent.segment.flags for sent in hosts.wire] == [SYN, SYN | ACK, ACK]
    both = make_hosts("delay=20ms")
    ends = [(both.client, CLIENT, SERVER), (both.server, SERVER, CLIENT)]
    for host, ours, theirs in ends:
        one = both.keep(host.socket())
        one.bind((ours, 4000))
        one.setblocking(False)
        assert one.connect_ex((theirs, 4000)) == errno.EINPROGRESS
    both.settle()
    opening = [sent.segment.flags for sent in both.wire if sent.segment.flags & SYN]
    assert opening == [SYN, SYN, SYN | ACK, SYN | ACK]
    assert both.states(both.near) + both.states(both.far) == ["ESTABLISHED", "ESTABLISHED"]
