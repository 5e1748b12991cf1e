"""Work for counting instructions on the path that production takes: a host on a descriptor, the clock of the machine.

    counts_echo.py echo-blocking|echo-asyncio TIMES

One end of a datagram socket pair stands in for the TUN descriptor, so that the same C calls read and write it, and no
root is needed. The client is a process of its own, which is not counted: each count is of one side.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence

import ustack
import ustack.aio
from ustack import native
from ustack.device.base import Device
from ustack.wire.frame import Frame, RawTransmit, Transmit

CLIENT, SERVER = "10.0.0.1", "10.0.0.2"
PORT = 7


class PairDevice(Device):
    """IP packets on a datagram socket, one in each datagram, with the calls of a TUN device without offload."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd
        os.set_blocking(fd, False)

    def fileno(self) -> int:
        return self._fd

    def end_batch(self) -> None:
        self._receiver.end_batch()

    def wait(self, fds: Sequence[int], timeout_ns: int) -> int:
        return self._receiver.wait(fds, timeout_ns, False)

    def receive(self, now: int) -> list[Frame]:
        return self._receiver.receive(self._fd, False)

    def send(self, transmits: Sequence[Transmit | RawTransmit], now: int) -> int:
        return native.send(self._fd, False, transmits)

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def ask(fd: int, times: int) -> None:
    """The client: sends a byte and reads it, ``times`` times over."""
    with ustack.open_device(PairDevice(fd), f"{CLIENT}/24") as host:
        connection = host.create_connection((SERVER, PORT))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(times):
            connection.sendall(b"u")
            if connection.recv(16) != b"u":
                raise RuntimeError("no echo")
        connection.shutdown(socket.SHUT_WR)
        connection.recv(16)
        connection.close()


def answer_blocking(device: Device, invite: Callable[[], None]) -> None:
    """The server on blocking sockets: what comes goes back. ``invite`` starts the client."""
    with ustack.open_device(device, f"{SERVER}/24") as host:
        listener = host.create_server(("", PORT))
        invite()
        connection, _ = listener.accept()
        while data := connection.recv(16):
            connection.sendall(data)
        connection.close()


class Echo(asyncio.Protocol):
    """The same as a protocol."""

    def __init__(self, done: asyncio.Event) -> None:
        self._done = done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)  # type: ignore[attr-defined]

    def connection_lost(self, exc: Exception | None) -> None:
        self._done.set()


async def answer_in_the_loop(device: Device, invite: Callable[[], None]) -> None:
    """The server with the stack in the event loop."""
    done = asyncio.Event()
    async with ustack.aio.open_device(device, f"{SERVER}/24") as host:
        await host.create_server(lambda: Echo(done), port=PORT)
        invite()
        await done.wait()


def main() -> None:
    """Serves the client that it starts, or is that client."""
    scenario, times = sys.argv[1], int(sys.argv[2])
    if scenario == "ask":
        ask(int(sys.argv[3]), times)
        return
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    clients: list[subprocess.Popen[bytes]] = []

    def invite() -> None:
        words = [sys.executable, __file__, "ask", str(times), str(theirs.fileno())]
        clients.append(subprocess.Popen(words, pass_fds=[theirs.fileno()]))

    device = PairDevice(ours.detach())
    if scenario == "echo-blocking":
        answer_blocking(device, invite)
    else:
        asyncio.run(answer_in_the_loop(device, invite))
    if clients[0].wait(60):
        raise SystemExit("the client failed")


if __name__ == "__main__":
    main()
