"""UDP (RFC 768): endpoints with a bounded queue each, and the table that finds them.

Sans-IO: what is sent goes down through a :class:`ustack.network.Network`, what arrives is handed to
:meth:`UdpTable.deliver`. Nothing here waits, so there is no deadline.
"""

from __future__ import annotations

import errno
from collections import deque
from hashlib import blake2b
from typing import Final

from ustack.drops import Drop
from ustack.entropy import Entropy
from ustack.errors import from_errno
from ustack.events import Endpoint
from ustack.network import Network, Outgoing
from ustack.sockopts import PMTUDISC_DONT, SocketOptions
from ustack.wire import udp
from ustack.wire.address import ANY, ANY_V4, flow_key, is_any, is_multicast, is_v4
from ustack.wire.frame import Datagram

QUEUE_OVERHEAD: Final = 576
"""Bytes that a queued datagram counts beside its payload: Linux's SKB_TRUESIZE(0) on 64 bits."""


class Received:
    """One datagram in a queue, with what recvmsg() may be asked to tell beside it.

    ``drops``: how many had been lost for want of room when it came (SO_RXQ_OVFL)."""

    def __init__(self, datagram: Datagram, now: int, drops: int = 0) -> None:
        self.data = datagram.payload
        self.source = datagram.source
        self.source_port = datagram.source_port
        self.destination = datagram.destination
        self.tos = datagram.tos
        self.ttl = datagram.ttl
        self.destination_port = datagram.destination_port
        self.at = now
        self.drops = drops


