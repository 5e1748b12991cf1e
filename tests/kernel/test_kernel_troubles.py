"""What is wrong is said in one sentence, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel.kernel_world import PATIENCE_S, ROOT, V4, Namespace, Program

USTACK = (sys.executable, "-m", "ustack.cli")


def test_a_busy_device(namespace: Namespace, site: Path) -> None:
    namespace.serve(site)
    said = namespace.run(*USTACK, "serve", str(site), "--address", "10.255.1.2/24", status=1)
    assert said.startswith("ustack: the device ustack0 is in use by another program. Choose another name")
    assert said.count("\n") == 1


def test_a_busy_address(namespace: Namespace, site: Path) -> None:
    namespace.serve(site)
    said = namespace.run(*USTACK, "serve", str(site), "--tun", "other0", "--address", "198.18.0.3/24", status=1)
    assert said.startswith("ustack: this machine is in the subnet of 198.18.0.3/24 already, as 198.18.0.1")
    assert said.count("\n") == 1


def test_a_name_of_another_kind(namespace: Namespace, site: Path) -> None:
    said = namespace.run(*USTACK, "serve", str(site), "--tun", "lo", status=1)
    assert said.startswith("ustack: lo is no name for a TUN device")
    assert said.count("\n") == 1


def test_a_capture_that_cannot_be_written(namespace: Namespace, site: Path) -> None:
    said = namespace.run(*USTACK, "serve", str(site), "--pcap", "/nonexistent/a.pcap", status=2)
    assert said == "ustack: /nonexistent/a.pcap: No such file or directory.\n"


def test_missing_rights(site: Path) -> None:
    """In a user namespace without rights over the network, whoever starts the tests."""
    mapped = ["unshare", "-U", f"--map-user={os.getuid() or 1000}", f"--map-group={os.getgid() or 1000}"]
    if subprocess.run([*mapped, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no right to make a user namespace")
    done = subprocess.run(
        [*mapped, *USTACK, "serve", str(site), "--tun", "ustack9", "--address", "10.255.1.2/24"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("ustack: making the device ustack9 needs root's rights over this network namespace.")
    assert "unshare -Urn" in done.stderr
    assert done.stderr.count("\n") == 1


def test_two_on_one_machine(namespace: Namespace, site: Path) -> None:
    namespace.serve(site)
    namespace.serve(site, "--tun", "other0", "--address", "10.255.1.2/24")
    for address in (V4, "10.255.1.2"):
        assert namespace.run("curl", "-sS", f"http://{address}/small.txt") == "hello over ustack\n"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_the_device_is_gone(namespace: Namespace, site: Path, how: signal.Signals) -> None:
    server: Program = namespace.serve(site)
    assert "ustack0" in namespace.run("cat", "/proc/net/dev")
    assert server.end(how) == 0
    assert "ustack0" not in namespace.run("cat", "/proc/net/dev")
    namespace.serve(site)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_client_that_waits_can_be_ended(namespace: Namespace, how: signal.Signals) -> None:
    listener = namespace.start(
        sys.executable, "-c",
        "import socket, sys; door = socket.create_server(('', 80)); print('ready', flush=True); "
        "door.accept(); print('accepted', flush=True); sys.stdin.read()",
    )  # fmt: skip
    listener.until("ready")
    client = namespace.ustack("get", "http://198.18.0.1/")
    listener.until("accepted")
    assert client.end(how) == 128 + how
    assert "Traceback" not in client.output()
