"""Programs that know nothing of ustack, on ustack: real clients and servers at the kernel's side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernel.kernel_world import KERNEL4, V4, V6, Namespace, same

ASYNCIO = """
import asyncio, sys

async def answer(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nhello")
    await writer.drain()
    writer.close()

async def main():
    async with await asyncio.start_server(answer, sys.argv[1], 80) as server:
        await server.serve_forever()

asyncio.run(main())
"""


def answered(namespace: Namespace, host: str, target: str = "") -> None:
    """The server at ``host`` is up."""
    namespace.run("sh", "-c", f"until curl -s -m 2 -o /dev/null http://{host}/{target}; do sleep 0.1; done")


@pytest.mark.parametrize(("bind", "host"), [(V4, V4), (V6, f"[{V6}]")])
def test_the_standard_librarys_web_server(
    namespace: Namespace, tmp_path: Path, payload: Callable[[int], Path], bind: str, host: str
) -> None:
    data = payload(3_000_000)
    server = namespace.ustack("python", "-m", "http.server", "--bind", bind, "--directory", str(data.parent), "80")
    answered(namespace, host)
    namespace.run("curl", "-sf", "-o", str(tmp_path / "got"), f"http://{host}/{data.name}")
    assert same(data, tmp_path / "got")
    assert server.process.poll() is None


def test_an_asyncio_program(namespace: Namespace, tmp_path: Path) -> None:
    script = tmp_path / "hello.py"
    script.write_text(ASYNCIO)
    namespace.ustack("python", str(script), V4)
    answered(namespace, V4)
    assert namespace.run("curl", "-sf", f"http://{V4}/") == "hello"


def test_a_client_and_its_exit_status(namespace: Namespace, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("from the kernel's side")
    namespace.loopback()
    namespace.start("python3", "-m", "http.server", "80", "--directory", str(tmp_path))
    fetch = (
        "import sys, time, urllib.request\n"
        "while True:\n"
        "    try:\n"
        f"        print(urllib.request.urlopen('http://{KERNEL4}/').read().decode()); break\n"
        "    except OSError: time.sleep(0.1)\n"
        "sys.exit(7)\n"
    )
    client = namespace.ustack("python", "-c", fetch)
    client.until("from the kernel's side")
    assert client.wait() == 7
