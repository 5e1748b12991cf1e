"""Brings a stack up for a command: device, wrappers, addresses on both sides."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Iterator

from rich.console import Console

import ustack
from ustack.cli.complaint import Complaint, about_file, about_tun
from ustack.cli.ladder import LadderDevice, Watcher, show
from ustack.cli.lifelines import Lifeline
from ustack.cli.text import host_text
from ustack.device.base import Device
from ustack.device.impair import ImpairedDevice
from ustack.device.link import Interface, configure
from ustack.device.pcap import PcapDevice
from ustack.device.trace import TraceDevice
from ustack.device.tun import TunDevice
from ustack.settings import Settings
from ustack.socket.host import Host
from ustack.wire.address import format_address

QUEUE_LENGTH = 10_000
"""Packets that the kernel keeps for a busy stack: its default of 500 drops when many flows send at once."""

RECEIVE_BUFFER = (4096, 16 << 20, 16 << 20)
"""tcp_rmem. On a device without distance a sender doubles faster than a buffer of 128 KiB grows, and then sits out the
window. The window (half of it) stays below what QUEUE_LENGTH packets hold, so that the device loses none. Memory is
taken only for what waits to be read."""


class Opened:
    """A stack on its device, with what a command tells about it."""

    def __init__(self, host: Host, name: str, addresses: list[Interface]) -> None:
        self.host = host
        self.name = name
        self.addresses = addresses

    def traffic(self) -> str:
        """The segments that passed, in a few words."""
        counters = self.host.counters
        words = (
            f"{counters['TcpInSegs']} segments in, {counters['TcpOutSegs']} out, {counters['TcpRetransSegs']} resent"
        )
        drops = sum(counters.drops.values())
        return words + (f", {drops} refused" if drops else "")

    def status(self) -> str:
        """How many connections there are, and each of them."""
        host = self.host
        with host.driver.lock:
            tcp = host.stack.tcp
            lines = [f"{len(tcp.connections)} connections open, {len(tcp.time_waits)} in TIME-WAIT; {self.traffic()}"]
            for connection in tcp.connections.values():
                local, remote = (
                    host_text(format_address(address), port) for address, port in (connection.local, connection.remote)
                )
                lines.append(f"  {connection.state.name:<12} {local:<28} {remote}")
        return "\n".join(lines)


@contextlib.contextmanager
def open_host(options: argparse.Namespace, addresses: list[Interface], console: Console) -> Iterator[Opened]:
    """A host as the network options want it. Raises Complaint; closes everything at the end."""
    try:
        tun = TunDevice(options.tun, mtu=options.mtu, queue_length=QUEUE_LENGTH)
    except ValueError as error:
        raise Complaint(f"{error}.", 2) from None
    except OSError as error:
        raise about_tun(options.tun, error) from None
    try:
        configure(tun.name, addresses, options.mtu)
        device = _wrapped(options, tun, addresses, console)
    except OSError as error:
        tun.close()
        raise about_tun(options.tun, error) from None
    except BaseException:
        tun.close()
        raise
    settings = Settings().replace(**{"tcp_rmem": RECEIVE_BUFFER, **dict(options.sysctl)})
    host = ustack.open_device(device, *map(str, addresses), settings=settings)
    with host:
        yield Opened(host, tun.name, addresses)


def _wrapped(options: argparse.Namespace, tun: Device, addresses: list[Interface], console: Console) -> Device:
    """The link's faults are next to the wire; who looks on sees what the stack sees."""
    device = tun
    if options.impair is not None:
        device = ImpairedDevice(device, options.impair)
    if options.pcap:
        try:
            device = PcapDevice(device, options.pcap, time.time_ns() - time.monotonic_ns())
        except OSError as error:
            raise about_file(options.pcap, error) from None
    if options.trace:
        device = TraceDevice(device, lambda line: print(line, file=sys.stderr, flush=True), time.monotonic_ns())
    if options.ladder:
        ours = {str(interface.ip) for interface in addresses}

        def finished(line: Lifeline) -> None:
            ends = [("ustack" if _host(end.name) in ours else "kernel") for end in (line.left, line.right)]
            console.print()
            show(console, line, left=ends[0], right=ends[1])
            console.print()

        device = LadderDevice(device, Watcher(finished))
    return device


def _host(endpoint: str) -> str:
    """The address of ``1.2.3.4:80`` or ``[fd00::2]:80``."""
    return endpoint.rpartition(":")[0].strip("[]")
