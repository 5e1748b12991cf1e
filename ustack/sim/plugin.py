"""The pytest fixture ``simulate``: asyncio programs in virtual time (see :mod:`ustack.sim.aio`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest


@pytest.fixture
def simulate() -> Callable[..., Any]:
    """``simulate(main, seed=7)`` runs ``await main(net)`` in a network of its own, and returns what it returns. What it
    raises says the seed and the last packets."""
    from ustack.sim.aio import Net, run  # noqa: PLC0415 - pytest loads plugins for every project

    def simulated(main: Callable[[Net], Awaitable[Any]], *, seed: int = 0) -> Any:
        return run(main, seed=seed)

    return simulated
