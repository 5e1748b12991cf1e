"""What the subjects that are Python share: the same program on ustack's sockets or on the kernel's."""

from __future__ import annotations

import argparse
import collections
import itertools
import socket as kernel
import sys
import threading
import time
import types
from pathlib import Path
from typing import Any

BASE_PORT = 7000
SINK, SOURCE, ECHO, REQUEST, HTTP = 7001, 7002, 7003, 7004, 7080
REQUEST_SIZE, REPLY_SIZE = 64, 128


def parser(description: str) -> argparse.ArgumentParser:
    """The options that every subject takes."""
    words = argparse.ArgumentParser(description=description)
    words.add_argument("--stack", choices=["ustack", "kernel"], required=True)
    words.add_argument("--address", required=True)
    words.add_argument("--device", default="b0")
    words.add_argument("--mtu", type=int, default=1500)
    words.add_argument("--no-offload", action="store_true")
    words.add_argument("--congestion", default="cubic")
    words.add_argument("--buffer", type=int, default=1 << 20)
    words.add_argument("--busy", action="store_true", help="a CPU-bound Python thread beside the service")
    words.add_argument("--sample", default="", metavar="FILE", help="write folded stacks of its Python frames")
    words.add_argument("--multi-queue", action="store_true", help="one of several processes on one device")
    return words


class Stack:
    """`listen()` on either stack: what is not common to both is here and nowhere else."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.host: Any = None
        if options.stack == "ustack":
            self.host = _open_host(options)

    def socket(self) -> Any:
        family = kernel.AF_INET6 if ":" in self.options.address else kernel.AF_INET
        make = kernel.socket if self.host is None else self.host.socket
        return make(family, kernel.SOCK_STREAM)

    def listen(self, port: int, backlog: int = 4096) -> Any:
        """A listening socket; accepted ones inherit CUBIC (or `--congestion`)."""
        listener = self.socket()
        listener.setsockopt(kernel.SOL_SOCKET, kernel.SO_REUSEADDR, 1)
        listener.setsockopt(kernel.IPPROTO_TCP, kernel.TCP_CONGESTION, self.options.congestion.encode())
        listener.bind((self.options.address, port))
        listener.listen(backlog)
        return listener

    def close(self) -> None:
        if self.host is not None:
            self.host.close()


def _open_host(options: argparse.Namespace) -> Any:
    """The device stands already, with its kernel's side set up by the harness."""
    from ustack import open_device  # noqa: PLC0415  (the kernel's subject does without)
    from ustack.device.tun import TunDevice  # noqa: PLC0415

    device = TunDevice(options.device, offload=not options.no_offload, multi_queue=options.multi_queue)
    return open_device(device, f"{options.address}/16")


def form() -> str:
    """`compiled` or `interpreted`: what this process really runs, whatever it was meant to."""

    from ustack.tcp.connection import connection  # noqa: PLC0415

    return "compiled" if str(connection.__file__).endswith(".so") else "interpreted"


def spin() -> None:
    """A thread that never lets go of the interpreter but when it must."""
    count = 0
    while True:
        count += 1


def start_thread(target: Any, *arguments: Any) -> None:
    """One that ends with the process."""
    threading.Thread(target=target, args=arguments, daemon=True).start()


def say_ready(options: argparse.Namespace) -> None:
    """The line that the harness waits for; it checks the form."""
    if options.sample:
        start_thread(sample, options.sample)
    print("ready", form() if options.stack == "ustack" else "kernel", flush=True)


def sample(path: str) -> None:
    """Looks at every thread's Python frames 200 times a second and keeps the file up to date once a second.

    Threads that wait are seen too; those inside a lock's or a poll's call are left out by the name of their place.
    """
    me = threading.get_ident()
    folded: collections.Counter[str] = collections.Counter()
    for turn in itertools.count(1):
        time.sleep(0.005)
        for number, frame in sys._current_frames().items():
            if number == me:
                continue
            names = []
            at: types.FrameType | None = frame
            while at is not None:
                names.append(f"{Path(at.f_code.co_filename).stem}.{at.f_code.co_qualname}")
                at = at.f_back
            if names[0] not in ("threading.Condition.wait", "threading.Event.wait", "core.wait"):
                folded[";".join(reversed(names))] += 1
        if turn % 200 == 0:
            Path(path).write_text("".join(f"{stack} {count}\n" for stack, count in folded.items()))
