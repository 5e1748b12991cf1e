"""A process that loses the processor now and then still sends at the pace that the path allows."""

from __future__ import annotations

import random

import pytest

from ustack.device.impairment import Impairment
from ustack.settings import Settings
from ustack.sim.apps import Exchange, Server, make_stack
from ustack.sim.network import SimHost, SimNetwork
from ustack.wire.address import parse_address

MS = 1_000_000
SECOND = 1000 * MS
RATE = 100_000_000


class SleepyHost(SimHost):
    """Awake for 2 to 6 ms, then away for up to 8: what arrives or is due meanwhile waits."""

    def __init__(self, network: SimNetwork, name: str, settings: Settings) -> None:
        super().__init__(network, name, make_stack(name, settings))
        self.random = random.Random(7)
        self.wakes_at = self.tires_at = 0
        self.waiting: list[bytes] = []

    def is_away(self) -> bool:
        if self.now >= self.tires_at:
            self.wakes_at = self.now + self.random.randrange(MS, 8 * MS)
            self.tires_at = self.wakes_at + self.random.randrange(2 * MS, 6 * MS)
        return self.now < self.wakes_at

    def receive(self, packets: list[bytes]) -> None:  # type: ignore[override]
        if not self.is_away():
            super().receive(packets)
            return
        if not self.waiting:
            self.network.clock.at(self.wakes_at, self._wake)
        self.waiting += packets

    def _wake(self) -> None:
        waiting, self.waiting = self.waiting, []
        super().receive(waiting)

    def _on_deadline(self) -> None:
        if self._armed_at == self.now and self.is_away():
            self._armed_at = self.wakes_at
            self.network.clock.at(self.wakes_at, self._on_deadline)
            return
        super()._on_deadline()


@pytest.mark.parametrize("loss", [0.0, 0.01])
def test_bbr_keeps_its_rate(loss: float) -> None:
    """Lateness that nobody makes up for would halve it: BBR takes its own pauses for the path's."""
    network = SimNetwork()
    sender = SleepyHost(network, "sender", Settings().replace(tcp_congestion_control="bbr"))
    sender.addresses.add(parse_address("10.0.0.1"))
    sender.stack.add_address(parse_address("10.0.0.1"), 24)
    network.hosts.append(sender)
    receiver = network.add_host("receiver", make_stack("receiver"), "10.0.0.2/24")
    there = Impairment(loss=loss, delay=20 * MS, rate=RATE, limit=400, seed=1)
    network.join(sender, receiver, there, Impairment(delay=20 * MS))
    server = Server(receiver, 80)
    Exchange(sender, bytes(40_000_000)).connect(parse_address("10.0.0.2"), 80)
    network.run_for(SECOND)
    (served,) = server.exchanges
    before = len(served.received)
    network.run_for(2 * SECOND)
    assert (len(served.received) - before) * 8 / 2 > 0.8 * RATE
