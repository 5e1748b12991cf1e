"""The kernel's side of an interface: up, MTU, addresses, routes, by rtnetlink(7) and without any program.

Everything happens in the network namespace of the calling thread. Needs CAP_NET_ADMIN.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import struct
from collections.abc import Sequence

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# linux/rtnetlink.h, linux/netlink.h, linux/if_link.h, linux/if_addr.h
RTM_NEWLINK, RTM_NEWADDR, RTM_NEWROUTE = 16, 20, 24
NLM_F_REQUEST, NLM_F_ACK, NLM_F_REPLACE, NLM_F_CREATE = 0x1, 0x4, 0x100, 0x400
NLMSG_ERROR = 2
IFLA_MTU, IFLA_TXQLEN = 4, 13
IFA_ADDRESS, IFA_LOCAL = 1, 2
IFA_F_NODAD = 0x02
RTA_DST, RTA_OIF = 1, 4
RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_LINK, RTN_UNICAST = 254, 3, 253, 1
IFF_UP = 1

_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")

_QUIET = {"accept_dad": "0", "router_solicitations": "0", "accept_ra": "0", "addr_gen_mode": "1"}


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def _request(kind: int, flags: int, body: bytes, what: str) -> None:
    """Sends one message and waits for the kernel's answer. Raises OSError that says ``what`` failed."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as door:
        size = _HEADER.size + len(body)
        door.send(_HEADER.pack(size, kind, flags | NLM_F_REQUEST | NLM_F_ACK, 1, 0) + body)
        answer = door.recv(65536)
    _, answer_kind, _, _, _ = _HEADER.unpack_from(answer)
    code = -struct.unpack_from("=i", answer, _HEADER.size)[0] if answer_kind == NLMSG_ERROR else 0
    if code:
        raise OSError(code, f"{what}: {os.strerror(code)}")


def change_link(name: str, *, up: bool = False, mtu: int = 0, queue_length: int = 0) -> None:
    """Brings an interface up, sets its MTU (bytes) and its transmit queue (packets); what is 0 stays."""
    body = _LINK.pack(socket.AF_UNSPEC, 0, socket.if_nametoindex(name), IFF_UP if up else 0, IFF_UP if up else 0)
    if mtu:
        body += _attribute(IFLA_MTU, struct.pack("=I", mtu))
    if queue_length:
        body += _attribute(IFLA_TXQLEN, struct.pack("=I", queue_length))
    _request(RTM_NEWLINK, 0, body, f"interface {name}")


def bring_up(name: str) -> None:
    """The interface carries packets from now on."""
    change_link(name, up=True)


def add_address(name: str, address: Interface) -> None:
    """Gives the interface an address, without duplicate address detection; it may be there already."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    index = socket.if_nametoindex(name)
    body = _ADDRESS.pack(family, address.network.prefixlen, IFA_F_NODAD, 0, index)
    body += _attribute(IFA_LOCAL, address.packed) + _attribute(IFA_ADDRESS, address.packed)
    _request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, body, f"address {address} on {name}")


def add_route(name: str, network: Network) -> None:
    """Sends packets for ``network`` into the interface; the route may be there already."""
    family = socket.AF_INET if network.version == 4 else socket.AF_INET6
    index = socket.if_nametoindex(name)
    body = _ROUTE.pack(
        family, network.prefixlen, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_LINK, RTN_UNICAST, 0
    )  # fmt: skip
    body += _attribute(RTA_DST, network.network_address.packed) + _attribute(RTA_OIF, struct.pack("=I", index))
    _request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, body, f"route to {network} by {name}")


def quieten(name: str, *, wants_ipv6: bool) -> None:
    """Stops the kernel's own IPv6 chatter on the interface, as far as /proc/sys can be written."""
    wanted = {**_QUIET, "disable_ipv6": "0"} if wants_ipv6 else {"disable_ipv6": "1"}
    for knob, value in wanted.items():
        with (
            contextlib.suppress(OSError),
            open(f"/proc/sys/net/ipv6/conf/{name}/{knob}", "w", encoding="ascii") as file,
        ):
            file.write(value)


def kernel_side(ours: Sequence[Interface]) -> list[Interface]:
    """The kernel's address in each network that the stack has an address in: the first host that is not ours.

    A network without room for a second host has none.
    """
    taken = {interface.ip for interface in ours}
    found: dict[Network, Interface] = {}
    for interface in ours:
        network = interface.network
        if network not in found and network.prefixlen < network.max_prefixlen:
            last = int(network.broadcast_address)
            few = network.max_prefixlen - network.prefixlen <= 1  # RFC 3021, RFC 6164: both are hosts
            for number in range(int(network.network_address) + (not few), last + 1):
                ip = type(interface.ip)(number)
                if ip not in taken:
                    found[network] = ipaddress.ip_interface(f"{ip}/{network.prefixlen}")
                    break
    return list(found.values())


def configure(name: str, ours: Sequence[Interface], mtu: int = 0) -> list[Interface]:
    """Makes the stack reachable at ``ours`` through the interface; returns the addresses that the kernel got there."""
    quieten(name, wants_ipv6=any(interface.version == 6 for interface in ours))
    change_link(name, up=True, mtu=mtu)
    theirs = kernel_side(ours)
    for interface in theirs:
        add_address(name, interface)
    for interface in ours:
        if interface.network.num_addresses == 1:
            add_route(name, interface.network)
    return theirs
