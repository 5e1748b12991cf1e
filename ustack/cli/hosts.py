"""Brings a stack up for a command: device, wrappers, addresses on both sides."""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import IO

from rich.console import Console

import ustack
from ustack.cli.complaint import Complaint, about_file, about_tun
from ustack.cli.ladder import LadderDevice, Watcher, show
from ustack.cli.lifelines import Lifeline
from ustack.cli.network import chosen_settings
from ustack.cli.scribe import Scribe
from ustack.cli.text import host_text
from ustack.device.base import Device
from ustack.device.impair import ImpairedDevice
from ustack.device.link import Interface, configure
from ustack.device.pcap import PcapDevice
from ustack.device.trace import TraceDevice
from ustack.device.tun import TunDevice
from ustack.drops import Drop
from ustack.plot.live import Recorder
from ustack.settings import Settings
from ustack.socket.host import Host
from ustack.trace import Event
from ustack.wire.address import format_address

QUEUE_LENGTH = 10_000
"""Packets that the kernel keeps for a busy stack: its default of 500 drops when many flows send at once."""

RECEIVE_BUFFER = (4096, 16 << 20, 16 << 20)
"""tcp_rmem. On a device without distance a sender doubles faster than a buffer of 128 KiB grows, and then sits out the
window. The window (half of it) stays below what QUEUE_LENGTH packets hold, so that the device loses none. Memory is
taken only for what waits to be read."""

_MOST_REASONS = 5
"""Names of refusals that a summary lists."""


class Opened:
    """A stack on its device, with what a command tells about it."""

    def __init__(self, host: Host, name: str, addresses: list[Interface], out: Scribe) -> None:
        self.host = host
        self.name = name
        self.addresses = addresses
        self.out = out
        """Writes where the console does, and holds nobody up."""

    def traffic(self) -> str:
        """The segments that passed, in a few words."""
        counters = self.host.counters
        words = (
            f"{counters['TcpInSegs']} segments in, {counters['TcpOutSegs']} out, {counters['TcpRetransSegs']} resent"
        )
        return words + refusals(counters.drops)

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


def refusals(drops: Mapping[Drop, int]) -> str:
    """``, 526 refused (500 OLD_SEQUENCE, 26 PAWS)``: the names are those of drops.py. "" when nothing was."""
    if not drops:
        return ""
    named = sorted(drops.items(), key=lambda drop: (-drop[1], drop[0].name))
    words = [f"{count} {reason.name}" for reason, count in named[:_MOST_REASONS]]
    rest = sum(count for _, count in named[_MOST_REASONS:])
    if rest:
        words.append(f"{rest} for other reasons")
    return f", {sum(drops.values())} refused ({', '.join(words)})"


@contextlib.contextmanager
def open_host(options: argparse.Namespace, addresses: list[Interface], console: Console) -> Iterator[Opened]:
    """A host as the network options want it. Raises Complaint; closes everything at the end."""
    try:
        tun = TunDevice(options.tun, mtu=options.mtu, queue_length=QUEUE_LENGTH)
    except ValueError as error:
        raise Complaint(f"{error}.", 2) from None
    except OSError as error:
        raise about_tun(options.tun, error) from None
    scribes = (Scribe(_writer(console.file)), Scribe(_writer(sys.stderr)))
    try:
        configure(tun.name, addresses, options.mtu)
        device = _wrapped(options, tun, addresses, console, scribes)
        settings = Settings().replace(**{"tcp_rmem": RECEIVE_BUFFER, **chosen_settings(options)})
        host = ustack.open_device(device, *map(str, addresses), settings=settings)
    except OSError as error:
        tun.close()
        raise about_tun(options.tun, error) from None
    except BaseException:
        tun.close()
        raise
    try:
        with host:
            if options.trace and options.trace_as != "packets":
                host.trace(_teller(options.trace_as, scribes[1]), complain=_complainer(scribes[1]))
            recorder = Recorder()
            if options.plot:
                recorder.attach(host)
            try:
                yield Opened(host, tun.name, addresses, scribes[0])
            finally:
                if options.plot:
                    _write_picture(recorder, options.plot, scribes[1])
    finally:
        if isinstance(device, PcapDevice) and device.lost:
            scribes[1].put(f"ustack: {options.pcap} lacks {device.lost} packets: its reader was too slow.")
        for scribe in scribes:
            scribe.close()


def _write_picture(recorder: Recorder, path: str, scribe: Scribe) -> None:
    """The picture of --plot; what goes wrong with it is told and stops nothing."""
    try:
        scribe.put(f"ustack: {recorder.write(path)}")
    except Complaint as complaint:
        scribe.put(f"ustack: {complaint}")


def _writer(file: IO[str]) -> Callable[[str], None]:
    def write(text: str) -> None:
        file.write(text + "\n")
        file.flush()

    return write


def _wrapped(
    options: argparse.Namespace,
    tun: Device,
    addresses: list[Interface],
    console: Console,
    scribes: tuple[Scribe, Scribe],
) -> Device:
    """The link's faults are next to the wire; who looks on sees what the stack sees."""

    complain = _complainer(scribes[1])
    device = tun
    if options.impair is not None:
        device = ImpairedDevice(device, options.impair)
    if options.trace and options.trace_as == "packets":
        device = TraceDevice(device, scribes[1].put, time.monotonic_ns(), complain)
    if options.ladder:
        ours = {str(interface.ip) for interface in addresses}

        def finished(line: Lifeline) -> None:
            ends = [("ustack" if _host(end.name) in ours else "kernel") for end in (line.left, line.right)]
            with console.capture() as captured:
                console.print()
                show(console, line, left=ends[0], right=ends[1])
            scribes[0].put(captured.get())

        device = LadderDevice(device, Watcher(finished), complain)
    if options.pcap:
        try:
            device = PcapDevice(device, options.pcap, time.time_ns() - time.monotonic_ns(), complain)
        except OSError as error:
            raise _about_capture(options.pcap, error) from None
    return device


def _complainer(scribe: Scribe) -> Callable[[str], None]:
    return lambda sentence: scribe.put(f"ustack: {sentence}")


def _teller(form: str, scribe: Scribe) -> Callable[[Event], None]:
    """Writes a line for each event of a trace. Seconds count from now; JSON has the stack's own clock."""
    start = time.monotonic_ns()
    if form == "json":
        return lambda event: scribe.put(json.dumps(event.as_dict()))
    return lambda event: scribe.put(event.line(start))


def _about_capture(path: str, error: OSError) -> Complaint:
    if error.errno == errno.ENXIO:
        return Complaint(f"{path} is a pipe that nobody reads yet: start its reader first.")
    return about_file(path, error)


def _host(endpoint: str) -> str:
    """The address of ``1.2.3.4:80`` or ``[fd00::2]:80``."""
    return endpoint.rpartition(":")[0].strip("[]")