class UdpEndpoint(Endpoint):
    """One UDP socket. Made by :meth:`UdpTable.open`; ``owner`` is the socket layer's own.

    ``error`` is the pending errno (0 none): an ICMP error about a datagram of a connected endpoint, or of any
    endpoint with IP_RECVERR. The next ``send_to`` raises and clears it, as on Linux; ``receive`` leaves it
    to the caller.
    """

    def __init__(self, table: UdpTable, address: bytes, port: int, options: SocketOptions) -> None:
        super().__init__()
        self.table = table
        self.options = options
        self.error = 0
        self.address = address
        self.port = port
        self.bound_address = address  # what disconnect() goes back to
        self.remote: tuple[bytes, int] | None = None
        self.queue: deque[Received] = deque()
        self.queued = 0  # bytes, overhead included
        self.drops = 0
        self.is_open = True

    @property
    def local(self) -> tuple[bytes, int]:
        """Address and port; the address is ``::`` or ``0.0.0.0`` while it is anybody's."""
        return self.address, self.port

    def readable(self) -> bool:
        return bool(self.queue)

    def receive(self) -> tuple[bytes, bytes, int] | None:
        """The next datagram whole, with the address and port it came from; None when there is none."""
        received = self.receive_record()
        if received is None:
            return None
        return received.data, received.source, received.source_port

    def receive_record(self) -> Received | None:
        """The same, with TOS, TTL, destination and time of arrival."""
        if not self.queue:
            return None
        received = self.queue.popleft()
        self.queued -= len(received.data) + QUEUE_OVERHEAD
        return received

    def connect(self, address: bytes, port: int) -> None:
        """Fixes the peer: only its datagrams are taken, and its ICMP errors are reported. Raises ENETUNREACH.

        What is queued already stays (as on Linux).
        """
        source = self.address
        if is_any(self.bound_address):
            chosen = self.table.network.source_for(address)
            if chosen is None:
                raise from_errno(errno.ENETUNREACH)
            source = chosen
        elif is_v4(source) is not is_v4(address):
            raise from_errno(errno.EINVAL)
        self.table.remove(self)
        self.address = source
        self.remote = (address, port)
        self.table.insert(self)

    def disconnect(self) -> None:
        """connect(AF_UNSPEC): anybody's datagrams again."""
        self.table.remove(self)
        self.address = self.bound_address
        self.remote = None
        self.table.insert(self)

    def send(self, data: bytes, now: int) -> None:
        """To the connected peer; EDESTADDRREQ without one."""
        if self.remote is None:
            raise from_errno(errno.EDESTADDRREQ)
        self.send_to(data, self.remote[0], self.remote[1], now)

    def send_to(self, data: bytes, address: bytes, port: int, now: int) -> None:
        """Hands one datagram to IP. Raises the pending error; EMSGSIZE beyond 65507 (65527 over IPv6) bytes or
        beyond the path MTU when it must not be fragmented; ENETUNREACH, EACCES (a broadcast
        without SO_BROADCAST), EINVAL (port 0)."""
        if not self.is_open:
            raise from_errno(errno.EBADF)
        self._raise_pending()
        v4 = is_v4(address)
        if port == 0:
            raise from_errno(errno.EINVAL)
        if len(data) > (udp.MAX_PAYLOAD_V4 if v4 else udp.MAX_PAYLOAD_V6):
            raise from_errno(errno.EMSGSIZE)
        source = self._source_to(address)
        options = self.options
        if self.table.network.is_broadcast(address) and not options.broadcast:
            raise from_errno(errno.EACCES)
        outgoing = Outgoing(
            source,
            address,
            udp.PROTOCOL,
            udp.build(source, address, self.port, port, data),
            options.ttl if v4 else options.hops,
            options.tos if v4 else options.tclass,
            options.mtu_discover if v4 else options.mtu_discover6,
        )
        self.table.network.send(outgoing, now)
        self.table.counters.add("UdpOutDatagrams" if v4 else "Udp6OutDatagrams")

    def _raise_pending(self) -> None:
        code = self.error
        if code:
            self.error = 0
            raise from_errno(code)

    def _source_to(self, address: bytes) -> bytes:
        if not is_any(self.address) and not is_multicast(self.address):
            if is_v4(self.address) is not is_v4(address):
                raise from_errno(errno.ENETUNREACH)
            return self.address
        chosen = self.table.network.source_for(address)
        if chosen is None:
            raise from_errno(errno.ENETUNREACH)
        return chosen

    def enqueue(self, datagram: Datagram, now: int) -> bool:
        """Takes what arrived; False when the queue is full (SO_RCVBUF)."""
        limit = self.options.rcvbuf or self.table.network.settings().rmem_default
        if self.queued > limit:
            self.drops += 1
            return False
        self.queue.append(Received(datagram, now, self.drops))
        self.queued += len(datagram.payload) + QUEUE_OVERHEAD
        return True

    def close(self) -> None:
        """Gives the port back; what is queued is lost. May be called again."""
        if self.is_open:
            self.is_open = False
            self.table.remove(self)
            self.queue.clear()
            self.queued = 0


