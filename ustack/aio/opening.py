"""Puts an asynchronous host together: device, stack, driver, event loop."""

from __future__ import annotations

import asyncio
from ipaddress import ip_interface

from ustack.aio.events import make_host
from ustack.aio.host import AsyncHost
from ustack.device.base import Device
from ustack.settings import Settings
from ustack.socket.opening import tun_for


class Opening:
    """``async with`` or ``await``: a host comes up in the running event loop."""

    def __init__(self, device: Device, addresses: tuple[str, ...], settings: Settings | None) -> None:
        self._device = device
        self._addresses = addresses
        self._settings = settings
        self._host: AsyncHost | None = None

    def _open(self) -> AsyncHost:
        return make_host(self._device, self._addresses, self._settings, asyncio.get_running_loop())

    def __await__(self):  # type: ignore[no-untyped-def]
        return self._opened().__await__()

    async def _opened(self) -> AsyncHost:
        return self._open()

    async def __aenter__(self) -> AsyncHost:
        self._host = self._open()
        return self._host

    async def __aexit__(self, *exc: object) -> None:
        if self._host is not None:
            await self._host.aclose()


def open_device(device: Device, *addresses: str, settings: Settings | None = None) -> Opening:
    """A host on ``device``, with ``addresses`` such as ``"10.0.0.2/24"``: ``async with`` it, or ``await`` it.

    It lives in the event loop that runs then, and is used from its thread alone. Closing the host closes the device.
    Raises ValueError for what is no address."""
    for text in addresses:
        ip_interface(text)
    return Opening(device, addresses, settings)


def open_tun(
    name: str = "",
    *addresses: str,
    settings: Settings | None = None,
    mtu: int = 0,
    offload: bool = True,
    configure: bool = True,
) -> Opening:
    """A host on the TUN interface ``name``, as :func:`ustack.open_tun`. Raises ValueError, and OSError: EPERM without
    CAP_NET_ADMIN, EBUSY, ENOENT without /dev/net/tun."""
    return Opening(tun_for(name, addresses, mtu=mtu, offload=offload, configure=configure), addresses, settings)
