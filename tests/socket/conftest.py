"""``world``: every test that takes it runs once on the kernel's sockets and once on ustack's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.socket.socket_world import KernelWorld, World


@pytest.fixture(params=["kernel", "ustack"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made = KernelWorld() if request.param == "kernel" else World()
    yield made
    made.close()


@pytest.fixture
def ustack_world() -> Iterator[World]:
    """For what the kernel has no equal of."""
    made = World()
    yield made
    made.close()


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[World, World]]:
    """The kernel and ustack, for whoever puts the same questions to both."""
    worlds = KernelWorld(), World()
    yield worlds
    for world in worlds:
        world.close()
