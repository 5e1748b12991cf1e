"""Namespaces of their own, and programs that talk to each other in them."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FULL = os.environ.get("USTACK_FULL", "") not in ("", "0")
PATIENCE_S = 600 if FULL else 120
"""So long a program may take before the test calls it hung."""
FLAGS = ["-n"] if os.geteuid() == 0 else ["-Urn"]
ENTER = ["-n"] if os.geteuid() == 0 else ["-U", "--preserve-credentials", "-n"]

V4, V6 = "198.18.0.2", "fd00::2"
KERNEL4, KERNEL6 = "198.18.0.1", "fd00::1"


def why_not() -> str:
    """Why nothing of this can run here; "" when it can."""
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "no /dev/net/tun that may be opened"
    if not shutil.which("unshare") or not shutil.which("nsenter"):
        return "no unshare and nsenter (util-linux)"
    found = subprocess.run(["unshare", *FLAGS, "true"], capture_output=True, check=False)
    return "" if found.returncode == 0 else "no right to make a network namespace"


def needs(program: str) -> pytest.MarkDecorator:
    """For tests of a program that may be missing."""
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


class Program:
    """A program in a namespace; its output is collected line by line."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=ROOT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._coming: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._coming.put(line.rstrip("\n"))
        self._coming.put(None)

    def until(self, text: str) -> str:
        """Waits for a line with ``text`` in it."""
        while True:
            try:
                line = self._coming.get(timeout=PATIENCE_S)
            except queue.Empty:
                raise AssertionError(f"no {text!r} came; the output was\n{self.output()}") from None
            if line is None:
                self._coming.put(None)
                raise AssertionError(f"it ended before {text!r} came; the output was\n{self.output()}")
            self.lines.append(line)
            if text in line:
                return line

    def output(self) -> str:
        """Everything so far; all, when it has ended."""
        with contextlib.suppress(queue.Empty):
            while (line := self._coming.get_nowait()) is not None:
                self.lines.append(line)
            self._coming.put(None)
        return "\n".join(self.lines)

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Asks it to end; returns its status."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.wait()

    def wait(self) -> int:
        """Its status, once it has ended by itself."""
        try:
            status = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it does not end; the output was\n{self.output()}") from None
        self._reader.join(PATIENCE_S)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self.process.stdout.close()
        return status

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Namespace:
    """A network namespace that lives as long as the test."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(
            ["unshare", *FLAGS, "sh", "-c", "echo here; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        self._holder.stdout.readline()
        self._enter = ["nsenter", "-t", str(self._holder.pid), *ENTER, "--"]
        self._programs: list[Program] = []
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self.environment.pop("PYTHONWARNINGS", None)

    def start(self, *command: str) -> Program:
        """Starts a program; it is ended with the namespace at the latest."""
        program = Program([*self._enter, *command], self.environment)
        self._programs.append(program)
        return program

    def run(self, *command: str, status: int | None = 0, text: str | None = None) -> str:
        """Runs a program to its end and returns what it wrote; its status must be ``status`` (None: any)."""
        done = subprocess.run(
            [*self._enter, *command],
            capture_output=True,
            check=False,
            text=True,
            errors="replace",
            input=text,
            env=self.environment,
            cwd=ROOT,
            timeout=PATIENCE_S,
        )
        output = done.stdout + done.stderr
        assert status is None or done.returncode == status, f"{command} ended with {done.returncode}:\n{output}"
        return output

    def ustack(self, *arguments: str) -> Program:
        """Starts a ``ustack`` command."""
        return self.start(sys.executable, "-m", "ustack.cli", *arguments)

    def app(self, name: str, *arguments: str) -> Program:
        """Starts one of the programs in apps/ and waits until it is ready."""
        program = self.start(sys.executable, str(Path(__file__).parent / "apps" / f"{name}.py"), *arguments)
        program.until("ready")
        return program

    def serve(self, directory: Path, *options: str) -> Program:
        """``ustack serve``, ready for requests."""
        program = self.ustack("serve", str(directory), *options)
        program.until("Ctrl-C ends it")
        return program

    def loopback(self) -> None:
        """Brings lo up: for what talks to itself on the kernel's side."""
        self.run(sys.executable, "-c", "from ustack.device.link import bring_up; bring_up('lo')")

    def close(self) -> None:
        for program in self._programs:
            if program.process.poll() is None:
                program.end()
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        self._holder.stdin.close()
        self._holder.stdout.close()
        self._holder.wait()


def same(one: Path, other: Path) -> bool:
    """Whether two files hold the same bytes."""
    return subprocess.run(["cmp", str(one), str(other)], capture_output=True, check=False).returncode == 0


def wait_until_closed(server: Program) -> None:
    """Asks ``ustack serve`` until it has no connection open (TIME-WAIT is not open)."""
    for _ in range(1000):
        server.process.send_signal(signal.SIGUSR1)
        if server.until("connections open").startswith("0 "):
            return
    raise AssertionError(f"connections stay open:\n{server.output()}")
