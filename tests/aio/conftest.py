"""Two hosts in one event loop, joined in memory: no root, no device."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

import ustack.aio
from ustack.aio import AsyncHost
from ustack.device.memory import MemoryPair

CLIENT, SERVER = "10.0.0.1", "10.0.0.2"
Body = Callable[[AsyncHost, AsyncHost], Awaitable[Any]]


@asynccontextmanager
async def two_hosts() -> AsyncIterator[tuple[AsyncHost, AsyncHost]]:
    pair = MemoryPair()
    async with (
        ustack.aio.open_device(pair.left, f"{CLIENT}/24") as client,
        ustack.aio.open_device(pair.right, f"{SERVER}/24") as server,
    ):
        yield client, server


@pytest.fixture
def run() -> Callable[[Body], Any]:
    """Runs ``body(client, server)`` in an event loop in debug mode; nothing may be left behind or complained of."""

    def runner(body: Body) -> Any:
        complaints: list[dict[str, Any]] = []

        async def whole() -> Any:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
            async with two_hosts() as (client, server):
                result = await asyncio.wait_for(body(client, server), 20)
            assert not client.transports
            assert not server.transports
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, left
            return result

        result = asyncio.run(whole(), debug=True)
        assert not complaints, complaints
        return result

    return runner
