"""What several folders of tests import and what asserts there: pytest is to explain it, whoever imports it first."""

from __future__ import annotations

from pathlib import Path

import pytest

ONCE = (
    "bench",
    "cli",
    "explain",
    "plot",
    "sweep",
    "lab",
    "socket/test_socket_cpython.py",
    "test_floors.py",
    "test_walls.py",
)
"""Tests of what is interpreted in both forms, and the longest ones of the standard library: run once by make test."""
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what stands in ONCE."""
    for item in items:
        place = item.path.relative_to(HERE).as_posix() if item.path.is_relative_to(HERE) else ""
        if place in ONCE or place.partition("/")[0] in ONCE:
            item.add_marker(pytest.mark.once)


pytest.register_assert_rewrite("tests.scenarios.two_hosts", "tests.tcp.notation", "tests.tcp.peer", "tests.tcp.world")
