"""``ustack ping``: echo requests from ustack's ICMP to the kernel's side."""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

from rich.console import Console

from ustack.cli.hosts import Opened, open_host
from ustack.cli.network import add_network_arguments, resolve, wanted_addresses
from ustack.cli.values import time as seconds
from ustack.cli.values import whole
from ustack.events import Event, Owner
from ustack.icmp import EchoReply, IcmpEndpoint
from ustack.units import SECOND
from ustack.wire.address import format_address, parse_address

MOST_BYTES = 65_507
"""65 535 less the headers of IPv4 and ICMP."""


EXAMPLES = """\
examples, in a network of their own (sudo unshare -n bash):
  ustack ping 198.18.0.1
  ustack ping fd00::1 -c 100 -i 0.01 --impair loss=10%,delay=5ms
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command, with ping's letters."""
    parser.epilog = EXAMPLES
    parser.add_argument(
        "destination", metavar="ADDRESS", help="whom to ask: 198.18.0.1 or fd00::1 is the kernel's side"
    )
    parser.add_argument(
        "-c",
        "--count",
        type=whole(0, 1 << 53, "count"),
        default=4,
        help="how many requests to send (4); 0: until Ctrl-C",
    )
    parser.add_argument(
        "-i", "--interval", type=seconds(0.0), default=1.0, metavar="SECONDS", help="time between requests (1)"
    )
    parser.add_argument(
        "-s",
        "--size",
        type=whole(0, MOST_BYTES, "size"),
        default=56,
        metavar="BYTES",
        help="payload size in bytes (56)",
    )
    parser.add_argument(
        "-W", "--wait", type=seconds(0.0), default=2.0, metavar="SECONDS", help="wait so long for the last reply (2)"
    )
    add_network_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """0 when at least one reply came, as ping does."""
    addresses = wanted_addresses(options)
    _, (target, _) = resolve(options.destination, 0, addresses)
    console = Console(highlight=False, soft_wrap=True)
    with open_host(options, addresses, console) as opened:
        pinger = Pinger(opened, parse_address(target), options.size, console)
        console.print(f"PING {target}: {options.size} bytes of data, by ustack on {opened.name}")
        try:
            pinger.run(options.count, round(options.interval * SECOND), round(options.wait * SECOND))
        except KeyboardInterrupt:
            console.print()
        return pinger.report()


class Pinger(Owner):
    """Sends echo requests and takes the replies."""

    def __init__(self, opened: Opened, target: bytes, size: int, console: Console) -> None:
        self._driver: Any = opened.host.driver
        self._target = target
        self._data = os.urandom(size)
        self._console = console
        self._sent_at: dict[int, int] = {}
        self._times: list[int] = []
        self._sent = 0
        self._begun = time.monotonic_ns()
        with self._driver.lock:
            self._endpoint: IcmpEndpoint = opened.host.stack.icmp_open(
                bytes(16), os.getpid() & 0xFFFF, self._driver.now()
            )
            self._endpoint.owner = self

    def on_event(self, event: Event) -> None:
        """Replies are looked for when somebody waits."""

    def run(self, count: int, interval: int, patience: int) -> None:
        """``count`` requests (0: for ever), ``interval`` ns apart; then waits for the last reply."""
        driver = self._driver
        with driver.lock:
            due = driver.now()
            while not count or self._sent < count:
                self._send()
                due += interval
                self._collect(due, stop_early=self._sent == count)
            self._collect(driver.now() + patience, stop_early=True)

    def _send(self) -> None:
        now = self._driver.now()
        self._sent += 1
        self._sent_at[self._sent & 0xFFFF] = now
        self._endpoint.send_echo(self._target, self._sent & 0xFFFF, self._data, now)
        self._driver.flush()

    def _collect(self, until: int, stop_early: bool) -> None:
        """Takes replies until the instant ``until``, or until none is missing."""
        while not (stop_early and not self._sent_at):
            if not self._driver.wait(self._endpoint.readable, until, self):
                return
            while (reply := self._endpoint.receive()) is not None:
                self._take(reply)
            while (failure := self._endpoint.receive_failure()) is not None:
                self._sent_at.pop(failure.sequence, None)
                why = os.strerror(failure.error.code_errno)
                self._console.print(f"from {format_address(failure.source)}: icmp_seq={failure.sequence} {why}")

    def _take(self, reply: EchoReply) -> None:
        sent_at = self._sent_at.pop(reply.sequence, None)
        if sent_at is None:
            return
        elapsed = reply.at - sent_at
        self._times.append(elapsed)
        note = "" if reply.data == self._data else ", with other data than was sent"
        self._console.print(
            f"{len(reply.data) + 8} bytes from {format_address(reply.source)}: icmp_seq={reply.sequence} "
            f"ttl={reply.ttl} time={elapsed / 1e6:.3f} ms{note}"
        )

    def report(self) -> int:
        """The closing lines."""
        times = self._times
        lost = 100 * (self._sent - len(times)) // max(self._sent, 1)
        self._console.print(f"{self._sent} sent, {len(times)} received, {lost}% lost")
        if times:
            low, mean, high = min(times) / 1e6, sum(times) / len(times) / 1e6, max(times) / 1e6
            self._console.print(f"round trip min/mean/max {low:.3f}/{mean:.3f}/{high:.3f} ms")
        return 0 if times else 1
