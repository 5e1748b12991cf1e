"""ustack: a TCP/IP stack in user space. Python decides, C moves bytes.

>>> import ustack
>>> with ustack.open_tun("tun0", "10.0.0.2/24") as host:  # doctest: +SKIP
...     with host.create_connection(("10.0.0.1", 80)) as sock:
...         sock.sendall(b"GET / HTTP/1.0\r\n\r\n")

A :class:`Host` makes sockets with the interface of the standard library's ``socket`` module. ``open_tun`` puts a host
behind a TUN interface, ``open_device`` on anything that carries IP packets. :mod:`ustack.aio` puts one into asyncio.
Names are imported at their first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ustack import aio
    from ustack.device.base import Device
    from ustack.patch import patched
    from ustack.settings import Settings
    from ustack.socket.host import Host
    from ustack.socket.opening import open_device, open_tun
    from ustack.socket.socket import Socket

__all__ = ["Device", "Host", "Settings", "Socket", "__version__", "aio", "open_device", "open_tun", "patched"]

_PLACES = {
    "Device": "ustack.device.base",
    "Host": "ustack.socket.host",
    "Settings": "ustack.settings",
    "Socket": "ustack.socket.socket",
    "open_device": "ustack.socket.opening",
    "open_tun": "ustack.socket.opening",
    "patched": "ustack.patch",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("ustack")
    if name == "aio":
        return import_module("ustack.aio")
    if name not in _PLACES:
        raise AttributeError(f"module 'ustack' has no attribute {name!r}")
    found = getattr(import_module(_PLACES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
