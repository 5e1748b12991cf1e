"""IP of one host: own addresses, whose packets are taken, reassembly, fragmenting, path MTUs.

Sans-IO. In: :meth:`Ip.accept` for whatever did not find a TCP connection by its key. Out: :meth:`Ip.send` fills
the host's outbox, which the Stack empties. ICMP stands above as ``Ip.icmp``, since IP itself must answer with it at
times.
"""

from __future__ import annotations

import errno
from hashlib import blake2b
from typing import Final

from ustack.drops import Drop
from ustack.entropy import Entropy
from ustack.errors import from_errno
from ustack.hoststate import HostState
from ustack.icmp import Icmp
from ustack.network import Network, Outgoing
from ustack.settings import Settings
from ustack.sockopts import PMTUDISC_DO, PMTUDISC_INTERFACE, PMTUDISC_OMIT, PMTUDISC_PROBE, PMTUDISC_WANT
from ustack.stack.fragments import Reassembly, Verdict, whole_packet
from ustack.stack.pmtu import PathMtus
from ustack.units import SECOND
from ustack.wire import ipv4, ipv6
from ustack.wire.address import (
    BROADCAST,
    V4_PREFIX,
    in_prefix,
    is_link_local,
    is_loopback,
    is_multicast,
    is_unicast,
    is_v4,
)
from ustack.wire.frame import Datagram, Fragment, Frame, IcmpMessage, OtherPacket, RawTransmit, Refused
from ustack.wire.parse import parse_packet

DEFAULT_MTU: Final = 1500
_ID_BUCKETS: Final = 1024
_COUNTED: Final[dict[Drop, tuple[str, ...]]] = {
    Drop.TCP_TRUNCATED: ("TcpInSegs",),
    Drop.TCP_DATA_OFFSET: ("TcpInSegs",),
    Drop.TCP_CHECKSUM: ("TcpInSegs", "TcpInErrs", "TcpInCsumErrors"),
    Drop.UDP_TRUNCATED: ("UdpInErrors",),
    Drop.UDP_LENGTH: ("UdpInErrors",),
    Drop.UDP_CHECKSUM: ("UdpInErrors", "UdpInCsumErrors"),
    Drop.ICMP_TRUNCATED: ("IcmpInMsgs", "IcmpInErrors"),
    Drop.ICMP_CHECKSUM: ("IcmpInMsgs", "IcmpInErrors", "IcmpInCsumErrors"),
}
"""What Linux counts when a transport's header is wrong: ``nstat``'s names over IPv4 (as measured on Linux 6.18)."""


