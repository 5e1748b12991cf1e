"""What ustack sends, judged by Wireshark's expert system."""

from __future__ import annotations

from collections.abc import Callable
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
CHECKS = ("tcp.check_checksum:TRUE", "ip.check_checksum:TRUE", "udp.check_checksum:TRUE")


def faults(namespace: Namespace, capture: Path) -> str:
    options = [word for check in CHECKS for word in ("-o", check)]
    said = namespace.run("sh", "-c", 'f=$1; shift; tshark -n -r "$f" "$@" 2>/dev/null | head -20', "sh",
                         str(capture), *options, "-Y", FAULTS)  # fmt: skip
    return said


@pytest.mark.parametrize("address", [V4, V6])
def test_a_clean_transfer_each_way_is_clean_to_tshark(
    namespace: Namespace, site: Path, tmp_path: Path, payload: Callable[[int], Path], address: str
) -> None:
    data = payload(SIZE)
    (site / "file.bin").hardlink_to(data)
    capture = tmp_path / "clean.pcap"
    server = namespace.serve(site, "--pcap", str(capture))
    base = f"http://[{address}]" if ":" in address else f"http://{address}"
    namespace.run("curl", "-sS", "-o", str(tmp_path / "down"), f"{base}/file.bin")
    namespace.run("curl", "-sS", "-T", str(data), f"{base}/up.bin")
    wait_until_closed(server)
    assert server.end() == 0
    assert same(data, tmp_path / "down")
    assert same(data, site / "up.bin")
    assert capture.stat().st_size > 2 * SIZE
    assert faults(namespace, capture) == ""
