"""States read off segments, and how they are drawn."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from rich.console import Console

from ustack.cli.capture import read_capture
from ustack.cli.complaint import Complaint
from ustack.cli.ladder import WIDTH, Watcher, draw, show
from ustack.cli.lifelines import Lifeline, Lifelines
from ustack.device.pcap import PcapWriter
from ustack.tcp.state import State
from ustack.wire.address import flow_key, parse_address
from ustack.wire.frame import Segment, Transmit
from ustack.wire.split import cut
from ustack.wire.tcp import ACK, FIN, PSH, RST, SYN

CLIENT, SERVER = parse_address("198.18.0.1"), parse_address("198.18.0.2")
C_ISN, S_ISN = 0xFFFFFFF0, 5000
"""The client's numbers wrap in the middle of each dialogue."""
MS = 1_000_000


class Dialogue:
    """Segments by relative numbers, as ladders show them."""

    def __init__(self) -> None:
        self.lines = Lifelines()
        self.now = 0
        self.line: Lifeline | None = None

    def client(self, flags: int, seq: int, ack: int = 0, length: int = 0) -> tuple[State, State]:
        return self._pass(True, flags, seq, ack, length)

    def server(self, flags: int, seq: int, ack: int = 0, length: int = 0) -> tuple[State, State]:
        return self._pass(False, flags, seq, ack, length)

    def _pass(self, forth: bool, flags: int, seq: int, ack: int, length: int) -> tuple[State, State]:
        ends = ((CLIENT, 40000, C_ISN), (SERVER, 80, S_ISN))
        (source, sport, own), (destination, dport, other) = ends if forth else ends[::-1]
        key = flow_key(source, sport, destination, dport)
        wire_ack = (other + ack) & 0xFFFFFFFF if flags & ACK else 0
        segment = Segment(key, 6, 0, 64, b"", (own + seq) & 0xFFFFFFFF, wire_ack, flags, 1000, payload_length=length)
        self.now += MS
        self.line = self.lines.see(segment, self.now)
        row = self.line.rows[-1]
        return row.left, row.right

    def open(self) -> None:
        assert self.client(SYN, 0) == (State.SYN_SENT, State.SYN_RECEIVED)
        assert self.server(SYN | ACK, 0, 1) == (State.ESTABLISHED, State.SYN_RECEIVED)
        assert self.client(ACK, 1, 1) == (State.ESTABLISHED, State.ESTABLISHED)

    def exchange(self) -> None:
        self.client(PSH | ACK, 1, 1, 100)
        self.server(ACK, 1, 101)
        self.server(PSH | ACK, 1, 101, 1000)
        assert self.client(ACK, 101, 1001) == (State.ESTABLISHED, State.ESTABLISHED)


def test_four_segments_close() -> None:
    dialogue = Dialogue()
    dialogue.open()
    dialogue.exchange()
    assert dialogue.client(FIN | ACK, 101, 1001) == (State.FIN_WAIT_1, State.CLOSE_WAIT)
    assert dialogue.server(ACK, 1001, 102) == (State.FIN_WAIT_2, State.CLOSE_WAIT)
    assert dialogue.server(FIN | ACK, 1001, 102) == (State.TIME_WAIT, State.LAST_ACK)
    assert dialogue.client(ACK, 102, 1002) == (State.TIME_WAIT, State.CLOSED)
    assert dialogue.line is not None
    assert dialogue.line.is_over()


def test_three_segments_close() -> None:
    dialogue = Dialogue()
    dialogue.open()
    assert dialogue.server(FIN | ACK, 1, 1) == (State.CLOSE_WAIT, State.FIN_WAIT_1)
    assert dialogue.client(FIN | ACK, 1, 2) == (State.LAST_ACK, State.TIME_WAIT)
    assert dialogue.server(ACK, 2, 2) == (State.CLOSED, State.TIME_WAIT)


def test_both_close_at_once() -> None:
    dialogue = Dialogue()
    dialogue.open()
    assert dialogue.client(FIN | ACK, 1, 1) == (State.FIN_WAIT_1, State.CLOSE_WAIT)
    # The server's was on its way before: it does not acknowledge the client's.
    states = dialogue.server(FIN | ACK, 1, 1)
    assert states[0] is State.CLOSING


def test_a_repeated_fin_changes_nothing() -> None:
    dialogue = Dialogue()
    dialogue.open()
    dialogue.client(FIN | ACK, 1, 1)
    assert dialogue.client(FIN | ACK, 1, 1) == (State.FIN_WAIT_1, State.CLOSE_WAIT)
    assert dialogue.line is not None
    assert dialogue.line.rows[-1].label.endswith("(again)")


def test_nobody_listens() -> None:
    dialogue = Dialogue()
    dialogue.client(SYN, 0)
    assert dialogue.server(RST | ACK, 0, 1) == (State.CLOSED, State.CLOSED)
    assert dialogue.line is not None
    assert {row.right for row in dialogue.line.rows} == {State.CLOSED}
    assert dialogue.line.first_states == (State.CLOSED, State.CLOSED)


def test_a_reset() -> None:
    dialogue = Dialogue()
    dialogue.open()
    assert dialogue.client(RST, 1) == (State.CLOSED, State.CLOSED)
    # The same pair of endpoints opens again: another connection.
    dialogue.open()
    assert len(dialogue.lines.connections) == 2