class Ip(Network):
    """Addresses, paths and fragments of one Stack."""

    def __init__(self, host: HostState) -> None:
        super().__init__(host.counters)
        self.host = host
        self.mtu = DEFAULT_MTU
        self.paths = PathMtus()
        self.icmp = Icmp(self)
        self._secret = blake2b(host.secret, person=b"ip").digest()
        self._entropy = Entropy(self._secret)
        self._prefixes: dict[bytes, int] = {}  # own addresses, in the order added
        self._broadcasts: set[bytes] = {BROADCAST}
        self._v4 = Reassembly()
        self._v6 = Reassembly()
        self._identifications: dict[int, int] = {}
        self._fragmented = 0

    def settings(self) -> Settings:
        return self.host.settings

    # Addresses

    def add_address(self, address: bytes, prefix: int) -> None:
        """An own address with the prefix of its network (of 32 bits when it is IPv4, else of 128). ValueError for
        what no host can have, or a prefix out of range."""
        v4 = is_v4(address)
        if not is_unicast(address) or not 0 <= prefix <= (32 if v4 else 128):
            raise ValueError("no host can have that address")
        self._prefixes[address] = prefix
        self._find_broadcasts()

    def remove_address(self, address: bytes) -> None:
        """Not ours any more; what was never ours is ignored."""
        self._prefixes.pop(address, None)
        self._find_broadcasts()

    def addresses(self) -> list[tuple[bytes, int]]:
        """Own addresses with their prefixes, in the order added."""
        return list(self._prefixes.items())

    def _find_broadcasts(self) -> None:
        """Every IPv4 network's highest address, if it has more than two (RFC 922; RFC 3021)."""
        self._broadcasts = {BROADCAST}
        for address, prefix in self._prefixes.items():
            if is_v4(address) and prefix < 31:
                host_bits = (1 << (32 - prefix)) - 1
                number = int.from_bytes(address[12:], "big") | host_bits
                self._broadcasts.add(V4_PREFIX + number.to_bytes(4, "big"))

    def set_mtu(self, mtu: int) -> None:
        """Most bytes of one IP packet on the link. ValueError below 68 (RFC 791)."""
        if mtu < ipv4.MINIMUM_MTU:
            raise ValueError(f"an MTU of {mtu}: IPv4 needs {ipv4.MINIMUM_MTU}")
        self.mtu = mtu
        self.paths.version += 1

    def below(self, limit: int) -> int:
        return self._entropy.below(limit)

    def is_local(self, address: bytes) -> bool:
        return address in self._prefixes or is_loopback(address)

    def is_broadcast(self, address: bytes) -> bool:
        return address in self._broadcasts

    def is_local_packet(self, packet: bytes) -> bool:
        """Whether a ready IP packet goes to the stack itself."""
        destination = V4_PREFIX + packet[16:20] if packet[0] >> 4 == 4 else packet[24:40]
        return self.is_local(destination)

    def source_for(self, destination: bytes) -> bytes | None:
        """The own address to reach ``destination`` from: itself when it is ours, else the one whose network has the
        longest prefix around it, else the first of its family and scope (RFC 6724 in short); None: no address."""
        if self.is_local(destination):
            return destination
        v4 = is_v4(destination)
        wants_link_local = is_link_local(destination) or (not v4 and is_multicast(destination))
        best: bytes | None = None
        best_rank = -1
        for address, prefix in self._prefixes.items():
            if is_v4(address) is not v4:
                continue
            rank = 2 if is_link_local(address) is wants_link_local else 0
            if in_prefix(destination, address, prefix):
                rank += 1 + 2 * prefix
            if rank > best_rank:
                best, best_rank = address, rank
        return best

    # Paths

    def mtu_to(self, destination: bytes, now: int) -> int:
        """Bytes of the largest IP packet that fits to ``destination``, as far as is known."""
        return self.paths.mtu(destination, self.mtu, now)

    def learn_mtu(self, destination: bytes, mtu: int, now: int) -> bool:
        """An ICMP error that the caller has validated (RFC 5927 section 7) says that ``mtu`` fits; whether that is
        less than was known."""
        return self.paths.learn(destination, mtu, self.mtu, now)

    def may_forbid_fragments(self, destination: bytes, now: int) -> bool:
        """Whether PMTUDISC_WANT sets the don't-fragment bit: not on a path that claimed less than 552 bytes."""
        return not self.paths.is_locked(destination, now)

    # In

    def accept(self, frame: Frame, now: int, looped: bool = False) -> Frame | None:
        """What of ``frame`` is for the protocols above: itself, or the packet that it made whole, parsed; None when it
        was dropped (and counted), answered, or waits for its other fragments.

        Never a Fragment, a Refused or an OtherPacket. TCP that found its connection by key need not
        come here: the key holds our address. ``looped``: it never left the stack, so own and loopback
        addresses are no forgery.
        """
        if isinstance(frame, Refused):
            self._refuse(frame, looped, now)
            return None
        if not self._addresses_fit(frame, looped):
            return None
        if isinstance(frame, Fragment):
            whole = self._reassemble(frame, now)
            return None if whole is None else self.accept(whole, now, looped)
        if isinstance(frame, OtherPacket):
            self.counters.add("IpInUnknownProtos" if is_v4(frame.source) else "Ip6InUnknownProtos")
            self.icmp.protocol_unreachable(frame, now)
            return None
        return frame

    def _refuse(self, frame: Refused, looped: bool, now: int) -> None:
        self.counters.drop(frame.reason)
        if frame.reason < Drop.TCP_TRUNCATED or frame.reason is Drop.IPV6_MAPPED:
            self.counters.add("Ip6InHdrErrors" if frame.packet and frame.packet[0] >> 4 == 6 else "IpInHdrErrors")
        elif self.is_local(frame.destination) and self._may_come_from(frame.source, looped):
            self._count_refused(frame)
        is_for_us = self.is_local(frame.destination) or is_multicast(frame.destination)
        if frame.parameter_code >= 0 and is_for_us and self._may_come_from(frame.source, looped):
            self.icmp.parameter_problem(frame, now)

    def _count_refused(self, frame: Refused) -> None:
        """Under the names of the transport that would have taken it; those of TCP are the same over IPv6."""
        v4 = is_v4(frame.source)
        for name in _COUNTED.get(frame.reason, ()):
            self.counters.add(name if v4 else name.replace("UdpIn", "Udp6In").replace("IcmpIn", "Icmp6In"))
        if frame.reason is Drop.TCP_DATA_OFFSET and _has_short_offset(frame.packet, v4):
            self.counters.add("TcpInErrs")

    def _addresses_fit(self, frame: Frame, looped: bool) -> bool:
        """RFC 1122 section 3.2.1.3. Broadcasts are for UDP and ICMP; groups this stack joins none."""
        source, destination = frame.source, frame.destination
        if not self._may_come_from(source, looped) or is_v4(source) is not is_v4(destination):
            reason = Drop.MARTIAN_SOURCE
        elif destination in self._broadcasts or is_multicast(destination):
            if destination in self._broadcasts and isinstance(frame, (Datagram, IcmpMessage, Fragment)):
                return True
            reason = Drop.BROADCAST
        elif destination in self._prefixes or (looped and is_loopback(destination)):
            return True
        else:
            reason = Drop.NOT_OURS
        self.counters.drop(reason)
        self.counters.add("IpInAddrErrors" if is_v4(source) else "Ip6InAddrErrors")
        return False

    def _may_come_from(self, source: bytes, looped: bool) -> bool:
        """Whether a packet with this source may arrive: one host's, and over the wire not one of our own."""
        if not is_unicast(source) or source in self._broadcasts:
            return False
        return looped or not self.is_local(source)

    def _reassemble(self, fragment: Fragment, now: int) -> Frame | None:
        v4 = is_v4(fragment.source)
        settings = self.host.settings
        queues = self._v4 if v4 else self._v6
        seconds = settings.ipfrag_time if v4 else settings.ip6frag_time
        prefix = "Ip" if v4 else "Ip6"
        self.counters.add(prefix + "ReasmReqds")
        if not v4 and fragment.offset == 0 and not fragment.more:
            return self._atomic(fragment)
        verdict = queues.add(fragment, settings.ipfrag_high_thresh, seconds * SECOND, now)
        if verdict is Verdict.WHOLE:
            whole = parse_packet(queues.whole)
            if not isinstance(whole, Fragment):  # a fragment within a fragment is nobody's honest work
                self.counters.add(prefix + "ReasmOKs")
                return whole
            verdict = Verdict.INCONSISTENT
        if verdict in (Verdict.OVERLAP, Verdict.INCONSISTENT, Verdict.NO_MEMORY):
            self.counters.add(prefix + "ReasmFails")
            self.counters.drop(Drop.IP_REASSEMBLY)
        if verdict is Verdict.OVERLAP:
            self.counters.add("IpExtReasmOverlaps")
        return None

    def _atomic(self, fragment: Fragment) -> Frame | None:
        """A packet with a fragment header that is whole all the same: what waits under its identification is no
        matter of its (RFC 6946 section 4)."""
        whole = parse_packet(whole_packet(fragment.header, fragment.payload, 0))
        if isinstance(whole, Fragment):
            self.counters.add("Ip6ReasmFails")
            self.counters.drop(Drop.IP_REASSEMBLY)
            return None
        self.counters.add("Ip6ReasmOKs")
        return whole

    def fragments_held(self) -> tuple[int, int]:
        """Packets of both versions that are not whole yet, and the bytes they count."""
        return len(self._v4) + len(self._v6), self._v4.memory + self._v6.memory

    # Out

    def send(self, outgoing: Outgoing, now: int) -> None:
        """Puts the packet, or its fragments, in the host's outbox. Raises EMSGSIZE when it is too long and must stay
        whole (PMTUDISC_DO, PMTUDISC_PROBE)."""
        packets = self.datagram(outgoing, now)
        prefix = "Ip" if is_v4(outgoing.source) else "Ip6"
        self.counters.add(prefix + "OutRequests")
        if len(packets) > 1:
            self.counters.add(prefix + "FragOKs")
            self.counters.add(prefix + "FragCreates", len(packets))
        if self.host.has_room(len(packets), prefix):
            for packet in packets:
                self.host.outbox.append(RawTransmit(packet))

    def datagram(self, outgoing: Outgoing, now: int) -> list[bytes]:
        """The packet that ``outgoing`` becomes, or its fragments in order. Raises as ``send`` does."""
        v4 = is_v4(outgoing.source)
        destination = outgoing.destination
        mode = outgoing.mtu_discover
        mtu = self.mtu
        if mode not in (PMTUDISC_PROBE, PMTUDISC_INTERFACE, PMTUDISC_OMIT):
            mtu = self.mtu_to(destination, now)
        if self.is_local(destination):
            mtu = 65535 + (0 if v4 else ipv6.HEADER_LENGTH)
        length = len(outgoing.payload) + len(outgoing.options) + (ipv4.HEADER_LENGTH if v4 else ipv6.HEADER_LENGTH)
        too_long = length > mtu
        stays_whole = mode in (PMTUDISC_DO, PMTUDISC_PROBE)
        if (too_long and stays_whole) or length > 65535 + (0 if v4 else ipv6.HEADER_LENGTH):
            self.counters.add("IpFragFails" if v4 else "Ip6FragFails")
            raise from_errno(errno.EMSGSIZE)
        ttl = outgoing.ttl if outgoing.ttl >= 0 else self.host.settings.ip_default_ttl
        if not v4:
            packet = ipv6.build(outgoing.source, destination, outgoing.protocol, outgoing.payload, ttl, outgoing.tos)
            return ipv6.fragment_packet(packet, mtu, self._fragment_identification(outgoing)) if too_long else [packet]
        forbids = stays_whole or (
            mode == PMTUDISC_WANT and not too_long and self.may_forbid_fragments(destination, now)
        )
        packet = ipv4.build(
            outgoing.source,
            destination,
            outgoing.protocol,
            outgoing.payload,
            ttl,
            outgoing.tos,
            0 if forbids else self.identification(outgoing.source, destination, outgoing.protocol),
            ipv4.DONT_FRAGMENT if forbids else 0,
        )
        return ipv4.fragment_packet(ipv4.with_options(packet, outgoing.options), mtu)

    def identification(self, source: bytes, destination: bytes, protocol: int) -> int:
        """The next IPv4 identification to this destination: a counter of its own, from a secret start (RFC 7739;
        Linux's ip_idents). A packet that nobody may fragment needs none (RFC 6864) and has 0."""
        digest = self._keyed(source + destination + bytes([protocol]))
        bucket = digest % _ID_BUCKETS
        number = self._identifications.get(bucket, digest >> 32)
        self._identifications[bucket] = number + 1
        return number & 0xFFFF

    def _fragment_identification(self, outgoing: Outgoing) -> int:
        """Of one fragmented IPv6 packet: 32 bits that nobody outside can foresee (RFC 7739), never 0."""
        self._fragmented += 1
        return self._keyed(self._fragmented.to_bytes(8, "big")) & 0xFFFFFFFF or 1

    def _keyed(self, text: bytes) -> int:
        """62 bits."""
        return int.from_bytes(blake2b(text, digest_size=8, key=self._secret).digest(), "big") >> 2

    # Time

    def next_deadline(self) -> int | None:
        """When the oldest unfinished packet's time is up, ns; None when none waits."""
        first, second = self._v4.next_deadline(), self._v6.next_deadline()
        if first and second:
            return min(first, second)
        return first or second or None

    def on_deadline(self, now: int) -> None:
        """Gives up on packets that never became whole; early or spurious calls do nothing."""
        self._expire(self._v4, "Ip", now)
        self._expire(self._v6, "Ip6", now)

    def _expire(self, queues: Reassembly, prefix: str, now: int) -> None:
        while True:
            queue = queues.take_expired(now)
            if queue is None:
                return
            self.counters.add(prefix + "ReasmTimeout")
            self.counters.add(prefix + "ReasmFails")
            self.counters.drop(Drop.IP_REASSEMBLY)
            if queue.first is not None:
                self.icmp.reassembly_exceeded(queue.first, now)


def _has_short_offset(packet: bytes, v4: bool) -> bool:
    """The data offset is below 5 words: an error to Linux, which drops one that goes on behind the packet uncounted."""
    at = ((packet[0] & 15) << 2 if v4 else ipv6.HEADER_LENGTH) + 12
    return at < len(packet) and packet[at] >> 4 < 5
