"""``ustack serve``: an HTTP server whose TCP, IP and ICMP are ustack."""

from __future__ import annotations

import argparse
import ipaddress
import os
import shlex
import signal
import socket
import threading
import time
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from ustack.cli.complaint import Complaint
from ustack.cli.hosts import Opened, open_host
from ustack.cli.httpd.server import FileServer
from ustack.cli.network import add_network_arguments, wanted_addresses
from ustack.cli.text import host_text, time_text
from ustack.cli.values import port, shown
from ustack.cli.version import version_text
from ustack.device.link import Interface, kernel_side

BACKLOG = 4096
_WHOLE_UID_MAP = ["0", "0", "4294967295"]
"""Of a process in no user namespace but the first."""
_ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


EXAMPLES = """\
examples, in a network of their own (sudo unshare -n bash):
  ustack serve . &                               then: curl http://198.18.0.2/
  ustack serve . --impair loss=3%,delay=20ms     over a bad link
  ustack serve . --ladder --pcap all.pcap        draw each connection, and keep the packets
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.epilog = EXAMPLES
    parser.add_argument("directory", metavar="DIR", help="the folder to serve; uploads (PUT) are stored in it")
    parser.add_argument("--port", type=port, default=80, metavar="PORT", help="TCP port to listen on (80)")
    parser.add_argument("--read-only", action="store_true", help="refuse uploads")
    parser.add_argument("-q", "--quiet", action="store_true", help="no line for each request")
    add_network_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Serves until SIGINT, SIGTERM or SIGHUP; then ends at once, with status 0. SIGUSR1: says what is going on."""
    directory = Path(options.directory)
    try:
        is_folder = directory.is_dir()
    except (OSError, ValueError):
        is_folder = False
    if not is_folder:
        raise Complaint(f"{shown(options.directory)} is no folder. Name the folder whose files are to be served.", 2)
    console = Console(highlight=False, soft_wrap=True)
    addresses = wanted_addresses(options)
    old_mask = signal.pthread_sigmask(
        signal.SIG_BLOCK, _ENDING | {signal.SIGUSR1}
    )  # threads inherit it: only sigwait() sees them
    try:
        with open_host(options, addresses, console) as opened:
            _serve(options, opened, directory, console)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old_mask)
    return 0


def _serve(options: argparse.Namespace, opened: Opened, directory: Path, console: Console) -> None:
    host = opened.host
    if any(interface.version == 6 for interface in opened.addresses):
        both = any(interface.version == 4 for interface in opened.addresses)
        where = ("::", options.port)
        listener = host.create_server(where, family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=both)
    else:
        listener = host.create_server(("", options.port), backlog=BACKLOG)
    begun = time.monotonic_ns()
    requests = [0]

    def log(line: str) -> None:
        requests[0] += 1
        if not options.quiet:
            opened.out.put(f"{time.strftime('%H:%M:%S')} {line}")

    server = FileServer(listener, directory, log, read_only=options.read_only)
    failure: list[BaseException] = []
    main = threading.main_thread()

    def accept() -> None:
        try:
            server.run()
        except BaseException as error:
            failure.append(error)
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=accept, name="accept", daemon=True).start()
    assert threading.current_thread() is main, "signals come to the main thread"
    _say_what_next(options, opened, directory, console)
    while signal.sigwait(_ENDING | {signal.SIGUSR1}) is signal.SIGUSR1:
        opened.out.put(opened.status())
    server.stop()
    host.close()
    opened.out.put(
        f"\nended after {time_text(time.monotonic_ns() - begun)}: {requests[0]} requests; {opened.traffic()}"
    )
    if failure:
        raise failure[0] if not isinstance(failure[0], OSError) else Complaint(f"{failure[0].strerror}.")


def _say_what_next(options: argparse.Namespace, opened: Opened, directory: Path, console: Console) -> None:
    addresses: list[Interface] = opened.addresses
    name = _example(directory)
    urls = ["http://" + _host(interface.ip, options.port) for interface in addresses]
    console.print(version_text(), style="bold", markup=False)
    console.print(f"serving {directory.resolve()} on the TUN device {opened.name}:\n", markup=False)
    theirs = {interface.network: interface.ip for interface in kernel_side(addresses)}
    for url, interface in zip(urls, addresses, strict=True):
        far = theirs[interface.network]
        console.print(f"  [bold green]{escape(f'{url}/'.ljust(32))}[/bold green] (the kernel's side is {far})")
    console.print("\nTry in another terminal:\n")
    enter = _way_in()
    if enter:
        console.print(f"  {enter:<52} # into this network namespace, first", markup=False)
    tries = [(f"curl {_quoted(urls[0])}/", "the list of files")]
    if name:
        tries.append((f"curl -o /dev/null {_quoted(urls[-1] + '/' + name)}", "download one"))
    if not options.read_only:
        tries.append((f"curl -T FILE {_quoted(urls[0])}/", "upload one"))
    tries.append((f"ping {addresses[0].ip}", "the echo replies are ustack's too"))
    for command, meaning in tries:
        console.print(f"  {command:<52} # {meaning}", markup=False)
    console.print("\nCtrl-C ends it." + ("" if options.quiet else " Requests:"))


def _host(ip: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> str:
    if port != 80:
        return host_text(str(ip), port)
    return f"[{ip}]" if ip.version == 6 else str(ip)


def _quoted(url: str) -> str:
    return f"'{url}'" if "[" in url else shlex.quote(url)


def _example(directory: Path) -> str:
    """A file to try with: the first that has a plain name."""
    names = sorted(entry.name for entry in os.scandir(directory) if entry.is_file())
    return next((name for name in names if name.isascii() and name[0] != "." and _is_plain(name)), "")


def _is_plain(name: str) -> bool:
    return name.replace(".", "").replace("-", "").replace("_", "").isalnum()


def _way_in() -> str:
    """How another terminal gets into this process' network namespace; "" when it is the machine's own."""
    try:
        if os.stat("/proc/self/ns/net").st_ino == os.stat("/proc/1/ns/net").st_ino:
            return ""
    except OSError:  # who may not look at process 1 is in a namespace, or is not root
        if os.geteuid() != 0:
            return ""
    try:
        in_user_namespace = Path("/proc/self/uid_map").read_text().split() != _WHOLE_UID_MAP
    except OSError:
        in_user_namespace = False
    if in_user_namespace:
        return f"nsenter -t {os.getpid()} -U --preserve-credentials -n"
    return f"sudo nsenter -t {os.getpid()} -n"
