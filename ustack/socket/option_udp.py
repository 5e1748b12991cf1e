"""The options of IPPROTO_UDP."""

from __future__ import annotations

import errno
from typing import Final

from ustack.socket.core import Core, failure
from ustack.socket.datagram import DatagramCore
from ustack.socket.option import Option, Told, pack_int, unpack_int


class Cork(Option):
    """UDP_CORK: what is sent meanwhile becomes one datagram, which leaves when the option is switched off."""

    def set(self, core: Core, data: bytes) -> None:
        assert isinstance(core, DatagramCore)
        core.cork(bool(unpack_int(data)))

    def get(self, core: Core) -> bytes:
        assert isinstance(core, DatagramCore)
        return pack_int(core.is_corked)


class SegmentSize(Option):
    """UDP_SEGMENT: a longer text becomes several datagrams of this size."""

    def set(self, core: Core, data: bytes) -> None:
        assert isinstance(core, DatagramCore)
        size = unpack_int(data)
        if not 0 <= size <= 0xFFFF:
            raise failure(errno.EINVAL)
        core.segment_size = size

    def get(self, core: Core) -> bytes:
        assert isinstance(core, DatagramCore)
        return pack_int(core.segment_size)


TABLE: Final[dict[int, Option]] = {
    1: Cork(),
    10: Told(lambda core: 0),  # UDPLITE_SEND_CSCOV: of UDP-Lite, which Linux has given up
    11: Told(lambda core: 0),  # UDPLITE_RECV_CSCOV
    103: SegmentSize(),
}
