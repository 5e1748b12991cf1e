"""The examples of README.md run as they are written."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.kernel.kernel_world import PATIENCE_S, ROOT, V4, Namespace

EXAMPLES = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
ECHO = f"""
import socket, time
while True:
    try:
        door = socket.create_connection(("{V4}", 7), 10)
        break
    except OSError:  # the example is not up yet
        pass
door.sendall(b"hello")
print(door.recv(100))
"""


def test_there_are_six() -> None:
    """The last, a congestion control, is tried in tests/cli/test_cli_control.py and below."""
    assert len(EXAMPLES) == 6
    assert max(len(example.splitlines()) for example in EXAMPLES) < 25


def test_the_server(namespace: Namespace) -> None:
    server = namespace.start(sys.executable, "-c", EXAMPLES[0])
    assert namespace.run(sys.executable, "-c", ECHO) == "b'hello'\n"
    assert server.process.poll() is None


def test_the_server_in_asyncio(namespace: Namespace) -> None:
    server = namespace.start(sys.executable, "-c", EXAMPLES[3])
    assert namespace.run(sys.executable, "-c", ECHO) == "b'hello'\n"
    assert server.process.poll() is None


def test_the_client(namespace: Namespace, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("from the kernel's side")
    web = namespace.start(sys.executable, "-m", "http.server", "80", "--directory", str(tmp_path))
    web.until("Serving HTTP")
    assert "from the kernel's side" in namespace.run(sys.executable, "-c", EXAMPLES[1])


def test_two_stacks_in_one_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", EXAMPLES[2]],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        timeout=PATIENCE_S,
    )
    assert done.stdout == "hello\n\n"


def test_virtual_time() -> None:
    done = subprocess.run(
        [sys.executable, "-c", EXAMPLES[4]], capture_output=True, text=True, check=True, cwd=ROOT, timeout=PATIENCE_S
    )
    assert done.stdout == "b'hello\\n' after 11 seconds\n"
    assert not done.stderr


def test_a_congestion_control_of_ones_own(namespace: Namespace, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(EXAMPLES[5])
    (tmp_path / "large").write_bytes(bytes(3 << 20))
    web = namespace.start(sys.executable, "-m", "http.server", "80", "--directory", str(tmp_path))
    web.until("Serving HTTP")
    named = "import socket; print(socket.create_connection(('198.18.0.1', 80)).getsockopt(6, 13, 16))"
    words = ["--control", f"{tmp_path}/mine.py:ShortQueue", "-c", named]
    assert "shortqueue" in namespace.run(sys.executable, "-m", "ustack", "python", *words)
