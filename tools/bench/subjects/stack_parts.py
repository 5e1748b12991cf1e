"""A Stack on a TUN device with its Loop and nothing above: what P8 measures, and what a profile of the core wants."""

from __future__ import annotations

import os
import time
from typing import Any

from ustack import native
from ustack.device.tun import TunDevice
from ustack.driver.loop import Loop
from ustack.settings import Settings
from ustack.sockopts import SocketOptions
from ustack.stack.stack import Stack
from ustack.wire.address import parse_address


def make_loop(options: Any, port: int) -> tuple[Loop, Any]:
    """The loop and one listener on `port`."""
    device = TunDevice(options.device, offload=not options.no_offload)
    stack = Stack(Settings(), entropy=os.urandom(64), rings=native.NativeRings())
    address = parse_address(options.address)
    stack.add_address(address, 16)
    stack.set_mtu(options.mtu)
    listener = stack.listen(address, port, 4096, SocketOptions(), time.monotonic_ns())
    return Loop(stack, device, time.monotonic_ns), listener
