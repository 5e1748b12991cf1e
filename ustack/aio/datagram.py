"""UDP as an asyncio transport."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ustack.aio.ear import Ear
from ustack.aio.names import name_of
from ustack.errors import from_errno
from ustack.events import Event
from ustack.udp import UdpEndpoint
from ustack.wire.address import parse_address

if TYPE_CHECKING:
    from ustack.aio.host import AsyncHost


class DatagramTransport(asyncio.DatagramTransport):
    """One UDP endpoint; datagrams go to ``datagram_received``, ICMP errors to ``error_received``."""

    def __init__(self, host: AsyncHost, endpoint: UdpEndpoint, protocol: asyncio.DatagramProtocol) -> None:
        super().__init__()
        self._host = host
        self._endpoint = endpoint
        self._protocol = protocol
        self._is_closing = False
        endpoint.owner = Ear(self.on_event)
        host.transports[self] = None

    def start(self) -> None:
        """Tells the protocol, and begins to read."""
        self._host.events.call_soon(self._begin)

    def _begin(self) -> None:
        self._protocol.connection_made(self)
        self._read()

    def on_event(self, event: Event) -> None:
        """Datagrams, or an ICMP error."""
        if not self._is_closing:
            self._read()

    def _read(self) -> None:
        if self._endpoint.error:
            code, self._endpoint.error = self._endpoint.error, 0
            self._protocol.error_received(from_errno(code))
        while not self._is_closing and (found := self._endpoint.receive()) is not None:
            data, address, port = found
            self._protocol.datagram_received(data, name_of(address, port))

    def sendto(self, data: bytes | bytearray | memoryview, addr: Any = None) -> None:
        """Sends one datagram: to ``addr``, or to the peer of a connected endpoint. Raises TypeError, ValueError."""
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        remote = self._endpoint.remote
        if remote is not None and addr is not None and tuple(addr[:2]) != name_of(*remote)[:2]:
            raise ValueError(f"Invalid address: must be None or {name_of(*remote)}")
        if remote is None and addr is None:
            raise ValueError("the endpoint has no peer: an address is needed")
        if self._is_closing:
            return
        now = self._host.driver.now()
        try:
            if remote is not None:
                self._endpoint.send(bytes(data), now)
            else:
                self._endpoint.send_to(bytes(data), parse_address(str(addr[0])), int(addr[1]), now)
        except OSError as error:
            self._protocol.error_received(error)
        self._host.driver.flush()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``sockname``, ``peername`` (None without a peer)."""
        if name == "sockname":
            return name_of(*self._endpoint.local)
        if name == "peername":
            return name_of(*self._endpoint.remote) if self._endpoint.remote is not None else None
        return default

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who is told what arrives."""
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Another protocol takes over."""
        assert isinstance(protocol, asyncio.DatagramProtocol)
        self._protocol = protocol

    def get_write_buffer_size(self) -> int:
        """Nothing waits: a datagram leaves, or is lost."""
        return 0

    def is_closing(self) -> bool:
        """Whether it is closed."""
        return self._is_closing

    def close(self) -> None:
        """``connection_lost(None)`` follows."""
        self._end(None)

    def abort(self) -> None:
        """The same."""
        self._end(None)

    def reset(self) -> None:
        """For a host that closes."""
        self._end(None)

    def _end(self, error: Exception | None) -> None:
        if self._is_closing:
            return
        self._is_closing = True
        self._endpoint.owner = None
        self._endpoint.close()
        self._host.transports.pop(self, None)
        self._host.events.call_soon(self._protocol.connection_lost, error)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.get_extra_info('sockname')}{' closed' if self._is_closing else ''}>"
