"""Many connections. Without `--echo`: accepted sockets are kept and nothing is done with them (P7, memory).

With `--echo`: one loop over the Stack itself answers each byte on whichever connection it comes (P8, cost of a
segment among many connections); on the kernel's stack the same with epoll.
"""

from __future__ import annotations

import contextlib
import resource
import select
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import common


def raise_limit() -> None:
    """As many descriptors as this process may have; only the kernel's sockets need them."""
    for wanted in (220_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            return


def keep(options: Any) -> None:
    """Accepts for ever."""
    listener = common.Stack(options).listen(common.ECHO)
    common.say_ready(options)
    held = []
    while True:
        flow, _ = listener.accept()
        held.append(flow)


def echo_on_kernel(options: Any) -> None:
    """The baseline of P8: epoll over the kernel's sockets."""
    listener = common.Stack(options).listen(common.ECHO)
    poller = select.epoll()
    poller.register(listener, select.EPOLLIN)
    flows: dict[int, socket.socket] = {}
    common.say_ready(options)
    while True:
        for number, _ in poller.poll():
            if number == listener.fileno():
                flow, _ = listener.accept()
                flows[flow.fileno()] = flow
                poller.register(flow, select.EPOLLIN)
            else:
                flow = flows[number]
                flow.sendall(flow.recv(4096))


def echo_on_stack(options: Any) -> None:
    """No socket layer and no thread: the Stack, its device, and one wait."""
    from stack_parts import Door, make_loop  # noqa: PLC0415  (the kernel's subject does without)

    loop, listener = make_loop(options, common.ECHO)
    listener.owner = Door(listener)
    touched: list[Any] = []
    loop.awaken = touched.append
    poller = select.poll()
    poller.register(loop.device.fileno(), select.POLLIN)
    common.say_ready(options)
    while True:
        now = time.monotonic_ns()
        deadline = loop.deadline()
        patience = -1 if deadline is None else max(0, (deadline - now + 999_999) // 1_000_000)
        poller.poll(patience)
        now = time.monotonic_ns()
        while loop.step(now) or touched:
            owners, touched[:] = list(touched), []
            for owner in owners:
                owner.awake(now)
            loop.flush(now)
            now = time.monotonic_ns()


def main() -> None:
    """Chooses by `--echo` and `--stack`."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--echo", action="store_true")
    options = parser.parse_args()
    raise_limit()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if not options.echo:
        threading.Thread(target=keep, args=(options,), daemon=True).start()
        threading.Event().wait()
    elif options.stack == "kernel":
        echo_on_kernel(options)
    else:
        echo_on_stack(options)


if __name__ == "__main__":
    main()
