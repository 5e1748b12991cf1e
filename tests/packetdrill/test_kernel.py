"""The scripts of tests/rfc live on this machine's Linux: the reference must pass what we say it does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from table import directives

from ustack.packetdrill.report import explain
from ustack.packetdrill.runner import Verdict, run_live

RFC = Path(__file__).resolve().parent.parent / "rfc"
SCRIPTS = sorted(path for path in RFC.rglob("*.pkt") if not directives(path).get("kernel"))

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.tun,
    pytest.mark.skipif(
        not os.access("/dev/net/tun", os.W_OK) or os.geteuid() != 0, reason="needs root and a TUN device"
    ),
]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_linux_passes(path):
    result = run_live(str(path))
    if result.verdict is Verdict.FAIL:  # real time on a busy machine: one more chance
        result = run_live(str(path))
    assert result.verdict is Verdict.PASS, explain(result)
