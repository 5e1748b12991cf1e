"""Puts a Host together: device, stack, loop, driver."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Sequence
from ipaddress import ip_interface

from ustack import native
from ustack.device.base import Device
from ustack.device.link import configure as configure_link
from ustack.device.tun import TunDevice
from ustack.driver.loop import Loop
from ustack.driver.thread import ThreadDriver
from ustack.settings import Settings
from ustack.socket.host import Host
from ustack.stack.stack import Stack
from ustack.wire.address import parse_address
from ustack.wire.ipv6 import MINIMUM_MTU

ENTROPY = 64
"""Bytes of randomness a Stack gets: the source of all its secrets."""


def open_device(device: Device, *addresses: str, settings: Settings | None = None) -> Host:
    """A host on ``device``, with ``addresses`` such as ``"10.0.0.2/24"`` or ``"fd00::2/64"``.

    An address without a prefix is a network of its own. The driver runs the stack whenever a thread of the application
    waits in a call, and in a thread of its own otherwise. Closing the host closes the device. Raises
    ValueError for what is no address, and for a setting that is none."""
    stack = stack_on(device, addresses, settings)
    driver = ThreadDriver(Loop(stack, device, time.monotonic_ns))
    return Host(stack, driver, device_name=_name_of(device), on_close=driver.close)


def stack_on(device: Device, addresses: Sequence[str], settings: Settings | None) -> Stack:
    """A stack for ``device``, with its addresses. Raises ValueError for what is no address."""
    stack = Stack(settings or Settings(), entropy=os.urandom(ENTROPY), rings=native.NativeRings())
    for text in addresses:
        interface = ip_interface(text)
        stack.add_address(parse_address(str(interface.ip)), interface.network.prefixlen)
    stack.set_mtu(device.mtu)
    return stack


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
    and the host can talk at once. ``offload`` False: whole wire packets only. Raises ValueError for a name, an address
    or an MTU that cannot be, and OSError with the reason: EPERM without CAP_NET_ADMIN, EBUSY, ENOENT without
    /dev/net/tun."""
    device = tun_for(name, addresses, mtu=mtu, offload=offload, configure=configure)
    with contextlib.ExitStack() as undo:
        undo.callback(device.close)
        host = open_device(device, *addresses, settings=settings)
        undo.pop_all()
    return host


def tun_for(name: str, addresses: Sequence[str], *, mtu: int, offload: bool, configure: bool) -> TunDevice:
    """The interface of :func:`open_tun`, which says what it raises."""
    wants_ipv6 = any(interface.version == 6 for interface in map(ip_interface, addresses))
    device = TunDevice(name, mtu=mtu, offload=offload)
    with contextlib.ExitStack() as undo:
        undo.callback(device.close)
        if wants_ipv6 and device.mtu < MINIMUM_MTU:
            raise ValueError(f"an MTU of {device.mtu} is too small for IPv6, which needs {MINIMUM_MTU} (RFC 8200)")
        if configure:
            _configure(device, addresses, mtu)
        undo.pop_all()
    return device


def _configure(device: TunDevice, addresses: Sequence[str], mtu: int) -> None:
    """Set the kernel's side up. Without the right to do so it must have been done by whoever made the interface."""
    try:
        configure_link(device.name, [ip_interface(text) for text in addresses], mtu)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EACCES):
            raise


def _name_of(device: Device) -> str:
    """The interface's name; that of what a wrapper wraps; "" for a device without one."""
    inner: object = device
    while inner is not None:
        name = getattr(inner, "name", None)
        if isinstance(name, str):
            return name
        inner = getattr(inner, "inner", None)
    return ""
