"""CPython's own tests of its sockets, on ustack's (see ``cpython_suite.py``)."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("test") is None, reason="this Python ships no test suite")
def test_cpythons_test_socket() -> None:
    if importlib.util.find_spec("test.test_socket") is None:
        pytest.skip("this Python ships no test_socket")
    command = [sys.executable, "-m", "tests.socket.cpython_suite"]
    root = Path(__file__).resolve().parent.parent.parent
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-5000:]
