"""Local ports: bind(), the ephemeral range, SO_REUSEADDR and SO_REUSEPORT (Linux's inet_csk_get_port)."""

from __future__ import annotations

import errno
from hashlib import blake2s
from typing import Final

from ustack.errors import from_errno
from ustack.sockopts import SocketOptions
from ustack.wire.address import ANY, ANY_V4, is_v4

MAX_PORT: Final = 65535


class Reservation:
    """One bind(): an address (ANY for all) and a port, until ``release``."""

    def __init__(self, ports: Ports, address: bytes, port: int, own: SocketOptions) -> None:
        self.ports = ports
        self.address = address
        self.port = port
        self.options = own
        self.is_listening = False

    def release(self) -> None:
        """Give the port back; twice does nothing."""
        self.ports.forget(self)


class Ports:
    """Who holds which local port."""

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self.bound: dict[int, list[Reservation]] = {}
        self.users: dict[int, int] = {}
        """Connections (TIME-WAIT too) on a local port that no SO_REUSEADDR lets others share."""
        self.hint = 0

    def use(self, port: int, own: SocketOptions) -> bool:
        """A connection has this local port. True: it counts, and `leave` is due whatever its options are by then."""
        if own.reuseaddr:
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

    def bind(self, address: bytes, port: int, own: SocketOptions, span: tuple[int, int]) -> Reservation:
        """Reserve ``port`` (0: any free one of ``span``). Raises EADDRINUSE."""
        if port == 0:
            port = self._free_port(address, own, span)
        elif not self._is_compatible(address, port, own):
            raise from_errno(errno.EADDRINUSE)
        reservation = Reservation(self, address, port, own)
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

    def _is_compatible(self, address: bytes, port: int, own: SocketOptions) -> bool:
        if self.users.get(port, 0) and not self.bound.get(port):
            return False
        for other in self.bound.get(port, ()):
            if not _overlap(other.address, other.options, address, own):
                continue
            if own.reuseport and other.options.reuseport:
                continue
            if own.reuseaddr and other.options.reuseaddr and not other.is_listening:
                continue
            return False
        return True

    def _free_port(self, address: bytes, own: SocketOptions, span: tuple[int, int]) -> int:
        low, high = span
        count = high - low + 1
        self.hint = (self.hint * 1103515245 + 12345) & 0x7FFFFFFF
        first = self.hint % count
        for step in range(count):
            port = low + (first + step) % count
            if port not in self.bound:
                return port
        for step in range(count):
            port = low + (first + step) % count
            if self._is_compatible(address, port, own):
                return port
        raise from_errno(errno.EADDRINUSE)

    def first_ephemeral(self, local: bytes, remote: bytes, remote_port: int, span: tuple[int, int]) -> int:
        """Where the search for a connect()'s port begins: keyed by the other end (RFC 6056 section 3.3.3)."""
        low, high = span
        material = local + remote + remote_port.to_bytes(2, "big")
        digest = blake2s(material, digest_size=4, key=self.secret, person=b"port")
        self.hint = (self.hint + 2) & 0x7FFFFFFF
        return low + (int.from_bytes(digest.digest(), "big") + self.hint) % (high - low + 1)


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
