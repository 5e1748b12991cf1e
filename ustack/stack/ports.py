"""Local ports: bind(), the ephemeral range, SO_REUSEADDR and SO_REUSEPORT (Linux's inet_csk_get_port)."""

from __future__ import annotations

import errno
from hashlib import blake2s
from typing import Final

from ustack.entropy import Entropy
from ustack.errors import from_errno
from ustack.sockopts import SocketOptions
from ustack.wire.address import ANY, ANY_V4, is_v4

PERTURB_BUCKETS: Final = 65536
"""Linux's INET_TABLE_PERTURB_SIZE."""


class Reservation:
    """One bind(): an address (ANY for all) and a port, until ``release``."""

    def __init__(self, ports: Ports, address: bytes, port: int, options: SocketOptions) -> None:
        self.ports = ports
        self.address = address
        self.port = port
        self.options = options
        self.is_listening = False

    def release(self) -> None:
        """Give the port back; twice does nothing."""
        self.ports.forget(self)


class PortSearch:
    """The ports that a connect() tries, one after the other (Linux's __inet_hash_connect)."""

    def __init__(self, bucket: int, span: tuple[int, int], place: int, parity: int) -> None:
        self.bucket = bucket
        self.step = 1 if parity < 0 else 2
        self._low = span[0]
        self._end = span[1] + 1
        self._count = self._end - self._low
        if self.step == 2 and self._count > 1:
            self._count &= ~1
        self._place = place % self._count
        self.parity = parity if self._count > 1 else -1
        """0 while the ports are tried that bind() likes less, 1 in the other half; -1: all are tried in turn."""
        self.tried = 0
        """How far the search has come in this half."""
        self._halves_left = 1 if self.parity >= 0 else 0

    def next(self) -> int:
        """The next port to try; -1 when all were."""
        if self.tried >= self._count:
            if not self._halves_left:
                return -1
            self._halves_left -= 1
            self.parity = 1 - self.parity
            self.tried = 0
        begin = self._place if self.parity < 0 else (self._place & ~1) + self.parity
        port = self._low + begin + self.tried
        self.tried += self.step
        return port if port < self._end else port - self._count


