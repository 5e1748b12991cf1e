"""ustack: a TCP/IP stack in user space. Python decides, C moves bytes.

>>> import ustack
>>> with ustack.open_tun("tun0", "10.0.0.2/24") as host:       # root, or a TUN interface made for you
...     with host.create_connection(("10.0.0.1", 80)) as sock:
...         sock.sendall(b"GET / HTTP/1.0\r\n\r\n")

A :class:`Host` makes sockets with the interface of the standard library's ``socket`` module. ``open_device`` puts a
host on anything that carries IP packets. What is imported here is small; the rest comes with its first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ustack.device.base import Device
    from ustack.settings import Settings
    from ustack.socket import Host, Socket

__all__ = ["Device", "Host", "Settings", "Socket", "__version__", "open_device", "open_tun"]

_PLACES = {
    "Device": "ustack.device.base",
    "Host": "ustack.socket",
    "Settings": "ustack.settings",
    "Socket": "ustack.socket",
}


def open_device(device: Device, *addresses: str, settings: Settings | None = None) -> Host:
    """A host on ``device``, with ``addresses`` such as ``"10.0.0.2/24"`` or ``"fd00::2/64"`` (no prefix: this host only).

    Its driver runs it whenever a thread of the application waits in a call, and in a thread of its own
    otherwise. Closing the host closes the device."""
    from ustack.socket.opening import open_host

    return open_host(device, addresses, settings)


def open_tun(
    name: str = "",
    *addresses: str,
    settings: Settings | None = None,
    mtu: int = 0,
    offload: bool = True,
    configure: bool = True,
) -> Host:
    """A host on the TUN interface ``name``, made when there is none (empty: the kernel names it, see
    ``Host.device_name``).

    ``configure``: bring the interface up and give the kernel an address in each network of ``addresses``, so that it
    and the host can talk at once. ``offload`` False: whole wire packets only. Raises OSError with the reason: EPERM
    without CAP_NET_ADMIN, EBUSY, ENOENT without /dev/net/tun."""
    from ustack.socket.opening import open_tun_host

    return open_tun_host(name, addresses, settings, mtu=mtu, offload=offload, configure=configure)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("ustack")
    if name in _PLACES:
        from importlib import import_module

        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'ustack' has no attribute {name!r}")
