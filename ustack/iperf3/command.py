"""`ustack iperf3`: the options of iperf3 that matter for TCP, with iperf3's letters."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from rich.console import Console

from ustack.cli.complaint import Complaint
from ustack.cli.hosts import open_host
from ustack.cli.network import add_network_arguments, check_kernel, wanted_addresses
from ustack.cli.values import port, shown, size, time, whole
from ustack.device.link import Interface
from ustack.iperf3 import client, outcome
from ustack.iperf3.network import Network
from ustack.iperf3.protocol import BROKEN, DEFAULT_PORT, ProtocolError
from ustack.iperf3.server import Server
from ustack.iperf3.settings import DEFAULT_BLOCK, LARGEST_BLOCK, LONGEST_SECONDS, MOST_STREAMS, Test
from ustack.iperf3.streams import Interval

EXAMPLES = """\
examples, in a network of their own (sudo unshare -n bash), with iperf3 -s on the kernel's side:
  ustack iperf3 -c 198.18.0.1 -t 5
  ustack iperf3 -c 198.18.0.1 -R --sysctl tcp_congestion_control=bbr
  ustack iperf3 -c 198.18.0.1 --control mine.py:Mine --impair delay=5ms,rate=50Mbit
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options for a parser of one's own or of `ustack`."""
    parser.epilog = EXAMPLES
    role = parser.add_mutually_exclusive_group(required=True)
    role.add_argument("-s", "--server", action="store_true", help="wait for clients, one test at a time")
    role.add_argument("-c", "--client", metavar="HOST", help="measure against an iperf3 server")
    parser.add_argument("-p", "--port", type=port, default=DEFAULT_PORT, help=f"the server's port ({DEFAULT_PORT})")
    parser.add_argument("-i", "--interval", type=time(0.1, 60, none=True), default=1.0, metavar="SECONDS",
                        help="time between reports (1); 0: no reports")  # fmt: skip
    parser.add_argument("-J", "--json", action="store_true", help="report in JSON")
    parser.add_argument(
        "--kernel", action="store_true", help="use the kernel's sockets instead of ustack's, to compare"
    )
    server = parser.add_argument_group("server")
    server.add_argument("-1", "--one-off", action="store_true", help="end after one test")
    server.add_argument("-B", "--bind", default="", metavar="ADDRESS", help="listen on this address only")
    client = parser.add_argument_group("client")
    client.add_argument("-t", "--time", type=whole(1, LONGEST_SECONDS, "time"), default=10, metavar="SECONDS",
                        help="duration of the test (10)")  # fmt: skip
    end = client.add_mutually_exclusive_group()
    end.add_argument(
        "-n", "--bytes", type=size(1, 1 << 53), default=0, help="end after so many bytes, such as 100M (K, M, G)"
    )
    end.add_argument("-k", "--blockcount", type=size(1, 1 << 32), default=0, metavar="BLOCKS",
                     help="end after so many blocks of -l bytes")  # fmt: skip
    client.add_argument("-O", "--omit", type=whole(0, 600, "time"), default=0, metavar="SECONDS",
                        help="leave the first SECONDS out of the result")  # fmt: skip
    client.add_argument("-P", "--parallel", type=whole(1, MOST_STREAMS, "number of streams"), default=1,
                        metavar="STREAMS", help="how many connections send at the same time (1)")  # fmt: skip
    way = client.add_mutually_exclusive_group()
    way.add_argument("-R", "--reverse", action="store_true", help="the server sends")
    way.add_argument("--bidir", action="store_true", help="both send")
    client.add_argument("-l", "--length", type=size(1, LARGEST_BLOCK), default=DEFAULT_BLOCK,
                        help="size of one write or read in bytes (128K)")  # fmt: skip
    client.add_argument(
        "-C",
        "--congestion",
        default="",
        metavar="NAME",
        help="congestion control, which both ends must have: cubic, reno, bbr",
    )
    client.add_argument("-N", "--no-delay", action="store_true", help="send small segments at once (TCP_NODELAY)")
    client.add_argument("-M", "--set-mss", type=whole(88, 32767, "segment size"), default=0, metavar="BYTES",
                        help="largest segment in bytes (TCP_MAXSEG)")  # fmt: skip
    client.add_argument("-w", "--window", type=size(1, 1 << 30), default=0, help="size of the socket buffers in bytes")
    add_network_arguments(parser)


