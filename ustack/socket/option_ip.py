"""The options of IPPROTO_IP and IPPROTO_IPV6."""

from __future__ import annotations

import errno
from typing import Final

from ustack.socket.core import Core, failure
from ustack.socket.option import (
    INT_MAX,
    INT_MIN,
    Fixed,
    Flag,
    Number,
    Option,
    Remembered,
    RememberedShort,
    RememberedV4,
    Told,
    knob,
    pack_int,
    unpack_int,
)
from ustack.socket.stream import StreamCore


class TypeOfService(Number):
    """IP_TOS and IPV6_TCLASS: TCP keeps the ECN bits to itself."""

    def accept(self, core: Core, value: int) -> int:
        if self.high == 255:  # IPV6_TCLASS
            value = 0 if value == -1 else super().accept(core, value)
        return value & (0xFC if isinstance(core, StreamCore) else 0xFF)


class HopLimit(Number):
    """IP_TTL and IPV6_UNICAST_HOPS: -1 is the default."""

    def accept(self, core: Core, value: int) -> int:
        return -1 if value == -1 else super().accept(core, value)


class MulticastTtl(Remembered):
    """IP_MULTICAST_TTL: -1 is 1; not for streams, ``on_stream`` is their errno."""

    def __init__(self, on_stream: int) -> None:
        super().__init__(1, -1, 255)
        self.on_stream = on_stream

    def set(self, core: Core, data: bytes) -> None:
        if isinstance(core, StreamCore):
            raise failure(self.on_stream)
        super().set(core, data)

    def get(self, core: Core) -> bytes:
        value = super().get(core)
        return value if unpack_int(value) >= 0 else pack_int(1)


class MulticastHops(MulticastTtl):
    """IPV6_MULTICAST_HOPS: a stream refuses it before it measures."""

    least = 0

    def __init__(self) -> None:
        super().__init__(errno.ENOPROTOOPT)

    def set(self, core: Core, data: bytes) -> None:
        if len(data) < 4 and not isinstance(core, StreamCore):
            raise failure(errno.EINVAL)
        super().set(core, data)


class PathMtu(Told):
    """IPV6_MTU, of which only "no bound of my own" can be set."""

    def __init__(self) -> None:
        super().__init__(_mtu)

    def set(self, core: Core, data: bytes) -> None:
        if unpack_int(data):
            raise failure(errno.EINVAL)


def _mtu(core: Core) -> int:
    """IP_MTU: of the way to the connected peer."""
    if isinstance(core, StreamCore):
        if core.connection is None:
            raise failure(errno.ENOTCONN)
        return int(core.connection.info(core.now()).tcpi_pmtu)
    core.peer_name()
    return core.net.stack.mtu


IP_TABLE: Final[dict[int, Option]] = {
    1: TypeOfService("tos", INT_MIN, INT_MAX),
    2: HopLimit("ttl", 1, 255, knob("ip_default_ttl"), -1),
    3: Fixed(),  # IP_HDRINCL: of raw sockets
    6: Remembered(flag=True),  # IP_RECVOPTS
    7: Remembered(flag=True),  # IP_RETOPTS
    8: Flag("pktinfo"),
    10: Number("mtu_discover", 0, 5),
    11: Flag("recverr"),
    12: Flag("recvttl"),
    13: Flag("recvtos"),
    14: Told(_mtu),
    15: Flag("freebind"),
    18: Remembered(flag=True),  # IP_PASSSEC
    19: Flag("transparent"),
    20: Remembered(flag=True),  # IP_RECVORIGDSTADDR
    21: Remembered(0, 0, 255),  # IP_MINTTL
    22: Fixed(),  # IP_NODEFRAG: of raw sockets
    23: Remembered(flag=True),  # IP_CHECKSUM
    24: Flag("bind_address_no_port"),
    26: Remembered(0, 0, 1),  # IP_RECVERR_RFC4884
    33: MulticastTtl(errno.EINVAL),
    34: Remembered(1, flag=True),  # IP_MULTICAST_LOOP
    49: RememberedV4(1, 0, 1),  # IP_MULTICAST_ALL
    51: Number("local_port_range", INT_MIN, INT_MAX),
    52: Told(lambda core: core.local_name()[1]),  # IP_PROTOCOL tells the local port: the kernel's field is one
}
NEEDS_A_BYTE: Final = frozenset({2, 15, 19, 21, 33, 34, 49})
"""IP options for which Linux refuses length 0; the others read it as the value 0."""

IPV6_TABLE: Final[dict[int, Option]] = {
    16: HopLimit("hops", 0, 255, knob("ip_default_ttl"), -1),
    18: MulticastHops(),
    19: Remembered(1, 0, 1),  # IPV6_MULTICAST_LOOP
    22: Fixed(),  # IPV6_ROUTER_ALERT: of raw sockets
    23: Number("mtu_discover6", 0, 5),
    24: PathMtu(),
    25: Flag("recverr6"),
    26: Flag("v6only"),
    29: Remembered(1, flag=True),  # IPV6_MULTICAST_ALL
    49: Flag("recvpktinfo6"),
    51: Flag("recvhoplimit"),
    66: Flag("recvtclass"),
    67: TypeOfService("tclass", 0, 255),
    70: RememberedShort(1, flag=True),  # IPV6_AUTOFLOWLABEL
    73: Remembered(0, 0, 255),  # IPV6_MINHOPCOUNT
    75: Flag("transparent"),
    78: Flag("freebind"),
}
