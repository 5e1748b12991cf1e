"""Transfers over bad links in virtual time: exact bytes at both ends, and afterwards nothing is left anywhere."""

from __future__ import annotations

import random

import pytest

from ustack import native
from ustack.device.impairment import Impairment, parse_impairment
from ustack.settings import Settings
from ustack.sim.apps import Exchange, Server, make_stack
from ustack.sim.network import SimNetwork
from ustack.stack.stack import Stack
from ustack.wire.address import parse_address

SECOND = 1_000_000_000
MS = 1_000_000
RIGHT = parse_address("10.0.0.2")


def text(random_: random.Random, most: int) -> bytes:
    return random_.randbytes(random_.randrange(most))


def random_impairment(random_: random.Random) -> Impairment:
    def sometimes(value: float) -> float:
        return value if random_.random() < 0.5 else 0.0

    delay = random_.choice((0, MS // 2, 5 * MS, 50 * MS, 300 * MS))
    return Impairment(
        loss=sometimes(random_.uniform(0, 0.1)),
        burst=(sometimes(0.005), random_.uniform(0.2, 0.9)),
        duplicate=sometimes(random_.uniform(0, 0.05)),
        reorder=sometimes(random_.uniform(0, 0.2)),
        corrupt=sometimes(random_.uniform(0, 0.03)),
        mark=sometimes(0.02),
        delay=delay,
        jitter=random_.choice((0, delay // 10)),
        rate=random_.choice((0, 2_000_000, 100_000_000)),
        limit=random_.choice((5, 50, 1000)),
        seed=random_.randrange(1 << 30),
    )


class Transfer:
    """A client and a server that send each other text over a link."""

    def __init__(self, there: Impairment, back: Impairment, texts: tuple[bytes, bytes], ecn: int = 2) -> None:
        self.network = SimNetwork(trace=True)
        # A client that has closed gives up after 8 resends (tcp_orphan_retries 0): one burst of losses may be longer.
        settings = Settings().replace(tcp_ecn=ecn, tcp_orphan_retries=20)
        self.left = self.network.add_host("left", make_stack("left", settings), "10.0.0.1/24")
        self.right = self.network.add_host("right", make_stack("right", settings), "10.0.0.2/24")
        self.network.join(self.left, self.right, there, back)
        self.texts = texts
        self.server = Server(self.right, 80, texts[1])
        self.client = Exchange(self.left, texts[0]).connect(RIGHT, 80)

    def is_over(self) -> bool:
        ends = [self.client, *self.server.exchanges]
        return len(ends) > 1 and all(end.is_finished for end in ends)

    def run(self, limit: int) -> None:
        network = self.network
        assert network.run_until(self.is_over, network.now + limit), self.story()
        (served,) = self.server.exchanges
        assert (self.client.error, served.error) == (None, None), self.story()
        assert bytes(served.received) == self.texts[0]
        assert bytes(self.client.received) == self.texts[1]
        self.server.close()
        assert network.run_until_quiet(network.now + 300 * SECOND), self.story()
        for host in network.hosts:
            assert host.stack.next_deadline() is None
            assert not host.stack.tcp.connections

    def story(self) -> str:
        return "\n".join(self.network.trace[-40:])


@pytest.mark.parametrize("seed", range(150))
def test_exact_bytes_over_a_random_bad_link(seed: int) -> None:
    random_ = random.Random(seed)
    texts = text(random_, 200_000), text(random_, random_.choice((1, 50_000)))
    Transfer(random_impairment(random_), random_impairment(random_), texts, random_.choice((0, 1, 2))).run(
        3600 * SECOND
    )


@pytest.mark.parametrize(
    "impairment",
    [
        "loss=0%", "loss=3%", "burst=1%/30%", "reorder=5%", "duplicate=20%", "corrupt=3%", "jitter=5ms",
        "rate=10Mbit,limit=20", "mark=5%",
    ],
)  # fmt: skip
def test_each_fault_alone(impairment: str) -> None:
    model = parse_impairment(impairment + ",delay=10ms,seed=5")
    Transfer(model, model, (random.Random(1).randbytes(1 << 20), b"done"), 1).run(600 * SECOND)


def test_the_same_seeds_tell_the_same_story() -> None:
    stories = []
    for _ in range(2):
        model = parse_impairment("loss=3%,reorder=3%,duplicate=1%,corrupt=1%,delay=7ms,jitter=1ms,rate=50Mbit,seed=11")
        transfer = Transfer(model, model, (b"x" * 300_000, b"y" * 1000))
        transfer.run(600 * SECOND)
        stories.append(transfer.network.trace)
    assert stories[0] == stories[1]


@pytest.mark.parametrize("length", [1 * SECOND, 30 * SECOND])
def test_a_partition_heals(length: int) -> None:
    transfer = Transfer(Impairment(delay=10 * MS, rate=10_000_000), Impairment(delay=10 * MS), (b"x" * 500_000, b"y"))
    network, link = transfer.network, transfer.network.links[0]
    network.run_for(100 * MS)
    link.is_up = False
    network.run_for(length)
    link.is_up = True
    transfer.run(600 * SECOND)


def test_a_partition_that_stays_ends_both_ends_with_an_error() -> None:
    transfer = Transfer(Impairment(delay=10 * MS), Impairment(delay=10 * MS), (b"x" * 5_000_000, b"y" * 5_000_000))
    network = transfer.network
    network.run_for(70 * MS)
    network.links[0].is_up = False
    assert network.run_until(transfer.is_over, network.now + 3600 * SECOND)
    errors = [end.error for end in (transfer.client, *transfer.server.exchanges)]
    assert all(isinstance(error, TimeoutError) for error in errors)
    transfer.server.close()
    assert network.run_until_quiet(network.now + 300 * SECOND)
    assert not any(host.stack.tcp.connections for host in network.hosts)


@pytest.mark.native
def test_with_the_c_core_the_bytes_are_the_same() -> None:
    network = SimNetwork()
    model = parse_impairment("loss=2%,reorder=2%,corrupt=1%,delay=5ms,rate=100Mbit,seed=3")
    hosts = []
    for number, name in enumerate(("left", "right"), 1):
        stack = Stack(Settings(), entropy=name.encode() * 8, rings=native.NativeRings())
        hosts.append(network.add_host(name, stack, f"10.0.0.{number}/24", receiver=native.Receiver()))
    network.join(*hosts, model)
    data = random.Random(2).randbytes(3_000_000)
    server = Server(hosts[1], 80)
    client = Exchange(hosts[0], data).connect(RIGHT, 80)
    assert network.run_until(lambda: client.is_finished and server.exchanges[0].is_finished, network.now + 600 * SECOND)
    assert bytes(server.exchanges[0].received) == data
