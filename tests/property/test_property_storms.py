"""Floods and storms: what an attacker costs is bounded, and two honest ends that he sets at odds fall silent again."""

from __future__ import annotations

import random

import pytest

from tools.fuzz.flows import LISTEN_PORT, MASK, OURS, THEIRS, Flow, Forged, wrap
from tools.fuzz.honest import Case, Manners, Play
from tools.fuzz.hostile import Setup, World
from tools.fuzz.invariants import check_stack
from ustack.device.impairment import Impairment
from ustack.tcp.connection.connection import Connection
from ustack.units import SECOND
from ustack.wire import ipv4
from ustack.wire.tcp import ACK, FIN, PSH, SYN, TcpHeader, build_segment

MS = 1_000_000
SYN_OPTIONS = b"\x02\x04\x05\xb4\x04\x02\x01\x03\x03\x07"


def spoofed(rng: random.Random, victim: Connection) -> bytes:
    """A segment for ``victim`` that its peer never sent, near enough to be taken seriously."""
    seq = rng.choice(
        (
            victim.receiver.rcv_nxt,
            victim.receiver.rcv_nxt + 1,
            victim.receiver.rcv_nxt - 1,
            victim.receiver.rcv_nxt + 70_000,
        )
    )
    ack = rng.choice(
        (victim.sender.snd_nxt, victim.sender.snd_una, victim.sender.snd_nxt + 1, victim.sender.snd_una - 1)
    )
    flags = rng.choice((ACK, ACK, ACK | PSH, ACK | FIN, SYN, SYN | ACK))
    length = rng.choice((0, 1, 100))
    header = TcpHeader(victim.flow.remote_port, victim.flow.local_port, seq & MASK, ack & MASK, flags, 500)
    source, destination = victim.flow.remote_address, victim.flow.local_address
    return wrap(source, destination, 6, build_segment(source, destination, header, b"", bytes(length)))


@pytest.mark.parametrize("seed", range(40))
def test_two_ends_at_odds_do_not_shout_for_ever(seed: int) -> None:
    rng = random.Random(seed)
    link = Impairment(delay=rng.choice((MS, 50 * MS, 400 * MS)))
    waiting = Manners(length=1, think=100 * SECOND, read_pause=1000 * SECOND)
    settings = ((("tcp_timestamps", 0), ("tcp_sack", rng.choice((0, 1)))),) * 2
    play = Play(Case("wild", link, link, settings, (waiting, waiting)))
    network = play.network
    network.flush()
    network.run_for(5 * SECOND)
    for person in play.people():
        assert person.connection is not None
        person.is_over = True  # neither reads, writes or closes any more
    for _ in range(rng.randrange(1, 6)):
        person = rng.choice(play.people())
        assert person.connection is not None
        person.host.receive([spoofed(rng, person.connection)])
        network.run_for(rng.choice((0, 10 * MS, SECOND)))
    network.run_for(5 * SECOND)
    before = network.packets
    network.run_for(60 * SECOND)
    assert network.packets - before <= 60 * 5, "an ACK storm"
    for host in play.hosts:
        check_stack(host.stack, network.now)


@pytest.mark.parametrize("cookies", [0, 1, 2])
def test_a_flood_of_syns(cookies: int) -> None:
    """Twenty thousand sources: bounded memory, and with cookies an honest client still gets through."""
    settings = (("tcp_syncookies", cookies), ("tcp_max_syn_backlog", 256))
    world = World(Setup(settings, backlog=100))
    for first in range(0, 20_000, 500):
        flood = [
            Forged(SYN, options=SYN_OPTIONS).build(Flow(4, 1024 + number, LISTEN_PORT), world.stack, world.now)
            for number in range(first, first + 500)
        ]
        world.do(("raw", *flood))
    flow = Flow(4, 999, LISTEN_PORT)
    world.do(("segments", (flow, Forged(SYN, options=SYN_OPTIONS, ts=(1, 0)))))
    if cookies:
        (listener,) = world.stack.tcp.listeners[LISTEN_PORT]
        assert len(listener.requests) <= 101  # the backlog and one, as on Linux
    assert not world.stack.tcp.connections
    world.do(("wait", 200 * SECOND))
    (listener,) = world.stack.tcp.listeners[LISTEN_PORT]
    assert not listener.requests
    assert world.stack.next_deadline() is None
    world.finish()


def test_a_flood_leaves_an_honest_transfer_alone() -> None:
    """Random segments for every port while an honest client talks: same bytes, and nobody is reset."""
    rng = random.Random(4)
    link = Impairment(delay=10 * MS, rate=100_000_000, limit=100_000)
    manners = Manners(length=300_000), Manners(length=300_000)
    play = Play(Case("wild", link, link, manners=manners))
    network, server = play.network, play.hosts[1]
    ours, theirs = server.stack.ip.addresses()[0][0], play.hosts[0].stack.ip.addresses()[0][0]

    def attack() -> None:
        packets = []
        for _ in range(50):
            header = TcpHeader(
                rng.randrange(32768, 61000),
                80,
                rng.getrandbits(32),
                rng.getrandbits(32),
                rng.choice((2, 4, 16, 17, 18)),
                9,
            )
            packets.append(wrap(theirs, ours, 6, build_segment(theirs, ours, header, b"", bytes(rng.choice((0, 9))))))
        server.receive(packets)
        if network.now < network.start + SECOND:
            network.clock.after(MS, attack)

    network.clock.after(MS, attack)
    play.run()
    assert all(person.error is None for person in play.people())
    assert {person.read for person in play.people()} == {300_000}


def test_a_bomb_of_fragments() -> None:
    """Parts of packets that never become whole: bounded memory, and all of it given back."""
    world = World(Setup((("ipfrag_high_thresh", 100_000),)))
    for number in range(3000):
        part = ipv4.build(THEIRS[4], OURS[4], 17, bytes(64), identification=number, fragment=0x2000 | (number % 7))
        world.do(("raw", part))
    assert 0 < world.stack.ip._v4.memory <= 110_000
    world.do(("wait", 61 * SECOND))
    assert world.stack.ip._v4.memory == 0
    world.finish()