def test_a_capture_that_begins_in_the_middle() -> None:
    dialogue = Dialogue()
    assert dialogue.server(ACK, 5000, 300, 1000) == (State.ESTABLISHED, State.ESTABLISHED)
    assert dialogue.client(FIN | ACK, 300, 6000) == (State.CLOSE_WAIT, State.FIN_WAIT_1)


def test_the_oldest_is_forgotten() -> None:
    lines = Lifelines(most=2)
    for port in (1, 2, 3):
        lines.see(Segment(flow_key(CLIENT, port, SERVER, 80), 6, 0, 64, b"", 1, 0, SYN, 1000), 0)
    assert [line.left.name for line in lines.connections] == ["198.18.0.1:2", "198.18.0.1:3"]


def test_the_drawing() -> None:
    dialogue = Dialogue()
    dialogue.open()
    dialogue.exchange()
    assert dialogue.line is not None
    rows = draw(dialogue.line, left="curl", right="ustack")
    assert max(map(len, rows)) <= WIDTH == 99
    assert rows[0].split() == ["curl", "198.18.0.1:40000", "ustack", "198.18.0.2:80"]
    assert rows[1].split() == ["time", "(ms)", "CLOSED", "LISTEN"]
    assert rows[2].split()[:2] == ["0.000", "SYN_SENT"]
    assert "SYN seq 0 win 1000" in rows[2]
    assert rows[2].endswith("─▶ SYN_RECEIVED")
    assert rows[3].split()[:4] == ["1.000", "ESTABLISHED", "◀" + rows[3].split("◀")[1].split(" ")[0], "SYN"]
    assert "PSH ACK 1:101(100) ack 1 win 1000" in rows[5]
    assert rows[5].endswith("│")


def test_long_connections_are_folded() -> None:
    dialogue = Dialogue()
    dialogue.open()
    for number in range(100):
        dialogue.server(ACK, 1 + number * 1000, 1, 1000)
        dialogue.client(ACK, 1, 1001 + number * 1000)
    dialogue.client(FIN | ACK, 1, 100_001)
    assert dialogue.line is not None
    rows = draw(dialogue.line, most=40)
    assert len(rows) < 40
    assert [row.strip(" │") for row in rows if "⋮" in row] == ["⋮ 191 segments more, 92.8 KiB ◀ ⋮"]
    assert "FIN ACK" in rows[-1]
    assert len(draw(dialogue.line, most=1000)) == 2 + 204


def test_no_colour_where_nobody_sees_it() -> None:
    dialogue = Dialogue()
    dialogue.open()
    assert dialogue.line is not None
    plain, coloured = io.StringIO(), io.StringIO()
    show(Console(file=plain, width=120), dialogue.line)
    show(Console(file=coloured, width=120, force_terminal=True, color_system="standard"), dialogue.line)
    assert plain.getvalue().splitlines() == draw(dialogue.line)
    assert "\x1b[" in coloured.getvalue()


def packets() -> list[bytes]:
    """A refused connect, as packets."""
    syn = Transmit(CLIENT, SERVER, 40000, 80, C_ISN, 0, SYN, 1000)
    rst = Transmit(SERVER, CLIENT, 80, 40000, 0, C_ISN + 1, RST | ACK, 0)
    return [*cut(syn), *cut(rst)]


def test_a_watcher_tells_once() -> None:
    told: list[Lifeline] = []
    watcher = Watcher(told.append)
    watcher.see([b"no packet", *packets()], 0)
    watcher.see(packets()[1:], 1)
    assert len(told) == 1


def test_reading_what_pcap_writes(tmp_path: Path) -> None:
    writer = PcapWriter(tmp_path / "a.pcap", epoch=1_700_000_000_000_000_000)
    writer.write(packets(), 123)
    writer.close()
    assert list(read_capture(str(tmp_path / "a.pcap"))) == [(1_700_000_000_000_000_123, p) for p in packets()]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("link", "head"),
    [
        (1, bytes(12) + b"\x08\x00"),
        (1, bytes(12) + b"\x81\x00\x00\x07\x08\x00"),
        (0, bytes(4)),
        (113, bytes(16)),
        (101, b""),
    ],
)
def test_reading_other_captures(tmp_path: Path, order: str, link: int, head: bytes) -> None:
    packet = packets()[0]
    frame = head + packet
    data = struct.pack(order + "IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link)
    data += struct.pack(order + "IIII", 5, 7, len(frame), len(frame)) + frame
    data += struct.pack(order + "IIII", 6, 0, 30, 30) + bytes(30)  # no IP packet, or ARP
    (tmp_path / "b.pcap").write_bytes(data)
    assert list(read_capture(str(tmp_path / "b.pcap"))) == [(5_000_007_000, packet)]


@pytest.mark.parametrize("data", [b"", b"\x0a\x0d\x0d\x0a" + bytes(100), b"hello" * 20])
def test_what_is_no_capture(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "c").write_bytes(data)
    with pytest.raises(Complaint, match="is no capture that ustack reads"):
        list(read_capture(str(tmp_path / "c")))
    with pytest.raises(Complaint, match="No such file"):
        list(read_capture(str(tmp_path / "missing")))
