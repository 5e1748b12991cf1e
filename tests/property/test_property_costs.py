"""A packet costs the same however much its sender has made us hold: counted in bytecodes, at rest and at the cap."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from tools.bench.subjects.hostile_work import ATTACKS

pytestmark = pytest.mark.interpreted  # bytecodes are counted; `make costs` counts instructions

STEPS = 20


def bytecodes(action: Callable[[int], None]) -> int:
    """How many are executed by STEPS calls."""
    count = 0

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        if event == "opcode":
            count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        for number in range(STEPS):
            action(number)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("attack", sorted(ATTACKS))
def test_no_packet_costs_more_than_twice_as_much_at_the_cap(attack: str) -> None:
    at_rest = bytecodes(ATTACKS[attack](8, STEPS))
    at_the_cap = bytecodes(ATTACKS[attack](1000, STEPS))
    assert at_the_cap <= 2 * at_rest
