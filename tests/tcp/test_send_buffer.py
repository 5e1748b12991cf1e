"""What poll() promises a writer holds: where a write would take nothing, the connection is not writable."""

from __future__ import annotations

import pytest

from tests.tcp.conftest import MakePeer
from ustack.tcp.sender import buffer


@pytest.mark.parametrize("size", [500, 1000, 1460, 10_000, 32_000, 65_000, 65_536, 200_000])
@pytest.mark.parametrize("window", [2000, 65535])
def test_who_is_writable_can_write(make: MakePeer, size: int, window: int) -> None:
    """A buffer that was full to the byte took nothing more, and poll() said that it would: sendall() span for ever."""
    peer = make()
    call = peer.opens()
    peer.send(f". 1 ack 1 win {window}")
    call.tcb.options.sndbuf = 1 << 20
    call.tcb.option_changed("sndbuf", peer.host.now)
    for _ in range(5000):
        was_writable = call.tcb.writable()
        taken = call.tcb.write(bytes(size), peer.host.now)
        assert taken or not was_writable
        if not taken:
            assert buffer.room(call.tcb.sender) == 0
            break
