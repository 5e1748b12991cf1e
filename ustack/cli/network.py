"""The options that ``serve``, ``get`` and ``ping`` share: the device, the addresses, what the packets suffer."""

from __future__ import annotations

import argparse
import dataclasses
import ipaddress
import os
import re
import socket
from typing import Any

from ustack.cli.complaint import Complaint
from ustack.cli.control import control
from ustack.cli.values import shown, whole
from ustack.congestion import check_name
from ustack.device.impairment import Impairment, parse_impairment
from ustack.device.link import Interface, kernel_side
from ustack.device.tun import IFNAMSIZ
from ustack.plot import draw
from ustack.settings import Settings
from ustack.wire import ipv4, ipv6

DEFAULT_TUN = "ustack0"
DEFAULT_ADDRESSES = ("198.18.0.2/24", "fd00::2/64")
"""From the block for benchmarks (RFC 2544, RFC 6815) and unique local addresses (RFC 4193): on nobody's way."""


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of every command that brings a stack up on a TUN device."""
    group = parser.add_argument_group("network")
    group.add_argument(
        "--tun", default=DEFAULT_TUN, type=device_name, metavar="NAME", help=f"name of the TUN device ({DEFAULT_TUN})"
    )
    group.add_argument(
        "--address", action="append", default=[], type=address, metavar="A/BITS",
        help=f"ustack's address, repeatable ({' '.join(DEFAULT_ADDRESSES)}); the kernel's side gets the first address "
        "of the same subnet",
    )  # fmt: skip
    group.add_argument("--mtu", type=mtu, default=1500, metavar="BYTES", help="largest packet on the device (1500)")
    group.add_argument("--pcap", metavar="FILE", help="write every packet to FILE, for Wireshark")
    group.add_argument(
        "--impair", type=impairment, metavar="WORDS",
        help="a bad link, both ways: loss=3%%,delay=20ms,duplicate=1%%,reorder=1%%,corrupt=1%%,rate=10Mbit,seed=7",
    )  # fmt: skip
    group.add_argument(
        "--trace", action="store_true",
        help="tell on standard error what the stack does and why, one line for each event",
    )  # fmt: skip
    group.add_argument(
        "--trace-as", choices=("text", "json", "packets"), default="text",
        help="with --trace: lines of text, lines of JSON, or only a line for each packet (text)",
    )  # fmt: skip
    group.add_argument(
        "--plot", metavar="FILE", type=picture,
        help="draw the largest connection at the end: cwnd, in flight, RTT, rates; FILE ends in .svg, .png or .html",
    )  # fmt: skip
    group.add_argument("--ladder", action="store_true", help="draw each TCP connection when it is over")
    group.add_argument(
        "--sysctl", action="append", default=[], type=sysctl, metavar="NAME=VALUE",
        help="a setting of the stack, named as Linux's sysctl, repeatable: tcp_sack=0, tcp_congestion_control=reno",
    )  # fmt: skip
    group.add_argument(
        "--control", type=control, metavar="FILE:CLASS",
        help="your own congestion control, for every connection of ustack's: a subclass of "
        "ustack.congestion.CongestionControl",
    )  # fmt: skip


def address(text: str) -> Interface:
    """An address with its prefix, fit for a host on a TUN device."""
    try:
        found = ipaddress.ip_interface(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{shown(text)} is no address; write it like 198.18.0.2/24 or fd00::2/64"
        ) from None
    if found.version == 6 and found.ip.ipv4_mapped is not None:
        raise argparse.ArgumentTypeError(f"{shown(text)} is IPv4 in disguise; write {found.ip.ipv4_mapped}/24")
    bits = found.max_prefixlen
    example = "198.18.0.2/24" if found.version == 4 else "fd00::2/64"
    if found.network.prefixlen == bits:
        raise argparse.ArgumentTypeError(
            f"{text} leaves no address for the kernel's side; add a shorter prefix, like {example}"
        )
    network = found.network
    is_edge = network.prefixlen < bits - 1 and (
        found.ip == network.network_address or (found.version == 4 and found.ip == network.broadcast_address)
    )
    if is_edge or found.ip.is_multicast or found.ip.is_loopback or found.ip.is_unspecified or found.ip.is_link_local:
        raise argparse.ArgumentTypeError(f"{text} cannot be a host's address here; take one like {example}")
    return found


def mtu(text: str) -> int:
    """Bytes; at least what IPv4 needs (RFC 791). What IPv6 needs is asked of the addresses."""
    return whole(ipv4.MINIMUM_MTU, 65535, "MTU")(text)


def device_name(text: str) -> str:
    """A name that Linux takes for an interface (dev_valid_name)."""
    if not 0 < len(os.fsencode(text)) < IFNAMSIZ or text in (".", "..") or re.search(r"[/:\s\0%]", text):
        raise argparse.ArgumentTypeError(f"{shown(text)} is no name for a device; it has 1 to {IFNAMSIZ - 1} letters")
    return text


def impairment(text: str) -> Impairment:
    """``loss=3%,delay=20ms,...``."""
    try:
        return parse_impairment(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def picture(text: str) -> str:
    """The name of a picture, which can be drawn."""
    try:
        draw.check_target(text)
    except Complaint as complaint:
        raise argparse.ArgumentTypeError(str(complaint).rstrip(".")) from None
    return text


def chosen_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that ``--control`` and ``--sysctl`` ask for; what is named last wins."""
    own = {"tcp_congestion_control": options.control} if options.control else {}
    return {**own, **dict(options.sysctl)}


