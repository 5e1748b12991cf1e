"""ping, ncat, nmap and plain kernel sockets against ustack."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.kernel.kernel_world import FULL, V4, V6, Namespace, needs

APPS = Path(__file__).parent / "apps"


@needs("ping")
@pytest.mark.parametrize("address", [V4, V6])
@pytest.mark.parametrize("size", [0, 56, 1472, 20000, 60000])
def test_the_kernel_pings_ustack(namespace: Namespace, address: str, size: int) -> None:
    namespace.app("idle")
    said = namespace.run("ping", "-c", "3", "-i", "0.01", "-W", "5", "-s", str(size), address)
    assert "3 packets transmitted, 3 received" in said
    assert "wrong" not in said


@needs("ncat")
def test_the_client_closes_its_half_first(namespace: Namespace) -> None:
    app = namespace.app("closer", "last")
    said = namespace.run("ncat", V4, "9000", text="x" * 100_000)
    assert said == "you sent 100000 bytes\n"
    assert app.wait() == 0
    assert "read 100000" in app.output()


@needs("ncat")
def test_the_server_closes_its_half_first(namespace: Namespace, tmp_path: Path) -> None:
    app = namespace.app("closer", "first")
    (tmp_path / "data").write_bytes(b"y" * 100_000)
    # ncat sends its file only once it has seen the whole of the server's half.
    said = namespace.run("sh", "-c", f"mkfifo {tmp_path}/f; (read line < {tmp_path}/f; cat {tmp_path}/data) | "
                         f"ncat {V4} 9000 | tee {tmp_path}/f")  # fmt: skip
    assert "all that I have" in said
    assert app.wait() == 0
    assert "read 100000" in app.output()


@pytest.mark.parametrize("address", [V4, V6])
def test_an_echo_that_is_written_and_read_at_the_same_time(namespace: Namespace, address: str) -> None:
    namespace.app("echo")
    size = 64 << 20 if FULL or address == V4 else 8 << 20
    assert namespace.run(sys.executable, str(APPS / "kernel_echo.py"), address, str(size)) == "equal\n"


def test_a_datagram_to_a_closed_port_is_answered_with_port_unreachable(namespace: Namespace) -> None:
    namespace.app("udp")
    said = namespace.run(sys.executable, str(APPS / "kernel_udp.py"), V4, "1", "1472", "20000", "65507")
    assert said == "refused\n1 right\n1472 right\n20000 right\n65507 right\n"
    assert namespace.run(sys.executable, str(APPS / "kernel_udp.py"), V6) == "refused\n"


@needs("nmap")
@pytest.mark.parametrize("address", [V4, V6])
def test_nmap_sees_open_and_closed_ports(namespace: Namespace, address: str) -> None:
    namespace.loopback()
    namespace.app("idle")
    kind = ["-6"] if ":" in address else []
    said = namespace.run("nmap", *kind, "-n", "-Pn", "-sS", "-p", "22,80,443,8080", address)
    found = dict(re.findall(r"^(\d+)/tcp +(\w+)", said, re.MULTILINE))
    assert found == {"22": "closed", "80": "open", "443": "open", "8080": "closed"}, said
