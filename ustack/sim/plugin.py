"""The pytest fixture ``simulate``: asyncio programs in virtual time (see :mod:`ustack.sim.aio`)."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest


@pytest.fixture
def simulate() -> Callable[..., Any]:
    """``simulate(main, seed=7)`` runs ``await main(net)`` in a network of its own, and returns what it returns. What it
    raises says the seed and the last packets."""
    module = import_module("ustack.sim.aio")  # late: pytest loads its plugins for every project
    simulated: Callable[..., Any] = module.run
    return simulated