def sysctl(text: str) -> tuple[str, Any]:
    """``name=value`` with the name of a field of Settings, ``net.ipv4.`` in front or not."""
    name, equals, value = text.partition("=")
    name = name.strip().removeprefix("net.ipv4.").removeprefix("net.core.")
    defaults: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(Settings)}
    if name not in defaults or not equals:
        raise argparse.ArgumentTypeError(f"{shown(text)}: no such setting; write NAME=VALUE, like tcp_sack=0")
    default = defaults[name]
    wanted: Any
    words = re.split(r"[\s,]+", value.strip())
    try:
        if isinstance(default, tuple):
            if len(words) != len(default):
                raise ValueError
            wanted = tuple(int(word) for word in words)
        else:
            wanted = int(value) if isinstance(default, int) else value.strip()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{shown(text)}: the value is of another kind, like {default!r}") from None
    try:
        Settings().replace(**{name: wanted})
        if name == "tcp_congestion_control":
            check_name(wanted)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{shown(text)}: {error}") from None
    return name, wanted


def resolve(host: str, port: int, addresses: list[Interface]) -> tuple[int, tuple[str, int]]:
    """Family and numeric address of ``host``, a name or an address, that one of our addresses can talk to.

    Names are asked of the machine's resolver. Raises Complaint.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        example = kernel_side(addresses)
        instead = f"; write an address, like {example[0].ip}" if example else ""
        raise Complaint(f"the name {shown(host)} has no address here{instead}.", 2) from None
    ours = {socket.AF_INET if interface.version == 4 else socket.AF_INET6 for interface in addresses}
    for family, _, _, _, target in found:
        if family in ours:
            return int(family), (str(target[0]).partition("%")[0], port)
    version = 4 if found[0][0] == socket.AF_INET else 6
    raise Complaint(f"{shown(host)} has an address of IPv{version} only, and ustack has no --address of that kind.", 2)


def check_kernel(options: argparse.Namespace) -> None:
    """``--kernel`` brings no stack up. Raises Complaint when something was said about one."""
    if options.kernel:
        for name in ("address", "pcap", "impair", "trace", "ladder", "sysctl", "plot", "control"):
            if getattr(options, name):
                raise Complaint(f"--{name} is about ustack, which --kernel leaves out: drop one of them.", 2)


def wanted_addresses(options: argparse.Namespace) -> list[Interface]:
    """The addresses asked for; without any, those of the defaults that are free and fit the MTU. Raises Complaint."""
    takes_ipv6 = options.mtu >= ipv6.MINIMUM_MTU
    if not options.address:
        defaults = [address(text) for text in DEFAULT_ADDRESSES]
        defaults = [interface for interface in defaults if interface.version == 4 or takes_ipv6]
        free = [interface for interface in defaults if not _taken(interface)]
        if free:
            return free
        raise _complaint(defaults[0])
    seen = set()
    for interface in options.address:
        if interface.ip in seen:
            raise Complaint(f"--address {interface} is given twice.", 2)
        seen.add(interface.ip)
        if interface.version == 6 and not takes_ipv6:
            raise Complaint(f"--mtu {options.mtu} is too small for {interface}: IPv6 needs {ipv6.MINIMUM_MTU}.", 2)
        if _taken(interface):
            raise _complaint(interface)
    return list(options.address)


def _taken(interface: Interface) -> str:
    """The kernel's address by which it reaches the subnet already, by another device; "" when it does not."""
    family = socket.AF_INET if interface.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(interface.ip), 9))
            here = ipaddress.ip_address(probe.getsockname()[0].partition("%")[0])
        except OSError:
            return ""  # no route
    return str(here) if here in interface.network else ""


def _complaint(interface: Interface) -> Complaint:
    return Complaint(
        f"this machine is in the subnet of {interface} already, as {_taken(interface)}: another program (another "
        "ustack?) has it. Choose another with --address, like 198.18.7.2/24 or fd07::2/64, and another --tun."
    )