class UdpTable:
    """Every endpoint of one Stack, and who gets what.

    A datagram goes to the endpoint connected to just its sender, else to one bound to its destination address,
    else to one bound to any address (IPv4's before the dual ``::``). Of several that share a port
    with SO_REUSEPORT the flow's hash decides; with SO_REUSEADDR the latest gets it.
    """

    def __init__(self, network: Network, secret: bytes) -> None:
        self.network = network
        self.counters = network.counters
        self._secret = secret
        self._entropy = Entropy(secret[:64])
        self._connected: dict[bytes, list[UdpEndpoint]] = {}  # by the key of what arrives
        self._bound: dict[bytes, list[UdpEndpoint]] = {}  # by local address and port
        self._by_port: dict[int, list[UdpEndpoint]] = {}
        self._by_peer: dict[bytes, list[UdpEndpoint]] = {}  # the connected ones again, for broadcasts

    def open(self, address: bytes, port: int, options: SocketOptions, now: int) -> UdpEndpoint:
        """A new endpoint; port 0 is an ephemeral one. Raises EADDRINUSE, EADDRNOTAVAIL."""
        self.check_local(address, options)
        if port == 0:
            port = self._ephemeral(address, options)
        elif self._conflicts(address, port, options):
            raise from_errno(errno.EADDRINUSE)
        endpoint = UdpEndpoint(self, address, port, options)
        self.insert(endpoint)
        self._by_port.setdefault(port, []).append(endpoint)
        return endpoint

    def check_local(self, address: bytes, options: SocketOptions) -> None:
        """bind() may use this address. Raises EADDRNOTAVAIL."""
        free = is_any(address) or is_multicast(address) or options.freebind or options.transparent
        if not free and not self.network.is_local(address) and not self.network.is_broadcast(address):
            raise from_errno(errno.EADDRNOTAVAIL)

    def __len__(self) -> int:
        return sum(len(endpoints) for endpoints in self._by_port.values())

    def queued(self) -> int:
        """Bytes that wait in all queues, as SO_RCVBUF counts them."""
        return sum(endpoint.queued for endpoint in self.endpoints())

    def endpoints(self) -> list[UdpEndpoint]:
        """All of them, by port."""
        return [endpoint for port in sorted(self._by_port) for endpoint in self._by_port[port]]

    def insert(self, endpoint: UdpEndpoint) -> None:
        """An endpoint says where it can be found from now on."""
        self._places(endpoint).setdefault(_place_key(endpoint), []).append(endpoint)
        if endpoint.remote is not None:
            self._by_peer.setdefault(_peer_key(*endpoint.remote, endpoint.port), []).append(endpoint)

    def remove(self, endpoint: UdpEndpoint) -> None:
        """It is no longer there; for good when it is closed."""
        _discard(self._places(endpoint), _place_key(endpoint), endpoint)
        if endpoint.remote is not None:
            _discard(self._by_peer, _peer_key(*endpoint.remote, endpoint.port), endpoint)
        if not endpoint.is_open:
            siblings = self._by_port.get(endpoint.port, [])
            siblings.remove(endpoint)
            if not siblings:
                del self._by_port[endpoint.port]

    def _places(self, endpoint: UdpEndpoint) -> dict[bytes, list[UdpEndpoint]]:
        return self._bound if endpoint.remote is None else self._connected

    def deliver(self, datagram: Datagram, now: int) -> list[UdpEndpoint] | None:
        """Queues what arrived and returns who became readable by it. None: it is nobody's, and port unreachable is
        the answer (RFC 1122 section 4.1.3.1). A broadcast goes to every endpoint that could take it.
        """
        found = self._receivers(datagram)
        v4 = is_v4(datagram.destination)
        if not found:
            self.counters.add("UdpNoPorts" if v4 else "Udp6NoPorts")
            self.counters.drop(Drop.NO_ENDPOINT if datagram.destination_port else Drop.ZERO_PORT)
            return None
        taken: list[UdpEndpoint] = []
        for endpoint in found:
            if endpoint.enqueue(datagram, now):
                taken.append(endpoint)
                self.counters.add("UdpInDatagrams" if v4 else "Udp6InDatagrams")
            else:
                self.counters.add("UdpRcvbufErrors" if v4 else "Udp6RcvbufErrors")
                self.counters.add("UdpInErrors" if v4 else "Udp6InErrors")
                self.counters.drop(Drop.RECEIVE_QUEUE_FULL)
        return taken

    def _receivers(self, datagram: Datagram) -> list[UdpEndpoint]:
        if datagram.destination_port == 0:
            return []
        if self.network.is_broadcast(datagram.destination):
            return self._all_takers(datagram)
        endpoint = self.find(datagram.key)
        return [] if endpoint is None else [endpoint]

    def find(self, key: bytes) -> UdpEndpoint | None:
        """Who gets a datagram with this key (as received)."""
        found = self._connected.get(key)
        if found is None:
            place = key[16:32]
            port = key[34:36]
            found = self._bound.get(place + port)
            if found is None and is_v4(place):
                found = self._bound.get(ANY_V4 + port)
            if found is None:
                found = self._bound.get(ANY + port)
                if found is not None and is_v4(place) and found[-1].options.v6only:
                    found = [endpoint for endpoint in found if not endpoint.options.v6only]
        return self._choose(found, key) if found else None

    def _choose(self, found: list[UdpEndpoint], key: bytes) -> UdpEndpoint:
        """Of several with one address: by the flow when they share the port as equals, else the latest.

        SO_REUSEPORT of the first and of the latest stands for all: bind() asks it of both sides."""
        if len(found) > 1 and found[0].options.reuseport and found[-1].options.reuseport:
            digest = blake2b(key, digest_size=4, key=self._secret[:64]).digest()
            return found[int.from_bytes(digest, "big") % len(found)]
        return found[-1]

    def _all_takers(self, datagram: Datagram) -> list[UdpEndpoint]:
        """Everybody bound to the broadcast address or to any, and connected to nobody else."""
        port = datagram.key[34:36]
        takers: list[UdpEndpoint] = []
        for place in (datagram.destination, ANY_V4, ANY):
            takers += self._bound.get(place + port, ())
        peer = datagram.source, datagram.source_port
        takers += self._by_peer.get(_peer_key(*peer, datagram.destination_port), ())
        return [endpoint for endpoint in takers if _hears_broadcast(endpoint, datagram.destination)]

    def icmp_error(self, key: bytes, code: int, is_fatal: bool) -> UdpEndpoint | None:
        """An ICMP error (errno ``code``) quotes a datagram of ours; ``key`` is as *sent*. Returns who got it pending.

        As Linux (__udp4_lib_err): a connected endpoint takes fatal errors only, one with IP_RECVERR takes all.
        EMSGSIZE is fatal, unless the endpoint lets routers fragment: then it is no error.
        """
        endpoint = self.find(key[16:32] + key[:16] + key[34:36] + key[32:34])
        if endpoint is None:
            return None
        options = endpoint.options
        v4 = is_v4(key)
        if code == errno.EMSGSIZE:
            is_fatal = True
            if (options.mtu_discover if v4 else options.mtu_discover6) == PMTUDISC_DONT:
                return None
        wants_all = options.recverr if v4 else options.recverr6
        if not wants_all and (not is_fatal or endpoint.remote is None):
            return None
        endpoint.error = code
        return endpoint

    def _conflicts(self, address: bytes, port: int, options: SocketOptions) -> bool:
        for other in self._by_port.get(port, []):
            if options.reuseaddr and other.options.reuseaddr:
                continue
            if options.reuseport and other.options.reuseport:
                continue
            if _overlap(address, options, other.bound_address, other.options):
                return True
        return False

    def _ephemeral(self, address: bytes, options: SocketOptions) -> int:
        """A free port of ip_local_port_range, from a keyed random place on; EADDRINUSE when all are taken."""
        low, high = self.network.settings().ip_local_port_range
        span = high - low + 1
        start = self._entropy.below(span)
        for step in range(span):
            port = low + (start + step) % span
            if port not in self._by_port or not self._conflicts(address, port, options):
                return port
        raise from_errno(errno.EADDRINUSE)


