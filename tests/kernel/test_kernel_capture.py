"""What ustack sends, judged by Wireshark's expert system."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kernel.kernel_world import FULL, V4, V6, Namespace, needs, same, wait_until_closed

pytestmark = [needs("curl"), needs("tshark")]
SIZE = 100 << 20 if FULL else 20 << 20

# Linux writes 0xffff for a TCP checksum of 0 (skb_checksum_help), and tshark warns of it: not ustack's doing.
FAULTS = (
    "!(ip.src == 198.18.0.1 && tcp.checksum == 0xffff) && !(ipv6.src == fd00::1 && tcp.checksum == 0xffff) && ("
    "tcp.analysis.retransmission || tcp.analysis.duplicate_ack || tcp.analysis.zero_window || "
    "tcp.analysis.lost_segment || tcp.analysis.out_of_order || tcp.analysis.ack_lost_segment || "
    "tcp.checksum.status == 0 || ip.checksum.status == 0 || _ws.expert.severity >= 0x600000)"
)
OPTIONS = (
    "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE",
    # What HTTP carries is not the question, and putting it together takes tshark minutes.
    "-o", "tcp.desegment_tcp_streams:FALSE", "-d", "tcp.port==80,data",
)  # fmt: skip


def faults(namespace: Namespace, capture: Path) -> str:
    """The first frames with something that tshark minds."""
    command = 'f=$1; shift; tshark -n -r "$f" "$@" 2>/dev/null | head -20'
    return namespace.run("sh", "-c", command, "sh", str(capture), *OPTIONS, "-Y", FAULTS)


@pytest.fixture
def fast_site(site: Path) -> Iterator[Path]:
    """A folder in memory: a disk slower than the stack would fill the window, and tshark warns of that too."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK) or shutil.disk_usage(memory).free < 4 * SIZE:
        yield site
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.mark.parametrize("address", [V4, V6])
def test_a_clean_transfer_each_way_is_clean_to_tshark(
    namespace: Namespace, fast_site: Path, tmp_path: Path, payload: Callable[[int], Path], address: str
) -> None:
    data = payload(SIZE)
    shutil.copy(data, fast_site / "file.bin")
    capture = tmp_path / "clean.pcap"
    server = namespace.serve(fast_site, "--pcap", str(capture))
    base = f"http://[{address}]" if ":" in address else f"http://{address}"
    namespace.run("curl", "-sS", "-o", str(tmp_path / "down"), f"{base}/file.bin")
    namespace.run("curl", "-sS", "-T", str(data), f"{base}/up.bin")
    wait_until_closed(server)
    assert server.end() == 0
    assert same(data, tmp_path / "down")
    assert same(data, fast_site / "up.bin")
    assert capture.stat().st_size > 2 * SIZE
    assert faults(namespace, capture) == ""
