"""What names a connection (RFC 9293 section 3.3.1: the pair of sockets), and what its IP headers say."""

from __future__ import annotations

from ustack.settings import Settings
from ustack.sockopts import PMTUDISC_DONT, SocketOptions
from ustack.wire.address import is_v4


class Flow:
    """One four-tuple. ``key`` is the wire's own 36 bytes as received: the peer's address, ours, its port, ours."""

    def __init__(self, key: bytes, options: SocketOptions) -> None:
        self.key = key
        self.options = options
        """Whose header policy counts: the connection's, its listener's, or the defaults."""
        self.remote_address: bytes = key[0:16]
        self.local_address: bytes = key[16:32]
        self.remote_port: int = key[32] << 8 | key[33]
        self.local_port: int = key[34] << 8 | key[35]
        self.is_v4: bool = is_v4(key)

    def header_bytes(self) -> int:
        """IP and TCP header of a segment without options."""
        return 40 if self.is_v4 else 60

    def ttl(self, settings: Settings) -> int:
        """IP_TTL or IPV6_UNICAST_HOPS, else the host's (RFC 9293 MUST-49)."""
        ttl = self.options.ttl if self.is_v4 else self.options.hops
        return settings.ip_default_ttl if ttl < 0 else ttl

    def tos(self) -> int:
        """IP_TOS or IPV6_TCLASS without the ECN field, which is TCP's own (RFC 9293 MUST-48)."""
        return (self.options.tos if self.is_v4 else self.options.tclass) & 0xFC

    def dont_fragment(self) -> bool:
        """IP_MTU_DISCOVER: routers may not cut what leaves."""
        mode = self.options.mtu_discover if self.is_v4 else self.options.mtu_discover6
        return mode != PMTUDISC_DONT
