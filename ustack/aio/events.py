"""An event loop whose connections and servers are ustack's, for ustack's addresses: programs need no line changed.

>>> factory = lambda: ustack.aio.EventLoop(TunDevice("ustack0"), "198.18.0.2/24")      # doctest: +SKIP
>>> with asyncio.Runner(loop_factory=factory) as runner:                               # doctest: +SKIP
...     runner.run(main())
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

from ustack.aio.device import AsyncDevice
from ustack.aio.driver import AsyncDriver
from ustack.aio.host import AsyncHost
from ustack.device.base import Device
from ustack.settings import Settings
from ustack.socket.networks import Networks
from ustack.socket.opening import stack_on


def make_host(
    device: Device, addresses: Sequence[str], settings: Settings | None, events: asyncio.AbstractEventLoop
) -> AsyncHost:
    """A host on ``device`` in an event loop. Raises ValueError for what is no address."""
    stack = stack_on(device, addresses, settings)
    driver = AsyncDriver(stack, device, events)
    if isinstance(device, AsyncDevice):
        device.start(driver.poke)
    return AsyncHost(stack, driver)


class EventLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop, but ``create_connection``, ``create_server`` and ``create_datagram_endpoint`` lead to
    ``host``, a :class:`~ustack.aio.AsyncHost` on ``device``, for the addresses of ``networks``.

    ``networks``: such as ``["198.18.0.0/15"]``; None: the networks of the host's own addresses. A server that names no
    address is ustack's. All other calls, and other addresses, are the kernel's. Closing the loop closes the host.
    """

    def __init__(
        self, device: Device, *addresses: str, settings: Settings | None = None, networks: Sequence[str] | None = None
    ) -> None:
        super().__init__()
        self.host = make_host(device, addresses, settings, self)
        self._networks = Networks(self.host.stack, networks)

    async def _is_ours(self, host: Any, port: Any) -> bool:
        """Whether an address, or the first address of a name, is ustack's."""
        if host is None or host == "":
            return True
        found = await self.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return self._networks.cover(str(found[0][4][0]), True)

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **how: Any) -> Any:
        """As asyncio's."""
        if how.get("sock") is not None or host is None or not await self._is_ours(host, port):
            return await super().create_connection(protocol_factory, host, port, **how)
        return await self.host.create_connection(protocol_factory, host, port, **_known(how))

    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **how: Any) -> Any:
        """As asyncio's."""
        first = host if isinstance(host, str | None) else next(iter(host), None)
        if how.get("sock") is not None or not await self._is_ours(first, port):
            return await super().create_server(protocol_factory, host, port, **how)
        return await self.host.create_server(protocol_factory, host, port, **_known(how))

    async def create_datagram_endpoint(
        self, protocol_factory: Any, local_addr: Any = None, remote_addr: Any = None, **how: Any
    ) -> Any:
        """As asyncio's."""
        named = remote_addr or local_addr
        if how.get("sock") is not None or not isinstance(named, tuple) or not await self._is_ours(*named[:2]):
            return await super().create_datagram_endpoint(protocol_factory, local_addr, remote_addr, **how)
        return await self.host.create_datagram_endpoint(protocol_factory, local_addr, remote_addr, **_known(how))

    def close(self) -> None:
        """Closes the host, then the loop."""
        if not self.is_closed() and not self.is_running():
            self.run_until_complete(self.host.aclose())  # protocols learn that their connections are gone
        super().close()


def _known(how: dict[str, Any]) -> dict[str, Any]:
    """The arguments without those that say nothing here: of ``sock`` there is none, and of protocols there is one."""
    return {name: value for name, value in how.items() if name not in ("sock", "proto", "keep_alive", "interleave")}
