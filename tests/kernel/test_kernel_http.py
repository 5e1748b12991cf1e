"""A real curl and the HTTP server on ustack."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernel.kernel_world import FULL, V4, V6, Namespace, needs, same, wait_until_closed

pytestmark = needs("curl")
LARGE = 1 << 30 if FULL else 64 << 20
Payload = Callable[[int], Path]


def url(address: str, name: str = "") -> str:
    return f"http://[{address}]/{name}" if ":" in address else f"http://{address}/{name}"


@pytest.mark.parametrize("address", [V4, V6])
def test_a_small_page(namespace: Namespace, site: Path, address: str) -> None:
    server = namespace.serve(site)
    assert namespace.run("curl", "-sS", url(address, "small.txt")) == "hello over ustack\n"
    assert "small.txt" in namespace.run("curl", "-sS", url(address))
    assert '"GET /small.txt HTTP/1.1" 200 18 bytes' in server.until("small.txt")


@pytest.mark.parametrize("address", [V4, V6])
def test_a_large_file_down_and_up(
    namespace: Namespace, site: Path, tmp_path: Path, payload: Payload, address: str
) -> None:
    data = payload(LARGE)
    (site / "large.bin").hardlink_to(data)
    namespace.serve(site)
    namespace.run("curl", "-sS", "-o", str(tmp_path / "down"), url(address, "large.bin"))
    assert same(data, tmp_path / "down")
    status = namespace.run("curl", "-sS", "-T", str(data), "-w", "%{http_code}", url(address, "up/up.bin"))
    assert status == "201"
    assert same(data, site / "up" / "up.bin")


def test_an_upload_of_unknown_length(namespace: Namespace, site: Path, payload: Payload) -> None:
    data = payload(3_000_000)
    namespace.serve(site)
    namespace.run("sh", "-c", f"cat {data} | curl -sS -T - {url(V4, 'chunked.bin')}")
    assert same(data, site / "chunked.bin")


def test_ranges(namespace: Namespace, site: Path, payload: Payload) -> None:
    data = payload(3_000_000)
    (site / "file.bin").hardlink_to(data)
    namespace.serve(site)
    whole = data.read_bytes()
    for range_, start, end in (("0-0", 0, 1), ("1000000-1999999", 1_000_000, 2_000_000), ("-5", -5, None)):
        got = site / "part"
        code = namespace.run("curl", "-sS", "-r", range_, "-o", str(got), "-w", "%{http_code}", url(V4, "file.bin"))
        assert code == "206"
        assert got.read_bytes() == whole[start:end]
    code = namespace.run("curl", "-sS", "-r", "3000000-", "-o", "/dev/null", "-w", "%{http_code}", url(V4, "file.bin"))
    assert code == "416"
    (site / "resumed").write_bytes(whole[:1_234_567])
    namespace.run("curl", "-sS", "-C", "-", "-o", str(site / "resumed"), url(V4, "file.bin"))
    assert same(data, site / "resumed")


def test_two_hundred_curls_at_once(namespace: Namespace, site: Path, tmp_path: Path, payload: Payload) -> None:
    data = payload(100_000)
    (site / "file.bin").hardlink_to(data)
    namespace.serve(site, "--quiet")
    (tmp_path / "got").mkdir()
    namespace.run(
        "sh",
        "-c",
        f"for n in $(seq 200); do curl -sS --max-time 60 -o {tmp_path}/got/$n {url(V4, 'file.bin')} & done; wait",
    )
    got = list((tmp_path / "got").iterdir())
    assert len(got) == 200
    assert {path.read_bytes() for path in got} == {data.read_bytes()}


def test_a_thousand_requests_on_one_connection(namespace: Namespace, site: Path) -> None:
    namespace.serve(site, "--quiet")
    app = str(Path(__file__).parent / "apps" / "kernel_keepalive.py")
    assert namespace.run(sys.executable, app, V4, "1000") == "1000 right, one connection\n"


def test_curl_keeps_its_connection(namespace: Namespace, site: Path) -> None:
    namespace.serve(site)
    said = namespace.run("curl", "-sSv", *[url(V4, "small.txt")] * 20)
    assert said.count("Re-using existing connection") == 19
    assert said.count("hello over ustack") == 20


def test_aborted_downloads_leave_nothing_behind(namespace: Namespace, site: Path, payload: Payload) -> None:
    (site / "file.bin").hardlink_to(payload(LARGE))
    server = namespace.serve(site)
    for _ in range(10):
        namespace.run(
            "sh", "-c", f"curl -sS --limit-rate 2M {url(V4, 'file.bin')} | head -c 100000 >/dev/null", status=None
        )
        server.until("the client went away")
    wait_until_closed(server)


def test_an_aborted_upload_stores_nothing(namespace: Namespace, site: Path) -> None:
    server = namespace.serve(site)
    namespace.run(
        "curl", "-sS", "--max-time", "1", "--limit-rate", "100k", "-T", "/dev/zero", url(V4, "never"), status=28
    )
    server.until("PUT /never")
    assert [path.name for path in site.iterdir()] == ["small.txt"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly_in_the_middle_of_a_transfer(
    namespace: Namespace, site: Path, payload: Payload, how: signal.Signals
) -> None:
    (site / "file.bin").hardlink_to(payload(LARGE))
    server = namespace.serve(site)
    curl = namespace.start("curl", "-sSv", "--limit-rate", "1M", "-o", "/dev/null", url(V4, "file.bin"))
    curl.until("200 OK")
    assert server.end(how) == 0
    assert "ended after" in server.output()
    assert "Traceback" not in server.output()
    assert curl.wait() != 0
