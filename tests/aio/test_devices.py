"""Any transport is a device: IP over a queue, with back-pressure, an end, and a failure."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Sequence

import pytest

import ustack.aio
from tests.aio.test_streams import Recorder, echo
from ustack.aio import AsyncDevice


class Queue(AsyncDevice):
    """Packets in asyncio queues: what a WebSocket or a UDP socket would be."""

    queue_length = 8

    def __init__(self, mine: asyncio.Queue[bytes], theirs: asyncio.Queue[bytes]) -> None:
        super().__init__()
        self.mine, self.theirs = mine, theirs

    async def receive_packets(self) -> Sequence[bytes]:
        packet = await self.mine.get()
        return [packet] if packet else []

    async def send_packets(self, packets: Sequence[bytes]) -> None:
        for packet in packets:
            await self.theirs.put(packet)


def test_a_narrow_transport_loses_nothing() -> None:
    """Eight packets may wait anywhere: the stacks wait, and resend nothing."""

    async def whole() -> None:
        left: asyncio.Queue[bytes] = asyncio.Queue(8)
        right: asyncio.Queue[bytes] = asyncio.Queue(8)
        async with (
            ustack.aio.open_device(Queue(left, right), "10.0.0.1/24") as client,
            ustack.aio.open_device(Queue(right, left), "10.0.0.2/24") as server,
            await server.start_server(echo, port=80),
        ):
            reader, writer = await client.open_connection("10.0.0.2", 80)
            text = bytes(range(256)) * 4000
            task = asyncio.create_task(reader.readexactly(len(text)))
            writer.write(text)
            assert await asyncio.wait_for(task, 20) == text
            assert client.counters["TcpRetransSegs"] == 0
            writer.close()
            await writer.wait_closed()

    asyncio.run(whole())


@pytest.mark.parametrize("is_failure", [False, True])
def test_a_transport_that_ends_ends_the_connections(is_failure: bool) -> None:
    async def whole() -> None:
        left: asyncio.Queue[bytes] = asyncio.Queue()
        right: asyncio.Queue[bytes] = asyncio.Queue()

        class Failing(Queue):
            async def receive_packets(self) -> Sequence[bytes]:
                packets = await super().receive_packets()
                if not packets and is_failure:
                    raise OSError(errno.ECONNRESET, "the tunnel broke")
                return packets

        client = await ustack.aio.open_device(Failing(left, right), "10.0.0.1/24")
        async with (
            ustack.aio.open_device(Queue(right, left), "10.0.0.2/24") as server,
            await server.start_server(echo, port=80),
        ):
            _, protocol = await client.create_connection(Recorder, "10.0.0.2", 80)
            left.put_nowait(b"")
            error = await asyncio.wait_for(protocol.lost, 5)
            assert isinstance(error, OSError)
            with pytest.raises(OSError, match="Network is down"):
                await client.open_connection("10.0.0.2", 80)
            for transport in list(server.transports):
                transport.abort()
            await client.aclose()

    asyncio.run(whole())
