"""``make demo``: a real curl fetches and stores files at an HTTP server whose TCP, IP and ICMP are ustack.

It makes a network namespace of its own (and a user namespace when not run by root), so nothing of the
machine's network is touched, and cleans up behind itself. Run with the interpreter that ustack is installed for.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

INSIDE = "USTACK_DEMO_INSIDE"
SIZE_MIB = int(os.environ.get("USTACK_DEMO_MIB", "256"))
V4, V6 = "198.18.0.2", "fd00::2"
CURL = "curl --silent --show-error --noproxy '*'"
PAGE = """<!DOCTYPE html>
<html lang="en"><head><title>ustack</title></head>
<body><p>This page came through a TCP that is a Python program.</p></body></html>
"""
console = Console(highlight=False, soft_wrap=True)


class DemoFailed(Exception):  # noqa: N818
    """A step went wrong: the sentence says which."""


def enter_namespace() -> None:
    """Starts this program again in a network namespace of its own."""
    flags = ["-n"] if os.geteuid() == 0 else ["-Urn"]
    os.environ[INSIDE] = "root" if os.geteuid() == 0 else "user"
    os.execvp("unshare", ["unshare", *flags, sys.executable, str(Path(__file__).resolve())])


def heading(text: str) -> None:
    """A step of the demo."""
    console.print(f"\n[bold]{text}[/bold]")


def command(text: str) -> None:
    """What a person would type."""
    console.print(f"  $ {text}", style="cyan", markup=False)


def run(text: str) -> str:
    """Shows and runs a shell command; its output is returned. Raises DemoFailed."""
    command(text.replace(" --silent --show-error --noproxy '*'", ""))
    done = subprocess.run(text, shell=True, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DemoFailed(f"it ended with status {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class Server:
    """``ustack serve`` as a child; what it writes is kept until ``show``."""

    def __init__(self, site: Path, *options: str) -> None:
        words = ["serve", str(site), *options]
        command("ustack " + " ".join(words))
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "ustack.cli", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("Ctrl-C ends it"):
                break
        else:
            raise DemoFailed("the server did not start")
        self.has_closed = threading.Event()
        """The passive end of a watched connection has reached CLOSED."""
        self._lines: deque[str] = deque()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line.rstrip())
            if line.endswith("▶ CLOSED\n"):
                self.has_closed.set()

    def show(self) -> None:
        """Prints what it has written since the last time."""
        while self._lines:
            line = self._lines.popleft()
            if line:
                console.print(f"  server: {line}" if line[:1].isdigit() else line, markup=False)

    def end(self) -> None:
        """SIGTERM; the last lines are shown."""
        self.process.terminate()
        self._reader.join(30)
        self.show()
        if self.process.wait(30) != 0:
            raise DemoFailed(f"the server ended with status {self.process.returncode}")


@contextlib.contextmanager
def serving(site: Path, *options: str) -> Iterator[Server]:
    """A server that ends with the block."""
    server = Server(site, *options)
    try:
        yield server
    finally:
        server.end()


def hash_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def compare(name: str, there: Path, here: Path) -> None:
    """Shows both hashes. Raises DemoFailed when they differ."""
    one, other = hash_of(there), hash_of(here)
    console.print(f"  sha256 {name + ', as sent:':<24} {one}")
    console.print(
        f"  sha256 {name + ', as received:':<24} {other}  " + ("[green]equal[/green]" if one == other else "")
    )
    if one != other:
        raise DemoFailed("the hashes differ")


def rate(bytes_per_second: str) -> str:
    """curl's figure as bits per second."""
    return f"{float(bytes_per_second) * 8 / 1e9:.2f} Gbit/s"


def small_page(site: Path) -> None:
    """One page, and the ladder of its connection."""
    heading("1. A small page, every segment watched")
    with serving(site, "--ladder") as server:
        page = run(f"{CURL} http://{V4}/")
        console.print("\n".join("  " + line for line in page.splitlines()), markup=False)
        console.print("  Its connection, with the states of both ends (on the left the kernel, for curl):")
        server.has_closed.wait(10)
        server.show()
    if page != PAGE:
        raise DemoFailed("the page is not what was served")


def large_files(site: Path, folder: Path) -> None:
    """Large files both ways, by both IP versions."""
    heading(f"2. {SIZE_MIB} MiB down and up, by IPv4 and IPv6, at full speed")
    large = site / "large.bin"
    with large.open("wb") as file:
        for _ in range(SIZE_MIB):
            file.write(os.urandom(1 << 20))
    with serving(site) as server:
        for name, base in (("IPv4", f"http://{V4}"), ("IPv6", f"http://[{V6}]")):
            got = folder / "large.bin"
            speed = run(f"{CURL} -o {got} -w '%{{speed_download}}' {base}/large.bin")
            server.show()
            console.print(f"  {name} download: [bold]{rate(speed)}[/bold]")
            compare("download", large, got)
            speed = run(f"{CURL} -T {got} -w '%{{speed_upload}}' {base}/uploaded.bin")
            server.show()
            console.print(f"  {name} upload: [bold]{rate(speed)}[/bold]")
            compare("upload", got, site / "uploaded.bin")
            got.unlink()
            (site / "uploaded.bin").unlink()


def what_next() -> None:
    """What a person may try after the demo."""
    heading("That was TCP in user space. What to try next")
    inside = "sudo unshare -n" if os.environ[INSIDE] == "root" else "unshare -Urn"
    program = Path(sys.executable).parent / "ustack"
    name = str(program) if program.exists() else "ustack"
    with contextlib.suppress(ValueError):
        name = str(program.relative_to(Path.cwd()))
    for text, meaning in (
        (f"{inside} bash", "a network of your own; in it:"),
        (f"  {name} serve . &", "serve this folder"),
        (f"  curl http://{V4}/", "list it"),
        (f"  curl -T README.md http://{V4}/copy.md", "store a file"),
        (f"  {name} serve . --impair loss=3%,delay=20ms --ladder", "watch it recover from a bad link"),
        (f"  {name} serve . --pcap all.pcap", "for Wireshark, and for: ustack ladder all.pcap"),
        (f"  {name} ping 198.18.0.1", "ustack asks, the kernel answers"),
        (f"{name} --help", "the rest"),
    ):
        console.print(f"  {text:<64} # {meaning}", markup=False)


def roomy() -> str | None:
    """Memory for the files where there is enough of it, so that the rates are the network's and not a disk's."""
    try:
        free = shutil.disk_usage("/dev/shm").free
    except OSError:
        return None
    return "/dev/shm" if free > 5 * SIZE_MIB << 20 and os.access("/dev/shm", os.W_OK) else None


def main() -> int:
    """The whole demo; 0 when every hash was right."""
    if INSIDE not in os.environ:
        enter_namespace()
    folder = Path(tempfile.mkdtemp(prefix="ustack-demo-", dir=roomy()))
    site = folder / "site"
    site.mkdir()
    (site / "index.html").write_text(PAGE)
    try:
        small_page(site)
        large_files(site, folder)
        what_next()
    except DemoFailed as failed:
        console.print(f"\n[red]The demo failed:[/red] {failed}")
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
