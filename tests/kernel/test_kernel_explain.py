"""Captures of the kernel over TUN: where nothing is wrong nothing is found, and what was done on purpose is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernel.kernel_world import V4, V6, Namespace, needs, wait_until_closed
from ustack.cli.command import main

pytestmark = needs("curl")
SIZE = 2 << 20
LOSSES = {"resend: fast", "resend: tail", "resend: timer", "resend: timer or probe", "resend: after timer",
          "resend: lost before", "hole filled", "resend: unknown", "spurious resend"}  # fmt: skip


def explained(capture: Path, capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """The kinds of the faults of each connection."""
    capsys.readouterr()
    assert main(["explain", str(capture), "--json"]) == 0
    flows = json.loads(capsys.readouterr().out)["connections"]
    return [[one["kind"] for one in flow["findings"] if one["weight"] == "fault"] for flow in flows]


@pytest.mark.parametrize("address", [V4, V6])
def test_clean_transfers_and_a_port_where_nobody_listens(
    namespace: Namespace, site: Path, tmp_path: Path, payload: Callable[[int], Path], address: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    shutil.copy(payload(SIZE), site / "file.bin")
    capture = tmp_path / "clean.pcap"
    server = namespace.serve(site, "--pcap", str(capture))
    base = f"http://[{address}]" if ":" in address else f"http://{address}"
    namespace.run("curl", "-sS", "-o", str(tmp_path / "down"), f"{base}/file.bin")
    namespace.run("curl", "-sS", "-T", str(site / "file.bin"), f"{base}/up.bin")
    namespace.run("curl", "-s", f"{base}:99/", status=7)
    wait_until_closed(server)
    server.end()
    assert explained(capture, capsys) == [[], [], ["RST: refused"]]


def test_losses_are_losses_and_nothing_else(
    namespace: Namespace, site: Path, tmp_path: Path, payload: Callable[[int], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(payload(SIZE), site / "file.bin")
    capture = tmp_path / "lossy.pcap"
    server = namespace.serve(site, "--pcap", str(capture), "--impair", "loss=2%,delay=5ms,seed=4")
    namespace.run("curl", "-sS", "-o", str(tmp_path / "down"), f"http://{V4}/file.bin")
    wait_until_closed(server)
    server.end()
    (found,) = explained(capture, capsys)
    assert set(found) & {"resend: fast", "resend: tail"}
    assert set(found) <= LOSSES
