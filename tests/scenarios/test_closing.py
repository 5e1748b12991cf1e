"""Closing, where two hosts or many connections are needed: what TIME-WAIT is for, and who is left in it (C6 to C11)."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.conftest import MakeHosts
from tests.scenarios.two_hosts import SECOND, Sent, TwoHosts
from tests.socket.socket_world import KernelWorld
from ustack.cli.httpd.server import FileServer, Request
from ustack.device.namespace import Namespace
from ustack.stack.listing import sockets
from ustack.wire.tcp import ACK, RST, SYN

ONE_PORT = {"ip_local_port_range": (40000, 40000)}
"""Every connection of the client is of the same four-tuple."""


# C6

TICKS = 250_000
"""How far the ISN clock moves in the second between two connections."""


def move(hosts: TwoHosts, sender: Any, receiver: Any, text: bytes) -> bytes:
    """``text`` crosses, in as little time as it needs."""
    sender.setblocking(False)
    sent, received = 0, b""
    while len(received) < len(text):
        if sent < len(text):
            with contextlib.suppress(BlockingIOError):
                sent += sender.send(text[sent:])
        hosts.pass_time(0.001)
        received += receiver.recv(1 << 20) if receiver._core.unread() else b""
    sender.setblocking(True)
    return received


def old_connection(hosts: TwoHosts, listener: Any) -> Sent:
    """So much is sent both ways that the numbers run ahead of the ISN clock. The client closes first. Returns a
    segment of the client's text, of which the network has kept a copy: one that lies 50 000 bytes ahead of the ISN
    that the clock will have made for the next connection."""
    client = hosts.connect()
    served = hosts.accept(listener)
    move(hosts, served, client, bytes(TICKS))
    move(hosts, client, served, b"old" * 120_000)
    client.close()
    hosts.pass_time(0.001)
    assert served.recv(1) == b""
    served.close()
    hosts.pass_time(0.001)
    first = hosts.wire[0].segment.seq
    texts = [one for one in hosts.wire if one.sender == "client" and one.segment.payload_length]
    return next(one for one in texts if one.segment.seq - first - 1 >= TICKS + 50_000)


def new_connection(hosts: TwoHosts, listener: Any, at: float, copy: Sent) -> tuple[bytes, bytes]:
    """``at`` seconds the same four-tuple connects again; it sends ``expected``, and the old copy arrives. Returns
    what was sent and what was read."""
    hosts.network.run_for(int(at * SECOND) - (hosts.network.now - hosts.network.start))
    client = hosts.connect()
    served = hosts.accept(listener)
    syn = [sent.segment for sent in hosts.wire if sent.segment.flags == SYN][-1]
    expected = b"n" * ((copy.segment.seq - syn.seq - 1) % TICKS)
    received = move(hosts, client, served, expected)
    hosts.link.carry(hosts.near, copy.packet)
    hosts.pass_time(0.001)
    served.setblocking(False)
    if served._core.unread():
        received += served.recv(1 << 20)
    return expected, received


WITHOUT = {"tcp_timestamps": 0, "tcp_timewait_length": 0, **ONE_PORT}


@pytest.mark.scenario("C6")
def test_without_time_wait_an_old_segment_gets_into_the_next_connection(make_hosts: MakeHosts) -> None:
    hosts = make_hosts(client=WITHOUT, server=WITHOUT)
    listener = hosts.listen()
    copy = old_connection(hosts, listener)
    assert hosts.elapsed < 1
    expected, received = new_connection(hosts, listener, 1.0, copy)
    assert len(expected) >= 50_000
    assert received[: len(expected)] == expected
    assert received[len(expected) :].startswith((b"old", b"ldo", b"dol"))  # nobody wrote that


@pytest.mark.scenario("C6")
def test_time_wait_keeps_it_out(make_hosts: MakeHosts) -> None:
    """The same ports are refused for 60 s. After that the ISN clock is far ahead of all that was ever sent: even a
    segment that had survived so long lies before the window."""
    without_timestamps = {"tcp_timestamps": 0, **ONE_PORT}
    hosts = make_hosts(client=without_timestamps, server=without_timestamps)
    listener = hosts.listen()
    copy = old_connection(hosts, listener)
    for at in (1.0, 59.9):
        hosts.network.run_for(int(at * SECOND) - (hosts.network.now - hosts.network.start))
        with pytest.raises(OSError, match="assign requested address") as caught:
            hosts.connect()
        assert caught.value.errno == errno.EADDRNOTAVAIL
    expected, received = new_connection(hosts, listener, 61.0, copy)
    assert received == expected
    assert hosts.far.stack.counters.as_dict()["Drop.OLD_SEQUENCE"] == 1


# C7


@pytest.mark.scenario("C7")
@pytest.mark.parametrize("reuse", [0, 1])
def test_a_lost_last_ack_leaves_the_passive_side_to_a_reset(make_hosts: MakeHosts, reuse: int) -> None:
    """The client waits in TIME-WAIT, the server in LAST-ACK. With tcp_tw_reuse the client takes its port again after
    1 s: its SYN finds the old connection, is challenged, and its RST ends what should have ended with an ACK."""
    hosts = make_hosts("delay=20ms", client={"tcp_tw_reuse": reuse, **ONE_PORT})
    listener = hosts.listen()
    client = hosts.connect()
    served = hosts.accept(listener)
    client.close()
    hosts.pass_time(0.1)
    hosts.link.is_up = False
    served.close()
    hosts.pass_time(0.03)
    assert (hosts.states(hosts.near), hosts.states(hosts.far)) == (["FIN_WAIT_2"], ["LISTEN", "LAST_ACK"])
    hosts.link.is_up = True
    hosts.spoil = lambda sender, segment: sender == "client" and segment.flags == ACK and hosts.elapsed < 1.0
    hosts.network.run_until(lambda: hosts.states(hosts.near) == ["TIME_WAIT"])
    begun = hosts.elapsed
    assert hosts.states(hosts.far) == ["LISTEN", "LAST_ACK"]
    hosts.link.is_up = False  # neither the FINs nor their ACKs get through
    hosts.pass_time(1.0)
    if not reuse:
        with pytest.raises(OSError, match="assign requested address"):
            hosts.connect()
        hosts.link.is_up = True
        hosts.pass_time(20)
        assert hosts.states(hosts.far) == ["LISTEN"]  # the FIN came again, TIME-WAIT acknowledged it
        assert hosts.segments(RST, "client") == []
        return
    hosts.pass_time(0.001)
    hosts.link.is_up = True
    hosts.wire.clear()
    hosts.connect()
    hosts.settle()
    flags = [(sent.sender, sent.segment.flags) for sent in hosts.wire]
    assert flags[:3] == [("client", SYN), ("server", ACK), ("client", RST)]
    assert hosts.elapsed - begun < 60
    assert hosts.near.stack.counters["TCPTimeWaitReused"] == 1
    assert hosts.states(hosts.near) == ["ESTABLISHED"]
    assert hosts.states(hosts.far) == ["LISTEN", "ESTABLISHED"]


# C8


@pytest.mark.scenario("C8")
def test_beyond_tcp_max_tw_buckets_time_wait_is_skipped_and_counted(make_hosts: MakeHosts) -> None:
    hosts = make_hosts(server={"tcp_max_tw_buckets": 100})
    listener = hosts.listen()
    for _ in range(250):
        client = hosts.connect()
        hosts.accept(listener).close()
        hosts.pass_time(0.001)
        client.close()
        hosts.pass_time(0.001)
    assert hosts.states(hosts.far).count("TIME_WAIT") == 100
    assert hosts.far.stack.counters["TCPTimeWaitOverflow"] == 150
    hosts.pass_time(60)
    assert hosts.states(hosts.far) == ["LISTEN"]
    assert hosts.far.stack.counters["TW"] == 100


# C10


@pytest.mark.scenario("C10")
def test_the_listing_says_which_close_wait_and_since_when(make_hosts: MakeHosts) -> None:
    """An application that never calls close(): 2000 clients come and go, one in ten seconds; nothing ever ends it but
    close()."""
    hosts = make_hosts()
    listener = hosts.listen()
    left_at: dict[int, int] = {}
    kept = []
    for _ in range(2000):
        client = hosts.connect()
        port = client.getsockname()[1]
        kept.append(hosts.accept(listener))
        left_at[port] = hosts.network.now
        client.close()
        hosts.pass_time(10)
    hosts.pass_time(3600)
    rows = [row for row in sockets(hosts.far.stack.tcp) if row.state.name == "CLOSE_WAIT"]
    assert {row.remote[1]: row.since for row in rows} == left_at
    assert len(rows) == 2000
    assert hosts.states(hosts.near) == []  # the clients' FIN_WAIT_2 is over after tcp_fin_timeout
    oldest = min(rows, key=lambda row: row.since)
    port = oldest.remote[1]
    assert oldest.line(hosts.network.now) == f"CLOSE-WAIT 0 0 10.0.0.2:80 10.0.0.1:{port} for 23600.000 s"
    kept[0].close()
    hosts.settle()
    assert hosts.states(hosts.far).count("CLOSE_WAIT") == 1999
    assert port not in [row.remote[1] for row in sockets(hosts.far.stack.tcp)]


# C11


class Site:
    """``ustack serve``'s HTTP server, one connection at a time, on either kind of host."""

    def __init__(self, listener: Any, folder: Path, most_requests: int = 0) -> None:
        (folder / "page.txt").write_text("hello\n")
        self.listener = listener
        self.server = FileServer(listener, folder, lambda line: None, most_requests=most_requests)

    def serve_one(self, kind: type[Request] = Request) -> None:
        """The next connection, to its end."""
        connection, address = self.listener.accept()
        kind(connection, address, self.server)
        self.server.shutdown_request(connection)