class Ports:
    """Who holds which local port."""

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self.entropy = Entropy(secret)
        self.bound: dict[int, list[Reservation]] = {}
        self.users: dict[int, int] = {}
        """Connections (TIME-WAIT too) on a local port that no SO_REUSEADDR lets others share."""
        self._perturb: dict[int, int] = {}
        """By bucket of the far end: how far connect()s to it have come (Linux's table_perturb)."""
        self._parity: dict[int, int] = {}
        """By bucket: the half of the ports in which the last connect() found one."""

    def use(self, port: int, options: SocketOptions) -> bool:
        """A connection has this local port. True: it counts, and `leave` is due whatever its options are by then."""
        if options.reuseaddr:
            return False
        self.users[port] = self.users.get(port, 0) + 1
        return True

    def leave(self, port: int) -> None:
        """A connection that counted has gone."""
        left = self.users.get(port, 0) - 1
        if left > 0:
            self.users[port] = left
        else:
            self.users.pop(port, None)

    def bind(self, address: bytes, port: int, options: SocketOptions, span: tuple[int, int]) -> Reservation:
        """Reserve ``port`` (0: any free one of ``span``). Raises EADDRINUSE."""
        if port == 0:
            port = self._free_port(address, options, span)
        elif not self._is_compatible(address, port, options):
            raise from_errno(errno.EADDRINUSE)
        reservation = Reservation(self, address, port, options)
        self.bound.setdefault(port, []).append(reservation)
        return reservation

    def forget(self, reservation: Reservation) -> None:
        """The reservation ends."""
        held = self.bound.get(reservation.port)
        if held is not None and reservation in held:
            held.remove(reservation)
            if not held:
                del self.bound[reservation.port]

    def may_listen(self, reservation: Reservation) -> bool:
        """No other socket listens where this one wants to (SO_REUSEADDR does not allow that)."""
        for other in self.bound.get(reservation.port, ()):
            if other is reservation or not other.is_listening:
                continue
            if _overlap(other.address, other.options, reservation.address, reservation.options) and not (
                other.options.reuseport and reservation.options.reuseport
            ):
                return False
        return True

    def _is_compatible(self, address: bytes, port: int, options: SocketOptions) -> bool:
        if self.users.get(port, 0) and not self.bound.get(port):
            return False
        for other in self.bound.get(port, ()):
            if not _overlap(other.address, other.options, address, options):
                continue
            if options.reuseport and other.options.reuseport:
                continue
            if options.reuseaddr and other.options.reuseaddr and not other.is_listening:
                continue
            return False
        return True

    def _free_port(self, address: bytes, options: SocketOptions, span: tuple[int, int]) -> int:
        """As Linux's inet_csk_find_open_port: from a random place on, in every second port first (connect() begins
        with the others), and with SO_REUSEADDR in the lower half of the range first. Ports are not shared."""
        low, high = span[0], span[1] + 1
        parts = [(low, high)]
        if options.reuseaddr and high - low >= 4:
            middle = low + ((high - low) >> 2 << 1)
            parts = [(low, middle), (middle, high)]
        for first, end in parts:
            port = self._free_port_within(address, options, first, end)
            if port >= 0:
                return port
        raise from_errno(errno.EADDRINUSE)

    def _free_port_within(self, address: bytes, options: SocketOptions, low: int, end: int) -> int:
        count = end - low
        if count > 1:
            count &= ~1
        offset = self.entropy.below(count) | 1
        for begin in (offset, offset - 1):
            port = low + begin
            for _ in range(0, count, 2):
                if port >= end:
                    port -= count
                if self._is_unshared(address, port, options):
                    return port
                port += 2
        return -1

    def _is_unshared(self, address: bytes, port: int, options: SocketOptions) -> bool:
        others = self.bound.get(port)
        if others is None:
            return not self.users.get(port, 0)
        return not any(_overlap(other.address, other.options, address, options) for other in others)

    def search(self, ends: bytes, remote_port: int, span: tuple[int, int], step: int) -> PortSearch:
        """The ports that a connect() from and to the addresses ``ends`` tries: from a place that is keyed by the far
        end on (RFC 6056 section 3.3.4), every second one first; ``step`` 1: one by one (IP_LOCAL_PORT_RANGE)."""
        digest = blake2s(ends + remote_port.to_bytes(2, "big"), digest_size=8, key=self.secret, person=b"port")
        place = int.from_bytes(digest.digest(), "big")
        bucket = place & (PERTURB_BUCKETS - 1)
        if bucket not in self._perturb:
            self._perturb[bucket] = self.entropy.below(1 << 32)
        parity = -1 if step == 1 else self._parity.get(bucket, 0)
        return PortSearch(bucket, span, self._perturb[bucket] + (place >> 32), parity)

    def found(self, search: PortSearch) -> None:
        """The port that ``search`` gave last is taken: the next connect() begins behind it, or a little further on.

        Where one half of the ports was full the next one begins in the other, and does not try all of that half
        again, as Linux does."""
        moved = max(search.tried - search.step, self.entropy.below(8) * search.step)
        self._perturb[search.bucket] += moved + search.step
        if search.parity >= 0:
            self._parity[search.bucket] = search.parity


def _overlap(a: bytes, own_a: SocketOptions, b: bytes, own_b: SocketOptions) -> bool:
    """Two bound addresses may receive the same segment."""
    if a == b:
        return True
    if a == ANY:
        return not (own_a.v6only and is_v4(b))
    if b == ANY:
        return not (own_b.v6only and is_v4(a))
    if a == ANY_V4:
        return is_v4(b)
    if b == ANY_V4:
        return is_v4(a)
    return False
