"""SEGMENT ARRIVES (RFC 9293 section 3.10.7): every kind of segment in every state, against one table.

``arrivals.txt`` says what is answered (nothing more), what the state is then, and which rule refused the segment; the
kernel must agree but for the rows that say why not.
"""

from __future__ import annotations

import pytest

from tests.tcp.arrivals import SEGMENTS, STATES, Row, answer, ask, read_table
from tests.tcp.kernel_twin import KernelHost
from tests.tcp.peer import Peer
from tests.tcp.world import VirtualHost
from ustack.drops import Drop

ROWS = read_table()
TRIES = 3
"""The kernel's clock runs on while a busy machine does something else: a row may be asked again."""


def test_the_table_is_whole() -> None:
    assert [(row.state, row.segment) for row in ROWS] == [(state, name) for state in STATES for name in SEGMENTS]


@pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("row", ROWS, ids=repr)
def test_arrival(row: Row, family: int) -> None:
    peer = Peer(VirtualHost(tcp_early_retrans=0), family=family)  # as the kernel's twin: no probe comes between
    STATES[row.state](peer)
    told: list[list[str]] = []
    refused = peer.host.new_drops(lambda: told.append(answer(peer, SEGMENTS[row.segment])))
    assert told == [row.answer]
    assert ",".join(refused) == row.refused
    assert peer.host.outbox == []


@pytest.mark.parametrize("state", STATES)
def test_a_wrong_checksum_is_never_noticed(state: str) -> None:
    """MUST-3: whatever the segment says, whatever the state."""
    peer = Peer(VirtualHost(tcp_early_retrans=0))
    STATES[state](peer)
    peer.heard()
    before = peer.state()
    for line in SEGMENTS.values():
        packet = bytearray(bytes(peer.packet(line)))
        packet[36] ^= 0x55
        peer.host.inject(bytes(packet))
    peer.host.settle()
    peer.expect()
    assert peer.state() == before
    assert peer.host.drops()[Drop.TCP_CHECKSUM] == len(SEGMENTS)


@pytest.mark.kernel
@pytest.mark.tun
@pytest.mark.parametrize("state", STATES)
def test_the_kernel_agrees(twin: KernelHost, state: str) -> None:
    for row in ROWS:
        if row.state == state:
            assert any(_kernel_answers(twin, row) == row.linux for _ in range(TRIES)), row


def _kernel_answers(twin: KernelHost, row: Row) -> list[str]:
    twin.next_port += 1
    peer = Peer(twin, twin.next_port, twin.next_port)
    try:
        return ask(peer, row.state, SEGMENTS[row.segment])
    except AssertionError as error:
        return [str(error)]
