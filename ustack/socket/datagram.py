"""SOCK_DGRAM: Linux's ``udp_sendmsg``, ``udp_recvmsg``, ``ip4_datagram_connect``, ``udp_poll`` over a UdpEndpoint."""

from __future__ import annotations

import errno
import socket
from typing import Final

from ustack.socket.address import LOOPBACK_V4, Address
from ustack.socket.core import RCV_SHUTDOWN, SEND_SHUTDOWN, Attachment, Core, failure
from ustack.socket.readiness import ERR, HUP, IN, OUT, RDHUP
from ustack.udp import Received, UdpEndpoint
from ustack.wire.address import ANY, ANY_V4, BROADCAST, LOOPBACK, is_any, is_v4

MSG_OOB: Final = int(socket.MSG_OOB)
MSG_PEEK: Final = int(socket.MSG_PEEK)
MSG_DONTWAIT: Final = int(socket.MSG_DONTWAIT)
MSG_MORE: Final = int(socket.MSG_MORE)
MSG_ERRQUEUE: Final = int(socket.MSG_ERRQUEUE)

MAX_SEGMENTS: Final = 128
"""UDP_MAX_SEGMENTS of linux/udp.h."""

MAX_DATAGRAM: Final = 65535
"""Linux refuses longer ones at once; what does not fit the IP packet with its headers is refused below."""