def request(client: Any, *headers: str) -> None:
    lines = ["GET /page.txt HTTP/1.1", "Host: test", *headers, "", ""]
    client.sendall("\r\n".join(lines).encode())


@pytest.mark.parametrize(
    ("who", "most_requests", "asked", "seconds"),
    [
        ("Connection: close", 0, 1, 0.0),
        ("keep-alive timeout", 0, 3, 75.0),
        ("limit of requests", 3, 3, 0.0),
        ("the client", 0, 3, 0.0),
    ],
)
@pytest.mark.scenario("C11")
def test_time_wait_is_with_whoever_closes_first(
    make_hosts: MakeHosts, tmp_path: Path, who: str, most_requests: int, asked: int, seconds: float
) -> None:
    hosts = make_hosts()
    site = Site(hosts.listen(), tmp_path, most_requests)
    rounds = 300
    for _ in range(rounds):
        client = hosts.connect()
        for _ in range(asked):
            request(client, *(["Connection: close"] if who == "Connection: close" else []))
        if who == "the client":
            client.shutdown(socket.SHUT_WR)
        begun = hosts.network.now
        site.serve_one()
        assert round((hosts.network.now - begun) / SECOND) == seconds
        answers = b""
        while piece := client.recv(65536):
            answers += piece
        assert answers.count(b"hello\n") == asked
        assert answers.count(b"Connection: close") == (1 if who in ("Connection: close", "limit of requests") else 0)
        client.close()
        hosts.pass_time(0.001)
        if seconds:
            break
    waits = hosts.states(hosts.far).count("TIME_WAIT"), hosts.states(hosts.near).count("TIME_WAIT")
    rounds = 1 if seconds else rounds
    assert waits == ((0, rounds) if who == "the client" else (rounds, 0))