CLIENT_ONLY = ("time", "bytes", "blockcount", "omit", "parallel", "reverse", "bidir", "length", "congestion",
               "no_delay", "set_mss", "window")  # fmt: skip
SERVER_ONLY = ("one_off", "bind")


def check_role(options: argparse.Namespace, default: Callable[[str], Any]) -> None:
    """Raises Complaint for an option of the other role, which would have no effect."""
    names, role = (CLIENT_ONLY, "client") if options.server else (SERVER_ONLY, "server")
    for name in names:
        if getattr(options, name) != default(name):
            raise Complaint(f"--{name.replace('_', '-')} is for the {role} only.", 2)


def wanted(options: argparse.Namespace) -> Test:
    """The test that the command line asks for."""
    return Test(
        seconds=options.time, omit=options.omit, parallel=options.parallel, reverse=options.reverse,
        bidirectional=options.bidir, block=options.length, total=options.bytes or options.blockcount * options.length,
        blocks=options.blockcount, congestion=options.congestion, nodelay=options.no_delay, mss=options.set_mss,
        window=options.window,
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Carries out the command; 0 when the test was done, 1 with a message otherwise."""
    addresses = check(options)
    try:
        with ExitStack() as stack:
            network = _network(options, addresses, stack)
            return _serve(options, network, stack) if options.server else _measure(options, network)
    except (ProtocolError, OSError) as error:
        _complain(options, error)
        return 1
    except KeyboardInterrupt:
        _complain(options, "interrupt - the test was ended by the user")
        raise


def check(options: argparse.Namespace) -> list[Interface]:
    """Our addresses, once all that the command line says makes sense. Raises Complaint."""
    defaults = argparse.ArgumentParser()
    add_arguments(defaults)
    check_role(options, defaults.get_default)
    check_kernel(options)
    addresses = [] if options.kernel else wanted_addresses(options)
    network = Network(None, addresses)
    if options.congestion and not network.has_congestion(options.congestion):
        name, names = shown(options.congestion), network.congestions()
        raise Complaint(f"there is no congestion control {name} here: -C takes {names}.", 2)
    if options.client or options.bind:
        network.resolve(options.client or options.bind, options.port)
    return addresses


def _network(options: argparse.Namespace, addresses: list[Interface], stack: ExitStack) -> Network:
    """The kernel's sockets, or those of a ustack that is brought up for this command."""
    if options.kernel:
        return Network()
    console = Console(highlight=False, soft_wrap=True, stderr=options.json)
    opened = stack.enter_context(open_host(options, addresses, console))
    return Network(opened.host, opened.addresses)


def _serve(options: argparse.Namespace, network: Network, stack: ExitStack) -> int:
    server = Server(network, options.bind, options.port)
    stack.callback(server.close)
    if not options.json:
        names = " and ".join(network.addresses) or "every address"
        print(f"Server listening on {options.bind or names}, port {server.port}", flush=True)
    while True:
        try:
            done = server.serve_one(options.interval, _teller(options))
        except BROKEN as error:
            _complain(options, error)
            if options.one_off:
                return 1
            continue
        _tell(options, done)
        if isinstance(done.ended, KeyboardInterrupt):
            raise done.ended
        if options.one_off:
            return 1 if done.ended else 0


def _measure(options: argparse.Namespace, network: Network) -> int:
    test = wanted(options)
    if not options.json:
        print(f"Connecting to host {options.client}, port {options.port}\n{outcome.HEADING}", flush=True)
    done = client.measure(network, options.client, options.port, test, options.interval, _teller(options))
    _tell(options, done)
    if done.ended is not None:
        raise done.ended
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
    if isinstance(done.ended, ProtocolError):
        _complain(options, done.ended)


def _complain(options: argparse.Namespace, error: object) -> None:
    message = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    if isinstance(error, ConnectionRefusedError):
        message = f"{options.client} port {options.port}: {message}: no iperf3 server listens there"
    if options.json:
        print(json.dumps({"error": message}), flush=True)
    else:
        print(f"iperf3: error - {message}", file=sys.stderr, flush=True)