def _place_key(endpoint: UdpEndpoint) -> bytes:
    if endpoint.remote is None:
        return endpoint.address + endpoint.port.to_bytes(2, "big")
    address, port = endpoint.remote
    return flow_key(address, port, endpoint.address, endpoint.port)


def _peer_key(address: bytes, port: int, own_port: int) -> bytes:
    return address + port.to_bytes(2, "big") + own_port.to_bytes(2, "big")


def _hears_broadcast(endpoint: UdpEndpoint, destination: bytes) -> bool:
    place = endpoint.bound_address
    return place in (destination, ANY_V4) or (place == ANY and not endpoint.options.v6only)


def _discard(places: dict[bytes, list[UdpEndpoint]], key: bytes, endpoint: UdpEndpoint) -> None:
    siblings = places.get(key)
    if siblings and endpoint in siblings:
        siblings.remove(endpoint)
        if not siblings:
            del places[key]


def _overlap(one: bytes, options: SocketOptions, other: bytes, others_options: SocketOptions) -> bool:
    """Whether some datagram could be for either address."""
    if one == other:
        return True
    if one == ANY:
        return not (options.v6only and is_v4(other))
    if other == ANY:
        return not (others_options.v6only and is_v4(one))
    return (one == ANY_V4 and is_v4(other)) or (other == ANY_V4 and is_v4(one))
