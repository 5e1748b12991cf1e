"""A Stack: a TCP/IP host as a function of its inputs (sans-IO).

Frames, instants and the application's calls go in; Transmits, deadlines and events come out. It reads
no clock, opens no file, draws no random number: ``now`` (int ns, monotonic) and ``entropy`` are handed in.
One thread at a time may call it. After any call ask ``poll_transmit`` until None, then ``next_event`` until
None, then ``next_deadline``.
"""

from __future__ import annotations

import errno
from hashlib import blake2s
from typing import Final

from ustack.congestion import check_name
from ustack.drops import Drop
from ustack.errors import from_errno
from ustack.events import Event, EventKind
from ustack.icmp import IcmpEndpoint
from ustack.network import Leaving
from ustack.ring import RingMaker
from ustack.settings import Settings
from ustack.sockopts import SocketOptions
from ustack.stack.deadlines import Deadlines
from ustack.stack.ip import Ip
from ustack.stack.observer import Observer
from ustack.stack.ports import Ports, Reservation
from ustack.stack.tcp_layer import TcpLayer
from ustack.stack.timewait import TimeWait
from ustack.tcp.connection.connection import RETRY, Connection
from ustack.tcp.listener import Listener
from ustack.tcp.tcphost import TcpHost
from ustack.tcp.timers import Waiter
from ustack.udp import UdpEndpoint, UdpTable
from ustack.wire.address import is_any, is_multicast, is_unicast, is_v4, reverse_key
from ustack.wire.frame import Datagram, Frame, IcmpMessage, RawTransmit, Segment, Transmit
from ustack.wire.icmp_error import IcmpError, IcmpKind
from ustack.wire.parse import parse_packet
from ustack.wire.split import cut

TCP: Final = 6
UDP: Final = 17


