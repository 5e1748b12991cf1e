"""The sockets of a script as the wire sees them: which packet belongs to which, and which is under test."""

from __future__ import annotations

import ipaddress
from typing import Final

from ustack.packetdrill.codec import ICMP, ICMP6, TCP, UDP, Address, Seen
from ustack.packetdrill.config import Config
from ustack.packetdrill.flow import Flow
from ustack.packetdrill.tree import IcmpPacket, Packet, TcpPacket, UdpPacket

FIRST_REMOTE_PORT: Final = 52001
"""The port of the first client that the runner plays; the next one has the next."""


class Peer:
    """One socket, or a connection that no accept() has taken yet, with its numbers."""

    def __init__(self, protocol: int, local_port: int = 0, remote_port: int = 0) -> None:
        self.protocol = protocol
        self.local_port = local_port
        self.remote_port = remote_port
        """0: anybody's, not known yet."""
        self.listening = False
        self.label: int | None = None
        """The script's descriptor."""
        self.fd: int | None = None
        self.flow = Flow()
        self.is_child = False

    def matches(self, seen: Seen) -> bool:
        """Did this socket send the packet?"""
        if seen.protocol != self.protocol:
            return False
        return self.local_port in (0, seen.sport) and self.remote_port in (0, seen.dport)


class Peers:
    """All of them, in order of their making."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.all: list[Peer] = []
        self.current: Peer | None = None
        self._next_port = FIRST_REMOTE_PORT
        self.local = ipaddress.ip_address(config.local).packed
        self.remote = ipaddress.ip_address(config.remote).packed

    def add(self, peer: Peer) -> Peer:
        self.all.append(peer)
        self.current = peer
        return peer

    def labelled(self, label: int) -> Peer | None:
        return next((peer for peer in reversed(self.all) if peer.label == label), None)

    def newest_child(self) -> Peer | None:
        """The latest connection that waits for accept()."""
        return next((peer for peer in reversed(self.all) if peer.is_child and peer.label is None), None)

    def for_inbound(self, packet: Packet) -> Peer:
        """Whom an injected packet concerns: it becomes the socket under test."""
        protocol = UDP if isinstance(packet, UdpPacket) else TCP
        if isinstance(packet, IcmpPacket):
            return self.current or self.add(Peer(TCP, self.config.bind_port, self._port()))
        if packet.ports is not None:
            return self._by_ports(protocol, packet.ports.destination, packet.ports.source)
        current = self.current
        if current is None:
            return self.add(Peer(protocol, self.config.bind_port, self._port()))
        if current.listening:
            child = Peer(protocol, current.local_port, self._port())
            child.is_child = True
            return self.add(child)
        if not current.remote_port:
            current.remote_port = self._port()
        return current

    def for_outbound(self, packet: Packet) -> Peer | None:
        """Whose packet is expected."""
        if packet.ports is not None:
            protocol = UDP if isinstance(packet, UdpPacket) else TCP
            return self._by_ports(protocol, packet.ports.source, packet.ports.destination)
        return self.current

    def _port(self) -> int:
        self._next_port += 1
        return self._next_port - 1

    def _by_ports(self, protocol: int, local: int, remote: int) -> Peer:
        for peer in reversed(self.all):
            if (
                peer.protocol == protocol
                and not peer.listening
                and (peer.local_port, peer.remote_port) == (local, remote)
            ):
                self.current = peer
                return peer
        current = self.current
        if (
            current is not None
            and not current.listening
            and current.protocol == protocol
            and current.local_port in (0, local)
            and current.remote_port in (0, remote)
        ):
            current.local_port, current.remote_port = local, remote
            return current
        made = Peer(protocol, local, remote)
        made.is_child = any(peer.listening and peer.local_port == local for peer in self.all)
        return self.add(made)

    def owns(self, expected: Packet, peer: Peer | None, seen: Seen) -> bool:
        """Is ``seen`` a packet of the socket under test? Learns the port that the stack chose."""
        if (seen.source != self.local and expected.ip.source is None) or seen.fragment:
            return False
        if isinstance(expected, IcmpPacket):
            return seen.protocol in (ICMP, ICMP6) and seen.destination == self.remote and self._is_answer(seen)
        if peer is None or (seen.destination != self.remote and expected.ip.destination is None):
            return False
        if not peer.matches(seen):
            return False
        if not peer.local_port:
            if any(other is not peer and other.local_port == seen.sport and other.matches(seen) for other in self.all):
                return False
            peer.local_port = seen.sport
        if not peer.remote_port and isinstance(expected, TcpPacket):
            peer.remote_port = seen.dport
        return True

    def _is_answer(self, seen: Seen) -> bool:
        """Not the stack's own neighbour and router discovery."""
        return seen.protocol == ICMP or seen.icmp_type not in (130, 131, 132, 133, 134, 135, 136, 143)

    def address(self, peer: Peer, packet: Packet) -> Address:
        """The ends of a packet to be injected."""
        source = ipaddress.ip_address(packet.ip.source).packed if packet.ip.source else self.remote
        destination = ipaddress.ip_address(packet.ip.destination).packed if packet.ip.destination else self.local
        ends = Address(source, destination, peer.remote_port, peer.local_port or self.config.bind_port)
        ip = packet.ip
        ends.tos = ip.tos or 0
        if ip.ecn is not None:
            ends.tos = ends.tos & ~3 | {"noecn": 0, "ect1": 1, "ect0": 2, "ce": 3, "ect01": 2}[ip.ecn]
        ends.ttl = 255 if ip.ttl is None else ip.ttl
        ends.flow_label = ip.flow_label or 0
        ends.bad_checksum = ip.bad_checksum
        return ends
