"""``make_hosts``: a client and a server in virtual time, whose sockets are closed when the test is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.scenarios.two_hosts import TwoHosts
from ustack.settings import Settings

MakeHosts = Callable[..., TwoHosts]


@pytest.fixture
def make_hosts() -> Iterator[MakeHosts]:
    """``make_hosts("delay=20ms", client={"tcp_timestamps": 0}, server={...})``."""
    made: list[TwoHosts] = []

    def make(
        impairment: str = "", client: dict[str, int] | None = None, server: dict[str, int] | None = None
    ) -> TwoHosts:
        ends = [Settings().replace(**(knobs or {})) for knobs in (client, server)]
        made.append(TwoHosts(impairment, *ends))
        return made[-1]

    yield make
    for hosts in made:
        hosts.close()


@pytest.fixture
def hosts(make_hosts: MakeHosts) -> TwoHosts:
    """A link of 20 ms, Linux's defaults."""
    return make_hosts("delay=20ms")