class DatagramCore(Core):
    """A UDP socket."""

    kind = int(socket.SOCK_DGRAM)
    protocol = int(socket.IPPROTO_UDP)

    def __init__(self, net: Attachment, family: int) -> None:
        super().__init__(net, family)
        self.endpoint: UdpEndpoint | None = None
        self.peer: Address | None = None
        self.peeked: Received | None = None
        self.is_corked = False
        """UDP_CORK."""
        self.segment_size = 0
        """UDP_SEGMENT."""
        self.corked = b""
        self.corked_to: Address | None = None

    def wildcard(self) -> bytes:
        return ANY_V4 if self.family == socket.AF_INET else ANY

    def local_name(self) -> Address:
        if self.endpoint is None:
            return self.wildcard(), 0
        return self.endpoint.local

    def peer_name(self) -> Address:
        if self.peer is None or not self.peer[1]:  # port 0 is nobody's, though connect() took it
            raise failure(errno.ENOTCONN)
        return self.peer

    def bind(self, address: bytes, port: int) -> None:
        if self.family == socket.AF_INET6 and self.options.v6only and is_v4(address):
            raise failure(errno.EINVAL)
        self.net.stack.udp.check_local(address, self.options)
        if self.endpoint is not None:
            raise failure(errno.EINVAL)
        self._open(address, port)
        if address != ANY and not is_v4(address):
            self.options.v6only = True  # as Linux tells it: the address takes nothing else

    def _open(self, address: bytes, port: int) -> UdpEndpoint:
        self.endpoint = self.net.stack.udp_open(address, port, self.options, self.now())
        self.endpoint.owner = self
        return self.endpoint

    def _opened(self) -> UdpEndpoint:
        """The endpoint; a socket that was never bound gets an ephemeral port."""
        return self.endpoint if self.endpoint is not None else self._open(self.wildcard(), 0)

    def connect(self, address: bytes, port: int, limit: int | None) -> None:
        self._check_reachable(address)
        if address == BROADCAST and not self.options.broadcast:
            raise failure(errno.EACCES)
        if is_any(address):
            address = LOOPBACK_V4 if self.family == socket.AF_INET or is_v4(address) else LOOPBACK
        self._opened().connect(address, port)
        self.peer = (address, port)

    def disconnect(self) -> None:
        """connect() to AF_UNSPEC: datagrams of everybody again."""
        if self.endpoint is not None:
            self.endpoint.disconnect()
        self.peer = None

    def _check_reachable(self, address: bytes) -> None:
        if self.family == socket.AF_INET6 and self.options.v6only and is_v4(address):
            raise failure(errno.ENETUNREACH)

    def send(self, data: memoryview, flags: int, limit: int | None) -> int:
        """send(2): to the connected peer. Raises EDESTADDRREQ."""
        if len(data) > MAX_DATAGRAM:
            raise failure(errno.EMSGSIZE)
        if flags & MSG_OOB:
            raise failure(errno.EOPNOTSUPP)
        if self.peer is None:
            raise failure(errno.EDESTADDRREQ)
        return self.send_to(data, flags, self.peer)

    def send_to(self, data: memoryview, flags: int, to: Address) -> int:
        """sendto(2). Never blocks: what the device cannot take is lost, as in a full queue of a kernel."""
        if len(data) > MAX_DATAGRAM:
            raise failure(errno.EMSGSIZE)
        if flags & MSG_OOB:
            raise failure(errno.EOPNOTSUPP)
        if self.error:
            raise failure(self.take_error())
        if self.shut & SEND_SHUTDOWN:
            raise failure(errno.EPIPE)
        address, port = to
        self._check_reachable(address)
        if not port:
            raise failure(errno.EINVAL)
        if address == BROADCAST and not self.options.broadcast:
            raise failure(errno.EACCES)
        if is_any(address):
            address = LOOPBACK_V4 if is_v4(address) or self.family == socket.AF_INET else LOOPBACK
        endpoint = self._opened()
        if endpoint.error:
            raise failure(self.take_error())
        if flags & MSG_MORE or self.is_corked or self.corked_to is not None:
            return self._append(data, flags, (address, port))
        self._leave(endpoint, bytes(data), (address, port))
        return len(data)

    def _leave(self, endpoint: UdpEndpoint, data: bytes, to: Address) -> None:
        """One datagram, or with UDP_SEGMENT as many of its size as there are (udp_send_skb)."""
        size = self.segment_size
        if not size or len(data) <= size:
            endpoint.send_to(data, to[0], to[1], self.now())
            return
        headers = 28 if is_v4(to[0]) else 48
        if headers + size > self.net.stack.mtu:
            raise failure(errno.EMSGSIZE)
        if len(data) > size * MAX_SEGMENTS:
            raise failure(errno.EINVAL)
        for at in range(0, len(data), size):
            endpoint.send_to(data[at : at + size], to[0], to[1], self.now())

    def _append(self, data: memoryview, flags: int, to: Address) -> int:
        """MSG_MORE and UDP_CORK: one datagram out of several calls; the first call names its destination."""
        if self.corked_to is None:
            self.corked_to = to
        self.corked += bytes(data)
        if not flags & MSG_MORE and not self.is_corked:
            self._push()
        return len(data)

    def _push(self) -> None:
        whole, to = self.corked, self.corked_to
        self.corked, self.corked_to = b"", None
        if to is not None:
            self._leave(self._opened(), whole, to)

    def cork(self, on: bool) -> None:
        """UDP_CORK: switched off, it sends what it has held back."""
        self.is_corked = on
        if not on:
            self._push()

    def receive(self, flags: int, limit: int | None) -> Received | None:
        """recvmsg(2): the next datagram, whole; None after shutdown. The caller cuts it and reports MSG_TRUNC."""
        if flags & MSG_ERRQUEUE:  # nothing is ever in it
            raise failure(errno.EAGAIN)
        if flags & MSG_DONTWAIT:
            limit = 0
        deadline = self.deadline(limit, self.rcvtimeo)
        while True:
            found = self._next(bool(flags & MSG_PEEK))
            if found is not None:
                return found
            code = self.take_error()
            if code:
                raise failure(code)
            if self.shut & RCV_SHUTDOWN:
                return None
            if limit == 0:
                raise failure(errno.EAGAIN)
            if not self.wait(self._has_news, deadline):
                raise failure(errno.EAGAIN)

    def _next(self, keep: bool) -> Received | None:
        found = self.peeked
        if found is None and self.endpoint is not None:
            found = self.endpoint.receive_record()
        self.peeked = found if keep else None
        return found

    def _has_news(self) -> bool:
        return bool(self.poll() & (IN | ERR | HUP))

    def poll(self) -> int:
        endpoint = self.endpoint
        mask = OUT
        if self.peeked is not None or (endpoint is not None and endpoint.readable()):
            mask |= IN
        if self.error or (endpoint is not None and endpoint.error):
            mask |= ERR
        if self.shut & RCV_SHUTDOWN:
            mask |= IN | RDHUP
            if self.shut & SEND_SHUTDOWN:
                mask |= HUP
        return mask

    def shutdown(self, how: int) -> None:
        if how not in (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR):
            raise failure(errno.EINVAL)
        if self.peer is None:
            self.shut |= how + 1  # Linux notes it all the same
            raise failure(errno.ENOTCONN)
        self.shut |= how + 1

    def close(self) -> None:
        if self.endpoint is not None:
            self.endpoint.close()
            self.endpoint.owner = None
            self.endpoint = None

    def take_error(self) -> int:
        code = super().take_error()
        endpoint = self.endpoint
        if not code and endpoint is not None:
            code, endpoint.error = endpoint.error, 0
        return code

    def is_live(self) -> bool:
        return self.endpoint is not None

    def unread(self) -> int:
        """SIOCINQ: the size of the next datagram."""
        found = self._next(True)
        return len(found.data) if found is not None else 0
