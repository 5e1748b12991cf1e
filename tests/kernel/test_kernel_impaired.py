"""A real curl over a link that loses, repeats, reorders, delays and corrupts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernel.kernel_world import FULL, V4, V6, Namespace, needs, same

pytestmark = needs("curl")
SEEDS = range(1, 21 if FULL else 5)
SIZE = 3_000_000
WORDS = "loss=3%,duplicate=1%,reorder=1%,corrupt=1%,delay=5ms"


@pytest.mark.parametrize("seed", SEEDS)
def test_every_byte_arrives(
    namespace: Namespace, site: Path, tmp_path: Path, payload: Callable[[int], Path], seed: int
) -> None:
    data = payload(SIZE)
    (site / "file.bin").hardlink_to(data)
    server = namespace.serve(site, "--impair", f"{WORDS},seed={seed}")
    base = f"http://{V4}" if seed % 2 else f"http://[{V6}]"
    namespace.run("curl", "-sS", "--max-time", "60", "-o", str(tmp_path / "down"), f"{base}/file.bin")
    assert same(data, tmp_path / "down")
    namespace.run("curl", "-sS", "--max-time", "60", "-T", str(data), f"{base}/up.bin")
    assert same(data, site / "up.bin")
    assert server.end() == 0