class Stack:
    """One host. ``entropy``: at least 32 random bytes, the source of all its secrets."""

    def __init__(self, settings: Settings, *, entropy: bytes, rings: RingMaker | None = None) -> None:
        if len(entropy) < 32:
            raise ValueError("a Stack needs at least 32 bytes of entropy")
        check_name(settings.tcp_congestion_control)
        self.host = TcpHost(settings, rings or RingMaker(), _secret(entropy, b"isn"))
        self.counters = self.host.counters
        self.deadlines = Deadlines()
        self.ip = Ip(self.host)
        self.ports = Ports(_secret(entropy, b"ports"))
        self.tcp = TcpLayer(self.host, self.ip, self.ports, self.deadlines)
        self.udp = UdpTable(self.ip, _secret(entropy, b"udp"))
        self.looped: list[Frame] = []
        self.observer: Observer | None = None
        """Who looks on, if somebody does."""

    @property
    def settings(self) -> Settings:
        return self.host.settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        check_name(settings.tcp_congestion_control)
        self.host.change(settings)

    def add_address(self, address: bytes, prefix: int) -> None:
        """An address of this host (16 bytes) and the length of its network's prefix (of 32 or 128 bits)."""
        self.ip.add_address(address, prefix)
        self.tcp.addresses_changed()

    def set_mtu(self, mtu: int) -> None:
        """Most bytes of one IP packet on the link."""
        self.ip.set_mtu(mtu)

    @property
    def mtu(self) -> int:
        """Most bytes of one IP packet on the link."""
        return self.ip.mtu

    # In

    def on_frames(self, frames: list[Frame], now: int) -> None:
        """What arrived, in order. One for which there is no memory is dropped; the others are not touched by that."""
        self.host.watch_memory()
        observer = self.observer
        for frame in frames:
            if observer is not None:
                observer.before_frame(frame, now)
            try:
                self._on_frame(frame, now, False)
            except MemoryError:
                self._without_memory(frame, now)
            if observer is not None:
                observer.after_frame(frame, now)

    def _without_memory(self, frame: Frame, now: int) -> None:
        """The frame is dropped, perhaps amid a step: its connection looks at itself once more, its listener too."""
        try:
            self.counters.drop(Drop.NO_MEMORY)
            if not isinstance(frame, Segment):
                return
            connection = self.tcp.find(frame.key, now)
            if connection is not None:
                connection.finish_step(now)
                self.deadlines.watch(connection, now + RETRY)
            else:
                self.tcp.watch_listener(frame)
        except MemoryError:
            pass  # it is dropped, and nothing more can be done

    def _on_frame(self, frame: Frame, now: int, looped: bool) -> None:
        """One frame of the device, or of our own (``looped``). A connection takes what comes from its peer's side."""
        if isinstance(frame, Segment):
            self.counters.segs_in += frame.segs
            connection = self.tcp.find(frame.key, now)
            if connection is not None and connection.is_looped is looped:
                if connection.on_segment(frame, now):
                    self.tcp.refuse(frame)
                return
        self._on_packet(frame, now, looped)

    def _on_packet(self, frame: Frame, now: int, looped: bool) -> None:
        """What no connection is waiting for: IP looks at it first."""
        whole = self.ip.accept(frame, now, looped)
        if whole is None:
            return
        if isinstance(whole, Segment):
            self.tcp.on_segment(whole, now)
        elif isinstance(whole, Datagram):
            takers = self.udp.deliver(whole, now)
            if takers is None:
                self.ip.icmp.port_unreachable(whole, now)
            else:
                for endpoint in takers:
                    self.host.tell(EventKind.READABLE, endpoint)
        elif isinstance(whole, IcmpMessage):
            self._on_icmp(whole, now, looped)

    def _on_icmp(self, message: IcmpMessage, now: int, looped: bool) -> None:
        found = self.ip.icmp.take(message, now)
        if isinstance(found, IcmpError) and not looped and self.ip.is_local(found.destination):
            self.counters.drop(Drop.ICMP_UNMATCHED)  # nobody outside has seen what we send to ourselves
            return
        if isinstance(found, IcmpEndpoint):
            self.host.tell(EventKind.READABLE, found)
        elif isinstance(found, IcmpError):
            if found.protocol == TCP:
                self.tcp.take_icmp(found, now)
            elif found.protocol == UDP:
                self._udp_error(found, now)

    def _udp_error(self, error: IcmpError, now: int) -> None:
        if error.kind is IcmpKind.TOO_BIG and self.udp.find(reverse_key(error.key)) is not None:
            self.ip.learn_mtu(error.destination, error.mtu, now)
        endpoint = self.udp.icmp_error(error.key, error.code_errno, error.is_fatal)
        if endpoint is not None:
            self.host.tell(EventKind.ERROR, endpoint)

    def on_deadline(self, now: int) -> None:
        """Whatever is due happens; early or spurious calls do nothing."""
        while True:
            waiter = self.deadlines.take_due(now)
            if waiter is None:
                break
            if self.observer is not None:
                self.observer.before_deadline(waiter, now)
            try:
                self._expire(waiter, now)
            except MemoryError:
                self._defer(waiter, now)
            if self.observer is not None:
                self.observer.after_deadline(waiter, now)
        try:
            self.tcp.look_up_doubted_paths(now)
            self.ip.on_deadline(now)
        except MemoryError:
            self.counters.drop(Drop.NO_MEMORY)

    def _expire(self, waiter: Waiter, now: int) -> None:
        if isinstance(waiter, Connection):
            waiter.on_deadline(now)
            if self.host.is_device_full:  # it is not asked for more, so nobody would enter its next deadline
                self.deadlines.watch(waiter, waiter.next_deadline())
        elif isinstance(waiter, Listener):
            waiter.on_deadline(now)
            self.deadlines.watch(waiter, waiter.deadline)
        elif isinstance(waiter, TimeWait):
            self.tcp.expire_time_wait(waiter, now)

    def _defer(self, waiter: Waiter, now: int) -> None:
        """There was no memory for what is due: once more, soon."""
        if isinstance(waiter, Connection):
            waiter.out_of_memory(now)
            waiter.touch()
        else:
            self.counters.drop(Drop.NO_MEMORY)
        self.deadlines.watch(waiter, now + RETRY)

    # Out

    def poll_transmit(self, now: int) -> Transmit | RawTransmit | None:
        """The next thing to send, or None; what it returns counts as sent."""
        observer = self.observer
        if observer is not None:
            observer.before_send(now)
        transmit: Transmit | RawTransmit | None = None
        try:
            transmit = self._poll(now)
        except MemoryError:
            self.counters.drop(Drop.NO_MEMORY)  # lost, as on the way
        if observer is not None:
            observer.after_send(transmit, now)
        return transmit

    def _poll(self, now: int) -> Transmit | RawTransmit | None:
        while True:
            transmit = self._next(now)
            if transmit is None:
                if not self.looped:
                    return None
                frames, self.looped = self.looped, []
                for frame in frames:
                    self._take_looped(frame, now)
            elif isinstance(transmit, Transmit):
                self.counters.segs_out += segments_of(transmit)
                if not self.ip.is_local(transmit.destination):
                    return transmit
                self._loop_back(transmit)
            elif isinstance(transmit, RawTransmit):
                if not self.ip.is_local_packet(transmit.packet):
                    return transmit
                self._loop_back(transmit)

    def _take_looped(self, frame: Frame, now: int) -> None:
        observer = self.observer
        if observer is not None:
            observer.before_frame(frame, now)
        try:
            self._on_frame(frame, now, True)
        except MemoryError:
            self.counters.drop(Drop.NO_MEMORY)
        if observer is not None:
            observer.after_frame(frame, now)

    def device_is_full(self, is_full: bool) -> None:
        """The device does not take what ``poll_transmit`` gave, or takes it again."""
        self.host.is_device_full = is_full

    def has_work(self) -> bool:
        """``poll_transmit`` or ``next_event`` may have something; else the deadline is as it was, too."""
        host = self.host
        return bool(host.touched or host.events or host.outbox or self.looped)

    def _loop_back(self, transmit: Transmit | RawTransmit) -> None:
        """What we send to ourselves arrives here, as over Linux's ``lo``."""
        try:
            for packet in cut(transmit):
                self.looped.append(parse_packet(packet))
        except MemoryError:
            self.counters.drop(Drop.NO_MEMORY)

    def _next(self, now: int) -> Leaving | None:
        host = self.host
        if host.outbox:
            return host.outbox.popleft()
        touched = host.touched
        while touched:
            connection = touched[0]
            assert isinstance(connection, Connection)
            path = connection.sender.path
            if path.version != self.ip.paths.version or 0 < path.until <= now:
                self.tcp.look_up_path(connection, now)
            try:
                transmit = connection.poll_transmit(now)
            except MemoryError:
                connection.out_of_memory(now)
                transmit = None
            if transmit is not None:
                if len(touched) > 1:
                    touched.rotate(-1)
                return transmit
            self.tcp.settle(connection, now)  # without memory for that it stays first in the queue
            connection.was_asked()
            touched.popleft()
        return None

    def next_deadline(self) -> int | None:
        """When ``on_deadline`` wants to be called, ns; None: nothing waits. It may be early, never late."""
        first = self.deadlines.earliest()
        second = self.ip.next_deadline()
        if first == 0 or (second is not None and second < first):
            return second
        return first

    def next_event(self) -> Event | None:
        """The next thing to tell the holder of an endpoint, or None."""
        events = self.host.events
        return events.popleft() if events else None

    # TCP, for the application

    def check_local(self, address: bytes, options: SocketOptions) -> None:
        """bind() may use this address. Raises EADDRNOTAVAIL, EINVAL. A multicast or broadcast address of IPv4 is taken,
        as on Linux, though no connection can have it."""
        if is_multicast(address) and not is_v4(address):
            raise from_errno(errno.EINVAL)
        free = is_any(address) or options.freebind or options.transparent or is_multicast(address)
        if not free and not self.ip.is_local(address) and not self.ip.is_broadcast(address):
            raise from_errno(errno.EADDRNOTAVAIL)

    def bind_port(self, address: bytes, port: int, options: SocketOptions) -> Reservation:
        """bind(): reserve an address (ANY for all) and a port (0: a free one). Raises EADDRNOTAVAIL, EADDRINUSE."""
        self.check_local(address, options)
        return self.ports.bind(address, port, options, self.tcp.port_range(options))

    def listen(
        self,
        address: bytes,
        port: int,
        backlog: int,
        options: SocketOptions,
        now: int,
        reservation: Reservation | None = None,
    ) -> Listener:
        """A passive open (RFC 9293 section 3.9.1.1). Raises EADDRINUSE, EADDRNOTAVAIL."""
        made = reservation or self.bind_port(address, port, options)
        return self.tcp.listen(made, backlog, options)

    def connect(
        self,
        local: bytes,
        local_port: int,
        remote: bytes,
        remote_port: int,
        options: SocketOptions,
        now: int,
        reservation: Reservation | None = None,
    ) -> Connection:
        """An active open; ANY and port 0 are chosen here. Raises ENETUNREACH, EADDRNOTAVAIL."""
        if is_multicast(remote) or not is_unicast(remote) or self.ip.is_broadcast(remote):
            raise from_errno(errno.ENETUNREACH)
        if is_any(local):
            chosen = self.ip.source_for(remote)
            if chosen is None:
                raise from_errno(errno.ENETUNREACH)
            local = chosen
        else:
            self.check_local(local, options)
        return self.tcp.connect((local, local_port), (remote, remote_port), options, now)

    # UDP and ICMP, for the application

    def udp_open(self, address: bytes, port: int, options: SocketOptions, now: int) -> UdpEndpoint:
        """A UDP endpoint (ANY for all addresses, port 0 for a free one). Raises EADDRINUSE, EADDRNOTAVAIL."""
        return self.udp.open(address, port, options, now)

    def icmp_open(self, address: bytes, identifier: int, now: int) -> IcmpEndpoint:
        """An endpoint for echo requests (identifier 0: a free one). Raises EADDRINUSE, EADDRNOTAVAIL."""
        return self.ip.icmp.open(address, identifier, now)


def segments_of(transmit: Transmit) -> int:
    """Wire segments of a run."""
    size = transmit.segment_size
    if size <= 0 or transmit.length <= size:
        return 1
    return -(-transmit.length // size)


def _secret(entropy: bytes, purpose: bytes) -> bytes:
    return blake2s(entropy, person=purpose).digest()
