"""CPython's own tests of its sockets, and of what stands upon them (``cpython_suite.py``, ``cpython_library.py``)."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.socket.cpython_library import MODULES

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("test") is None, reason="this Python ships no test suite")
def test_cpythons_test_socket() -> None:
    if importlib.util.find_spec("test.test_socket") is None:
        pytest.skip("this Python ships no test_socket")
    command = [sys.executable, "-m", "tests.socket.cpython_suite"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-5000:]


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_cpythons_servers_clients_and_event_loops(module: str) -> None:
    package, _, rest = f"test.{module}".rpartition(".")
    if importlib.util.find_spec("test") is None or importlib.util.find_spec(package) is None:
        pytest.skip("this Python ships no test suite")
    if importlib.util.find_spec(f"{package}.{rest}") is None:
        pytest.skip(f"this Python ships no {module}")
    command = [sys.executable, "-m", "tests.socket.cpython_library", module]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-5000:]