class Impatient(Request):
    """The keep-alive timeout where time is real."""

    timeout = 0.05


def kernel_time_waits(port: int) -> tuple[int, int]:
    """Of the kernel's connections: on the server's side, on the client's."""
    with open("/proc/thread-self/net/tcp", encoding="ascii") as file:
        lines = [line.split() for line in list(file)[1:]]
    ends = [(int(line[1].rpartition(":")[2], 16), line[3]) for line in lines]
    waiting = [local for local, state in ends if state == "06"]
    return waiting.count(port), len(waiting) - waiting.count(port)


@pytest.fixture
def kernel() -> Iterator[KernelWorld]:
    """The kernel's loopback in a namespace of its own."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with Namespace():
        world = KernelWorld(own_network=False)
        yield world
        world.close()


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("who", "most_requests", "asked"),
    [("Connection: close", 0, 1), ("keep-alive timeout", 0, 3), ("limit of requests", 3, 3), ("the client", 0, 3)],
)
@pytest.mark.scenario("C11")
def test_on_linux_as_well(kernel: KernelWorld, tmp_path: Path, who: str, most_requests: int, asked: int) -> None:
    listener = kernel.listener()
    site = Site(listener, tmp_path, most_requests)
    for _ in range(20):
        client = kernel.socket()
        client.connect(listener.getsockname())
        for _ in range(asked):
            request(client, *(["Connection: close"] if who == "Connection: close" else []))
        if who == "the client":
            client.shutdown(socket.SHUT_WR)
        site.serve_one(Impatient if who == "keep-alive timeout" else Request)
        answers = b""
        while piece := client.recv(65536):
            answers += piece
        assert answers.count(b"hello\n") == asked
        client.close()
    assert kernel_time_waits(listener.getsockname()[1]) == ((0, 20) if who == "the client" else (20, 0))
