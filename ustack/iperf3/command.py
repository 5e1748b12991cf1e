"""`ustack iperf3`: the options of iperf3 that matter for TCP, with iperf3's letters."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from typing import Any

from rich.console import Console

from ustack.cli.complaint import Complaint
from ustack.cli.hosts import open_host
from ustack.cli.network import add_network_arguments, wanted_addresses
from ustack.iperf3 import client, outcome
from ustack.iperf3.network import Network
from ustack.iperf3.protocol import DEFAULT_PORT, ProtocolError
from ustack.iperf3.server import Server
from ustack.iperf3.settings import DEFAULT_BLOCK, LARGEST_BLOCK, MOST_STREAMS, Test
from ustack.iperf3.streams import Interval

SUMMARY = "measure with iperf3's protocol, as client or server"


def size(text: str) -> int:
    """`128K`, `1M`, `2G` or bytes. Raises ValueError."""
    factor = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:].upper(), 1)
    return int(float(text if factor == 1 else text[:-1]) * factor)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options for a parser of one's own or of `ustack`."""
    role = parser.add_mutually_exclusive_group(required=True)
    role.add_argument("-s", "--server", action="store_true", help="wait for clients, one test at a time")
    role.add_argument("-c", "--client", metavar="HOST", help="measure against an iperf3 server")
    parser.add_argument("-p", "--port", type=int, default=DEFAULT_PORT)
    parser.add_argument("-t", "--time", type=int, default=10, metavar="SECONDS")
    parser.add_argument("-n", "--bytes", type=size, default=0, help="end after so many bytes (suffixes K M G)")
    parser.add_argument("-O", "--omit", type=int, default=0, metavar="SECONDS", help="warm-up that does not count")
    parser.add_argument("-P", "--parallel", type=int, default=1, metavar="STREAMS")
    parser.add_argument("-R", "--reverse", action="store_true", help="the server sends")
    parser.add_argument("--bidir", action="store_true", help="both send")
    parser.add_argument("-l", "--length", type=size, default=DEFAULT_BLOCK, help="bytes of one write or read")
    parser.add_argument("-C", "--congestion", default="", metavar="NAME", help="cubic, reno, bbr, ...")
    parser.add_argument("-N", "--no-delay", action="store_true", help="no Nagle")
    parser.add_argument("-M", "--set-mss", type=int, default=0)
    parser.add_argument("-w", "--window", type=size, default=0, help="socket buffers")
    parser.add_argument("-i", "--interval", type=float, default=1.0, metavar="SECONDS", help="of the reports")
    parser.add_argument("-J", "--json", action="store_true")
    parser.add_argument("-1", "--one-off", action="store_true", help="a server that ends after one test")
    parser.add_argument("-B", "--bind", default="", metavar="ADDRESS", help="of a server")
    parser.add_argument("--kernel", action="store_true", help="the kernel's sockets instead of ustack's, to compare")
    add_network_arguments(parser)


def wanted(options: argparse.Namespace) -> Test:
    """The test that the command line asks for. Raises ValueError with a sentence."""
    if not 1 <= options.parallel <= MOST_STREAMS:
        raise ValueError(f"-P is 1 to {MOST_STREAMS}")
    if not 1 <= options.length <= LARGEST_BLOCK:
        raise ValueError("-l is 1 byte to 1 MiB")
    if options.reverse and options.bidir:
        raise ValueError("-R or --bidir, not both")
    return Test(
        seconds=options.time, omit=options.omit, parallel=options.parallel, reverse=options.reverse,
        bidirectional=options.bidir, block=options.length, total=options.bytes, congestion=options.congestion,
        nodelay=options.no_delay, mss=options.set_mss, window=options.window,
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Carries out the command; 0 when the test was done, 1 with a message otherwise."""
    try:
        with ExitStack() as stack:
            network = _network(options, stack)
            return _serve(options, network, stack) if options.server else _measure(options, network)
    except (ProtocolError, OSError, ValueError) as error:
        _complain(options, str(error))
        return 1
    except KeyboardInterrupt:
        _complain(options, "interrupt - the test was ended by the user")
        return 130


def _network(options: argparse.Namespace, stack: ExitStack) -> Network:
    """The kernel's sockets, or those of a ustack that is brought up for this command."""
    if options.kernel:
        return Network()
    console = Console(highlight=False, soft_wrap=True, stderr=options.json)
    opened = stack.enter_context(open_host(options, wanted_addresses(options), console))
    return Network(opened.host, [str(interface.ip) for interface in opened.addresses])


def _serve(options: argparse.Namespace, network: Network, stack: ExitStack) -> int:
    server = Server(network, options.bind, options.port)
    stack.callback(server.close)
    if not options.json:
        names = " and ".join(network.addresses) or "every address"
        print(f"Server listening on {options.bind or names}, port {server.port}", flush=True)
    while True:
        try:
            done = server.serve_one(options.interval, _teller(options))
        except (ProtocolError, TimeoutError, ConnectionError) as error:
            _complain(options, str(error))
            if options.one_off:
                return 1
            continue
        _tell(options, done)
        if options.one_off:
            return 0


def _measure(options: argparse.Namespace, network: Network) -> int:
    test = wanted(options)
    if not options.json:
        print(f"Connecting to host {options.client}, port {options.port}\n{outcome.HEADING}", flush=True)
    done = client.measure(network, options.client, options.port, test, options.interval, _teller(options))
    _tell(options, done)
    broken = [stream.error for stream in done.run.streams if stream.error]
    if broken:
        _complain(options, broken[0])
    return 1 if broken else 0


def _teller(options: argparse.Namespace) -> Any:
    def say(parts: list[Interval]) -> None:
        if not options.json and parts[0].end - parts[0].start > 0.05:
            outcome.print_interval(parts, sys.stdout)

    return say


def _tell(options: argparse.Namespace, done: outcome.Outcome) -> None:
    if options.json:
        outcome.print_json(done, sys.stdout)
    else:
        outcome.print_summary(done, sys.stdout)


def _complain(options: argparse.Namespace, message: str) -> None:
    if options.json:
        print(json.dumps({"error": message}), flush=True)
    else:
        print(f"iperf3: error - {message}", file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """`python -m ustack.iperf3`."""
    parser = argparse.ArgumentParser(prog="ustack iperf3", description=__doc__)
    add_arguments(parser)
    try:
        return run(parser.parse_args(arguments))
    except Complaint as complaint:
        print(f"ustack iperf3: {complaint}", file=sys.stderr)
        return complaint.status
