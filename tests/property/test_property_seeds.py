"""A few hundred seeds of each fuzzer of ``tools/fuzz``; more by ``python -m tools.fuzz --seconds 600``."""

from __future__ import annotations

import pytest

from tools.fuzz import choice, honest, wires
from tools.fuzz.churn import churn

BLOCK = 20
"""Seeds of one test: a failure names the first that failed."""


@pytest.mark.native
@pytest.mark.parametrize("block", range(15))
def test_hostile_peers(block: int) -> None:
    for seed in range(block * BLOCK, (block + 1) * BLOCK):
        _, _, error = choice.run_case(seed)
        if error is not None:
            raise AssertionError(f"python -m tools.fuzz --only hostile --cases 1 --steps 120 --seed {seed}") from error


@pytest.mark.native
@pytest.mark.parametrize("block", range(15))
def test_honest_peers(block: int) -> None:
    for seed in range(block * BLOCK, (block + 1) * BLOCK):
        error = honest.run_case(seed)
        if error is not None:
            raise AssertionError(f"python -m tools.fuzz --only honest --cases 1 --seed {seed}") from error


@pytest.mark.native
@pytest.mark.parametrize("block", range(5))
def test_the_c_core_and_its_twins(block: int) -> None:
    for seed in range(block * 5 * BLOCK, (block + 1) * 5 * BLOCK):
        error = wires.run_case(seed)
        if error is not None:
            raise AssertionError(f"python -m tools.fuzz --only wires --cases 1 --seed {seed}") from error


def test_connections_give_everything_back() -> None:
    before, after = churn(60)  # 3000 connections, each at both ends
    assert after <= before + 100


@pytest.mark.slow
def test_twenty_thousand_connections_give_everything_back() -> None:
    before, after = churn(400)
    assert after <= before + 100
