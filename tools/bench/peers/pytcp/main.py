"""PyTCP's published fork (asyncio) on a TUN device, a task for each connection: DEVICE ADDRESS BASE-PORT MTU."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from pmd_net_addr import Ip4IfAddr
from pmd_pytcp import socket, stack

PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 26\r\n\r\nHello from the other end.\n"
BLOCK = bytes(1 << 20)
TASKS: set[asyncio.Task[None]] = set()


async def send(flow: Any, data: bytes) -> None:
    """All of it: `send` may take less."""
    view = memoryview(data)
    while view:
        view = view[await flow.send(bytes(view)) :]


async def sink(flow: Any) -> None:
    """Reads to the end, answers the count."""
    total = 0
    while data := await flow.recv(1 << 20):
        total += len(data)
    await send(flow, total.to_bytes(8, "little"))


async def source(flow: Any) -> None:
    """Its `send` takes everything at once and never waits: this keeps what it holds to one block, or it would drown."""
    held = flow._tcp_session._tx
    while True:
        if len(held.buffer) < len(BLOCK):
            await flow.send(BLOCK)
        await asyncio.sleep(0)


async def echo(flow: Any) -> None:
    """Sends back what comes."""
    while data := await flow.recv(4096):
        await send(flow, data)


async def request(flow: Any) -> None:
    """128 bytes to each 64."""
    have = 0
    while data := await flow.recv(4096):
        have += len(data)
        while have >= 64:
            have -= 64
            await send(flow, bytes(128))


async def http(flow: Any) -> None:
    """The page to each head."""
    while data := await flow.recv(4096):
        if data.endswith(b"\r\n\r\n"):
            await send(flow, PAGE)


async def serve(flow: Any, service: Callable[[Any], Awaitable[None]]) -> None:
    """One connection to its end."""
    with contextlib.suppress(OSError):
        await service(flow)
    with contextlib.suppress(OSError):
        flow.close()


def start(work: Any) -> None:
    """A task that is kept until it is done."""
    task = asyncio.create_task(work)
    TASKS.add(task)
    task.add_done_callback(TASKS.discard)


async def accept(listener: Any, service: Callable[[Any], Awaitable[None]]) -> None:
    """For ever."""
    while True:
        flow, _ = await listener.accept()
        start(serve(flow, service))


async def main() -> None:
    """The stack, and a listener for each service."""
    device, address, base = sys.argv[1], sys.argv[2], int(sys.argv[3])
    interface = stack.initialize_interface__tun(device)
    stack.init(**interface, ip4_host=Ip4IfAddr(f"{address}/16"), ip4_dhcp=False, ip6_support=False)
    await stack.start()
    for _ in range(100):  # it takes its address in the background
        if stack.local_ip4_unicast():
            break
        await asyncio.sleep(0.1)
    for offset, service in ((1, sink), (2, source), (3, echo), (4, request), (80, http)):
        listener = socket.socket(socket.AF_INET4, socket.SOCK_STREAM)
        listener.bind((address, base + offset))
        listener.listen(backlog=256)
        start(accept(listener, service))
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
