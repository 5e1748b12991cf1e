"""A device that takes nothing for a while: what waits on this host is not lost, and not resent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.socket.socket_world import World, make_host
from ustack.device.base import WrappedDevice
from ustack.native.rings import NativeRings
from ustack.settings import Settings


class Gate(WrappedDevice):
    """A device that is full while it is shut."""

    is_shut = False
    loses = False

    def write_packets(self, packets: Sequence[bytes], now: int) -> int:
        if self.loses:
            return len(packets)
        return 0 if self.is_shut else super().write_packets(packets, now)


@pytest.fixture
def gated() -> Any:
    """A world whose client sits behind a Gate."""
    world = World()
    gate = Gate(world.pair.right)
    world.network.loops.clear()
    world.server = make_host(world.network, world.pair.left, ["10.0.0.1", "fd00::1"], Settings(), 1, NativeRings())
    world.client = make_host(world.network, gate, ["10.0.0.2", "fd00::2"], Settings(), 2, NativeRings())
    yield world, gate
    world.close()


def counters(world: World) -> dict[str, int]:
    return world.client.stack.counters.as_dict()


def test_no_resend_while_the_first_copy_waits_here(gated: tuple[World, Gate]) -> None:
    world, gate = gated
    client, server = world.pair_of_streams()
    gate.is_shut = True
    client.send(b"x" * 1000)
    world.network.pass_time(30)
    info = client._core.connection.info(world.network.time)
    assert (info.tcpi_total_retrans, info.tcpi_ca_state, info.tcpi_backoff) == (0, 0, 0)
    gate.is_shut = False
    world.network.pass_time(1)
    assert server.recv(2000) == b"x" * 1000
    assert counters(world).get("TcpRetransSegs", 0) == 0
    assert counters(world).get("TCPTimeouts", 0) == 0


def test_once_the_device_takes_packets_again_losses_are_repaired(gated: tuple[World, Gate]) -> None:
    world, gate = gated
    client, server = world.pair_of_streams()
    gate.is_shut = True
    client.send(b"x" * 1000)
    world.network.pass_time(2)
    gate.is_shut, gate.loses = False, True
    world.network.pass_time(0.1)
    gate.loses = False
    assert counters(world).get("TcpRetransSegs", 0) == 0
    world.network.pass_time(2)
    assert server.recv(2000) == b"x" * 1000
    assert counters(world)["TcpRetransSegs"] >= 1


def test_the_user_timeout_goes_on(gated: tuple[World, Gate]) -> None:
    world, gate = gated
    client, _ = world.pair_of_streams()
    client.setsockopt(6, 18, 5000)
    gate.is_shut = True
    client.send(b"x")
    world.network.pass_time(6)
    with pytest.raises(TimeoutError):
        client.send(b"y")
