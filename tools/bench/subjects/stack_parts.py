"""A Stack on a TUN device with its Loop and nothing above: what P8 measures, and what a profile of the core wants."""

from __future__ import annotations

import os
import time
from typing import Any

from ustack import native
from ustack.device.tun import TunDevice
from ustack.driver.loop import Loop
from ustack.events import Owner
from ustack.settings import Settings
from ustack.sockopts import SocketOptions
from ustack.stack.stack import Stack
from ustack.wire.address import parse_address


class Echo(Owner):
    """A connection's owner. The loop tells `awaken` as well, which is where the work is done."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def awake(self, now: int) -> None:
        """Sends back what is there."""
        data = self.connection.read(4096, now)
        if data:
            self.connection.write(data, now)


class Door(Owner):
    """The listener's owner."""

    def __init__(self, listener: Any) -> None:
        self.listener = listener

    def awake(self, now: int) -> None:
        """Takes in everybody who waits."""
        while (connection := self.listener.accept(now)) is not None:
            connection.owner = echo = Echo(connection)
            echo.awake(now)  # its first byte may have come already


def make_loop(options: Any, port: int) -> tuple[Loop, Any]:
    """The loop and one listener on `port`."""
    device = TunDevice(options.device, offload=not options.no_offload)
    stack = Stack(Settings(), entropy=os.urandom(64), rings=native.NativeRings())
    address = parse_address(options.address)
    stack.add_address(address, 16)
    stack.set_mtu(options.mtu)
    listener = stack.listen(address, port, 4096, SocketOptions(), time.monotonic_ns())
    return Loop(stack, device, time.monotonic_ns), listener
