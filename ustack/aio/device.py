"""Any transport that carries IP packets, as a device for asyncio: two coroutines, and back-pressure both ways."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import deque
from collections.abc import Callable, Sequence

from ustack.device.base import RECEIVE_BATCH, Device


class AsyncDevice(Device):
    """A subclass says how packets come and go: ``receive_packets`` and ``send_packets``.

    ``queue_length``: packets that may wait in each direction. A transport that is slow to send makes the device full,
    and the stack waits as for any slow link; a stack that is slow lets no more be received.
    """

    queue_length = 1000

    def __init__(self) -> None:
        super().__init__()
        self._received: deque[bytes] = deque()
        self._to_send: deque[bytes] = deque()
        self._tasks: list[asyncio.Task[None]] = []
        self._poke: Callable[[], None] = lambda: None
        self._has_room: asyncio.Event | None = None
        self._has_packets: asyncio.Event | None = None
        self._failure: OSError | None = None

    async def receive_packets(self) -> Sequence[bytes]:
        """The next whole IP packets; an empty sequence is the end of the transport."""
        raise NotImplementedError

    async def send_packets(self, packets: Sequence[bytes]) -> None:
        """Sends whole IP packets; returns when the transport takes more."""
        raise NotImplementedError

    def start(self, poke: Callable[[], None]) -> None:
        """Begins to carry; ``poke`` is called when packets have come, or there is room again."""
        self._poke = poke
        self._has_room, self._has_packets = asyncio.Event(), asyncio.Event()
        self._tasks = [asyncio.create_task(self._receive_all()), asyncio.create_task(self._send_all())]

    async def _receive_all(self) -> None:
        assert self._has_room is not None
        try:
            while True:
                while len(self._received) >= self.queue_length:
                    self._has_room.clear()
                    await self._has_room.wait()
                packets = await self.receive_packets()
                if not packets:
                    raise OSError(errno.ENETDOWN, "the transport has ended")
                self._received.extend(packets)
                self._poke()
        except OSError as error:
            self._fail(error)
        except (EOFError, RuntimeError, ValueError) as error:
            self._fail(OSError(errno.ENETDOWN, f"the transport has failed: {error}"))

    async def _send_all(self) -> None:
        assert self._has_packets is not None
        try:
            while True:
                while not self._to_send:
                    self._has_packets.clear()
                    await self._has_packets.wait()
                batch = [self._to_send.popleft() for _ in range(min(len(self._to_send), RECEIVE_BATCH))]
                await self.send_packets(batch)
                self._poke()
        except OSError as error:
            self._fail(error)
        except (EOFError, RuntimeError, ValueError) as error:
            self._fail(OSError(errno.ENETDOWN, f"the transport has failed: {error}"))

    def _fail(self, error: OSError) -> None:
        self._failure = self._failure or OSError(errno.ENODEV, error.strerror or os.strerror(errno.ENODEV))
        self._poke()

    def read_packets(self, now: int) -> list[bytes]:
        if not self._received and self._failure is not None:
            raise self._failure
        taken = [self._received.popleft() for _ in range(min(len(self._received), RECEIVE_BATCH))]
        if self._has_room is not None:
            self._has_room.set()
        return taken

    def write_packets(self, packets: Sequence[bytes], now: int) -> int:
        taken = max(min(len(packets), self.queue_length - len(self._to_send)), 0)
        self._to_send.extend(packets[:taken])
        if taken and self._has_packets is not None:
            self._has_packets.set()
        return taken

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()
