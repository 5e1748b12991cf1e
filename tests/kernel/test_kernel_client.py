"""ustack as the client: of nginx, of closed ports, of nobody."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernel.kernel_world import FULL, KERNEL4, KERNEL6, Namespace, Program, needs, same

LARGE = 1 << 30 if FULL else 64 << 20

NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; sendfile on;
  client_body_temp_path {folder}/t; proxy_temp_path {folder}/t; fastcgi_temp_path {folder}/t;
  uwsgi_temp_path {folder}/t; scgi_temp_path {folder}/t;
  server {{ listen 80; listen [::]:80; root {folder}/root; }}
}}
"""


def nginx(namespace: Namespace, folder: Path) -> Program:
    """nginx on the kernel's side, answering."""
    (folder / "root").mkdir()
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder))
    namespace.loopback()
    program = namespace.start(
        "sh",
        "-c",
        f"nginx -p {folder} -c {folder}/nginx.conf & child=$!; trap 'kill $child' TERM; "
        "until curl -s -o /dev/null http://127.0.0.1/; do kill -0 $child || exit 1; done; echo ready; "
        "wait $child; wait $child",
    )
    program.until("ready")
    return program


@needs("nginx")
@pytest.mark.parametrize("host", [KERNEL4, f"[{KERNEL6}]"])
def test_fetching_from_nginx(namespace: Namespace, tmp_path: Path, payload: Callable[[int], Path], host: str) -> None:
    data = payload(LARGE)
    nginx(namespace, tmp_path)
    (tmp_path / "root" / "file.bin").hardlink_to(data)
    said = namespace.run(
        sys.executable, "-m", "ustack.cli", "get", f"http://{host}/file.bin", "-o", str(tmp_path / "got")
    )
    assert same(data, tmp_path / "got")
    assert "bit/s" in said
    missing = namespace.run(sys.executable, "-m", "ustack.cli", "get", f"http://{host}/missing", status=1)
    assert "404 Not Found" in missing


def test_a_closed_port_refuses_at_once(namespace: Namespace) -> None:
    app = namespace.app("connect", KERNEL4, "81")
    assert app.wait() == 0
    assert app.output().endswith("ConnectionRefused ECONNREFUSED\nat once") or app.output().endswith(
        "ConnectionRefusedError ECONNREFUSED\nat once"
    )


def test_get_says_what_to_do_about_a_closed_port(namespace: Namespace) -> None:
    said = namespace.run(sys.executable, "-m", "ustack.cli", "get", f"http://{KERNEL4}/", status=1)
    assert "refused the connection: nothing listens there" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("address", [KERNEL4, KERNEL6])
def test_ustack_pings_the_kernel(namespace: Namespace, address: str) -> None:
    said = namespace.run(sys.executable, "-m", "ustack.cli", "ping", "-c", "3", "-i", "0.01", address)
    assert "3 sent, 3 received, 0% lost" in said
    said = namespace.run(sys.executable, "-m", "ustack.cli", "ping", "-c", "2", "-i", "0.01", "-s", "20000", address)
    assert "20008 bytes from" in said
    assert "2 sent, 2 received, 0% lost" in said
