"""Where iperf3's sockets come from: a ustack host, or the kernel (`--kernel`: to compare, and to test)."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ustack.cli.complaint import Complaint
from ustack.cli.network import resolve
from ustack.cli.values import shown
from ustack.congestion import ALGORITHMS
from ustack.device.link import Interface
from ustack.iperf3.settings import Test


class Network:
    """Makes sockets of one stack. `host` is a `ustack.Host` that has `addresses`, or None for the kernel."""

    def __init__(self, host: Any = None, addresses: Sequence[Interface] = ()) -> None:
        self.host = host
        self.interfaces = list(addresses)
        self.addresses = [str(interface.ip) for interface in addresses]

    def has_congestion(self, name: str) -> bool:
        """Whether streams can have the congestion control ``name``."""
        if self.interfaces:
            return name in ALGORITHMS
        with socket.socket(socket.AF_INET) as probe:
            try:
                prepare(probe, Test(congestion=name))
            except (OSError, ValueError):
                return False
        return True

    def congestions(self) -> str:
        """The names that there are."""
        if self.interfaces:
            return ", ".join(sorted(ALGORITHMS))
        try:
            return ", ".join(Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split())
        except OSError:
            return "those of the kernel"

    def resolve(self, address: str, port: int) -> tuple[int, Any]:
        """Family and socket address of an address or a name. Raises Complaint for a name that nobody knows."""
        if self.interfaces:
            return resolve(address, port, self.interfaces)
        try:
            family, _, _, _, target = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
        except (OSError, UnicodeError):
            raise Complaint(f"the name {shown(address)} has no address here.", 2) from None
        return family, target

    def _socket(self, family: int) -> Any:
        make = socket.socket if self.host is None else self.host.socket
        return make(family, socket.SOCK_STREAM)

    def connect(self, address: str, port: int, test: Test | None = None) -> Any:
        """A connected socket; a test's options are set before, as they shape the handshake. Raises OSError."""
        family, target = self.resolve(address, port)
        flow = self._socket(family)
        try:
            if test is not None:
                prepare(flow, test)
            flow.connect(target)
        except BaseException:
            flow.close()
            raise
        return flow

    def listen(self, address: str, port: int) -> Any:
        """A listening socket; an empty address is every address of both versions where the stack has both."""
        if address:
            return self._listener(*self.resolve(address, port))
        try:
            return self._listener(socket.AF_INET6, ("::", port))
        except OSError:
            return self._listener(socket.AF_INET, ("0.0.0.0", port))  # a machine without IPv6

    def _listener(self, family: int, target: Any) -> Any:
        listener = self._socket(family)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                with contextlib.suppress(OSError):
                    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listener.bind(target)
            listener.listen(256)
        except BaseException:
            listener.close()
            raise
        return listener


def prepare(flow: Any, test: Test) -> None:
    """A stream's options. Raises OSError for a congestion control that the stack does not have."""
    if test.congestion:
        flow.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, test.congestion.encode())
    if test.nodelay:
        flow.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if test.mss:
        flow.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, test.mss)
    if test.window:
        flow.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, test.window)
        flow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, test.window)
