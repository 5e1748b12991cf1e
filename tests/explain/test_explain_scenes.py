"""Each trouble, made on purpose in virtual time and looked at from either end; and clean connections, with none."""

from __future__ import annotations

import contextlib
import socket
import struct

import pytest

from tests.explain.captures import all_findings, explained, faults, play, seen_at
from ustack.cli.capture import Captured
from ustack.explain.finding import CERTAIN, NOTE, PROBABLE, Finding
from ustack.explain.reading import read
from ustack.explain.report import findings
from ustack.lab.side import LabSocket
from ustack.lab.world import Lab

SIDES = pytest.mark.parametrize("side", ["client", "server"])


def pair(lab: Lab) -> tuple[LabSocket, LabSocket]:
    listener = lab.server.listen()
    client = lab.client.connect(lab.server)
    served, _ = listener.accept()
    return client, served


def send(lab: Lab, client: LabSocket, served: LabSocket, size: int, read_each: float = 0.002) -> None:
    client.setblocking(False)
    sent = got = 0
    while got < size:
        with contextlib.suppress(BlockingIOError):
            sent += client.send(bytes(size - sent)) if sent < size else 0
        got += len(served.read_all())
        lab.pass_time(read_each)
    client.setblocking(True)


def end(lab: Lab, client: LabSocket, served: LabSocket) -> None:
    client.close()
    lab.settle()
    served.read_all()
    served.close()
    lab.settle()


def only(found: list[Finding], kind: str) -> Finding:
    (one,) = [finding for finding in found if finding.kind == kind]
    return one


@SIDES
@pytest.mark.parametrize("delay", ["0ms", "1ms", "20ms", "150ms"])
def test_a_clean_transfer_has_nothing_odd(side: str, delay: str) -> None:
    def scene(lab: Lab) -> None:
        client, served = pair(lab)
        send(lab, client, served, 300_000)
        send(lab, served, client, 50_000)
        end(lab, client, served)

    assert explained(scene, side, delay=delay) == []


@SIDES
def test_questions_and_answers_have_nothing_odd(side: str) -> None:
    def scene(lab: Lab) -> None:
        client, served = pair(lab)
        for think in (0.0, 0.01, 0.039, 0.041, 0.3, 1.5):
            client.sendall(b"question")
            lab.settle()
            served.read_all()
            lab.pass_time(think)
            served.sendall(b"answer" * 100)
            lab.settle()
            client.read_all()
            lab.pass_time(think)
        end(lab, client, served)

    assert explained(scene, side) == []


def test_a_reader_that_sleeps_closes_the_window() -> None:
    def scene(lab: Lab) -> None:
        client, served = pair(lab)
        client.setblocking(False)
        for _ in range(20):
            with contextlib.suppress(BlockingIOError):
                client.send(bytes(65536))
            lab.pass_time(0.05)
        lab.pass_time(3)
        for _ in range(200):
            served.read_all()
            lab.pass_time(0.01)

    for side in ("client", "server"):
        found = only(explained(scene, side), "zero window")
        assert found.confidence == CERTAIN
        assert "The server's window is closed" in found.text
        assert "The client asks" in found.text


def test_a_timer_repeats_what_the_cable_lost() -> None:
    def scene(lab: Lab) -> None:
        client, served = pair(lab)
        lab.link.cut()
        client.sendall(b"hello")
        lab.pass_time(2)
        lab.link.heal()
        lab.pass_time(5)
        served.read_all()

    found = only(explained(scene), "resend: timer")
    assert "which doubles each time" in found.text
    there = explained(scene, "server")
    assert there == []  # nothing of it passed there


@SIDES
def test_one_lost_segment_is_repaired_fast(side: str) -> None:
    def scene(lab: Lab) -> None:
        client, served = pair(lab)
        lab.link.lose(lab.client, text=True, nth=5)
        send(lab, client, served, 30_000)

    (kind,) = faults(explained(scene, side))
    assert kind == {"client": "resend: fast", "server": "resend: lost before"}[side]


def test_the_last_segment_lost_is_probed() -> None:
    def scene(lab: Lab) -> None:
        client, served = pair(lab)
        lab.link.lose(lab.client, text=True, nth=6, count=2)
        send(lab, client, served, 7 * 1448)

    assert "resend: tail" in faults(explained(scene))


def test_without_sack_three_duplicates_are_named() -> None:
    def scene(lab: Lab) -> None:
        client, served = pair(lab)
        lab.link.lose(lab.client, text=True, nth=3)
        send(lab, client, served, 14_480)

    found = only(explained(scene, tcp_sack="0"), "resend: fast")
    assert "duplicate ACKs" in found.text


def test_a_needless_resend_is_told_by_dsack() -> None:
    def scene(lab: Lab) -> None:
        client, served = pair(lab)
        lab.link.lose(lab.server, lacks="SYN", nth=1)
        client.sendall(bytes(100))
        lab.pass_time(2)
        served.read_all()

    found = only(explained(scene), "spurious resend")
    assert "D-SACK" in found.text


@SIDES
def test_what_was_overtaken_is_no_resend(side: str) -> None:
    def scene(lab: Lab) -> None:
        client, served = pair(lab)
        lab.link.hold(lab.client, 0.002, text=True, nth=1)
        send(lab, client, served, 2896)

    found = explained(scene, side)
    assert faults(found) == []
    assert [one.kind for one in found] == ([] if side == "client" else ["reordered"])


def test_a_copy_is_no_resend() -> None:
    def scene(lab: Lab) -> None:
        client, served = pair(lab)
        lab.link.repeat(lab.client, 0.001, text=True, nth=2)
        send(lab, client, served, 20_000)

    found = explained(scene, "server")
    assert [one.kind for one in found] == ["copy"]


def small_window(lab: Lab) -> None:
    client, served = pair(lab)
    send(lab, client, served, 2_000_000, 0.01)


@SIDES
def test_missing_window_scaling_limits_the_rate(side: str) -> None:
    found = only(
        explained(small_window, side, delay="50ms", **{"server.tcp_window_scaling": "0"}), "window scaling missing"
    )
    assert "The SYN-ACK of the server has no window scale" in found.text


@SIDES
def test_a_small_receive_buffer_limits_the_rate(side: str) -> None:
    changes = {"server.tcp_rmem": "4096 131072 131072"}
    found = only(explained(small_window, side, delay="50ms", **changes), "window limits the rate")
    assert "A larger receive buffer at the server" in found.text


def test_a_bottleneck_is_not_blamed_on_the_window() -> None:
    kinds = faults(explained(small_window, delay="20ms", rate="20Mbit", limit="100"))
    assert "window limits the rate" not in kinds
    assert "window scaling missing" not in kinds


def nagle(lab: Lab) -> None:
    client, served = pair(lab)
    for _ in range(6):  # past the quick ACKs of the opening
        client.sendall(b"x" * 2000)
        lab.settle()
        served.read_all()
        served.sendall(b"y")
        lab.settle()
        client.read_all()
    for _ in range(3):
        client.sendall(b"head")
        client.sendall(b"body")
        lab.pass_time(0.1)
        served.read_all()
        served.sendall(b"answer")
        lab.settle()
        client.read_all()


@SIDES
def test_nagle_meets_the_delayed_ack(side: str) -> None:
    found = only(explained(nagle, side), "Nagle and delayed ACK")
    assert "This happens" in found.text


def test_with_nodelay_there_is_no_stall() -> None:
    def scene(lab: Lab) -> None:
        client, served = pair(lab)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(5):
            client.sendall(b"head")
            client.sendall(b"body")
            lab.pass_time(0.3)
            served.read_all()

    assert explained(scene) == []


def test_nobody_listens() -> None:
    def scene(lab: Lab) -> None:
        with pytest.raises(ConnectionRefusedError):
            lab.client.connect(lab.server, 81)

    found = only(explained(scene), "RST: refused")
    assert "nobody listens on port 81" in found.text
    assert found.packets == (2,)


def test_close_with_unread_data() -> None:
    size = 5000

    def scene(lab: Lab) -> None:
        client, served = pair(lab)
        client.sendall(bytes(size))
        lab.settle()
        lab.settle()
        served.close()
        lab.settle()

    found = only(explained(scene), "RST: abort")
    assert "without reading it" in found.text
    size = 60_000
    found = only(explained(scene), "RST: unread data")
    assert "bytes unread" in found.text


def test_linger_zero_cannot_be_told_from_other_aborts() -> None:
    def scene(lab: Lab) -> None:
        client, _ = pair(lab)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        lab.settle()

    found = only(explained(scene), "RST: abort")
    assert "cannot tell which" in found.text


def test_a_host_that_was_restarted_knows_nothing() -> None:
    def scene(lab: Lab) -> None:
        client, _ = pair(lab)
        lab.restart(lab.server)
        client.sendall(b"are you there?")
        lab.settle()

    found = only(explained(scene), "RST: half-open")
    assert "answers packet 4" in found.text


def test_sending_to_who_has_closed() -> None:
    def scene(lab: Lab) -> None:
        client, served = pair(lab)
        served.close()
        lab.settle()
        client.sendall(b"too late")
        lab.settle()

    assert faults(explained(scene)) == ["RST: sent after close"]


def test_a_lost_syn_and_a_lost_syn_ack() -> None:
    def scene(lab: Lab) -> None:
        lab.link.lose(lab.client if forth else lab.server, has="SYN", nth=1)
        pair(lab)

    forth = True
    assert faults(explained(scene)) == ["SYN resent"]
    assert explained(scene, "server") == []
    forth = False
    assert faults(explained(scene)) == ["SYN resent"]
    assert faults(explained(scene, "server")) == ["SYN-ACK lost"]


def test_nothing_answers_a_syn() -> None:
    def scene(lab: Lab) -> None:
        lab.link.cut()
        lab.client.start_connecting(lab.server)
        lab.pass_time(8)

    found = only(explained(scene), "SYN unanswered")
    assert "cannot tell" in found.text


@SIDES
def test_a_full_accept_queue(side: str) -> None:
    def scene(lab: Lab) -> None:
        lab.server.listen(backlog=0)
        lab.client.connect(lab.server)
        lab.client.start_connecting(lab.server)
        lab.client.start_connecting(lab.server)
        lab.pass_time(6)

    kinds = faults(explained(scene, side))
    assert kinds
    assert set(kinds) <= {"SYN-ACK resent", "SYN resent", "SYN unanswered"}


def test_keepalives_answered_are_a_note() -> None:
    def scene(lab: Lab) -> None:
        client, _ = pair(lab)
        keep_asking(client)
        lab.pass_time(25)

    (found,) = explained(scene)
    assert (found.kind, found.weight) == ("keep-alive", NOTE)


def keep_asking(client: LabSocket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 5), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3)):
        client.setsockopt(socket.IPPROTO_TCP, option, value)


def test_keepalives_without_answer() -> None:
    def scene(lab: Lab) -> None:
        client, _ = pair(lab)
        client.sendall(b"hello")
        lab.settle()
        keep_asking(client)
        lab.link.cut()
        lab.pass_time(60)

    kinds = faults(explained(scene))
    assert kinds == ["keep-alive unanswered", "RST: keep-alive"]


def test_a_black_hole_for_long_packets() -> None:
    def scene(lab: Lab) -> None:
        client, served = pair(lab)
        client.sendall(bytes(200))
        lab.settle()
        lab.link.sim.mtu = 1200
        client.sendall(bytes(6000))
        lab.pass_time(float(30))
        served.read_all()

    found = only(explained(scene), "MTU black hole")
    assert "1448 bytes" in found.text
    assert found.confidence == PROBABLE


def test_a_damaged_segment() -> None:
    def scene(lab: Lab) -> None:
        client, served = pair(lab)
        lab.link.corrupt(lab.client, text=True, nth=2)
        send(lab, client, served, 10_000)

    records = seen_at(play(scene), "client")
    lab = play(scene)
    whole = {flight.packet: flight for flight in lab.report.flights if flight.fate == "corrupted"}
    (packet,) = whole
    damaged = [record._replace(packet=packet[:-1] + bytes([packet[-1] ^ 1])) if record.packet == packet else record
               for record in records]  # fmt: skip
    found = only(all_findings(read(damaged)), "damaged")
    assert "come again" in found.text


def finished(size: int = 60_000) -> list[Captured]:
    def scene(lab: Lab) -> None:
        client, served = pair(lab)
        send(lab, client, served, size)
        end(lab, client, served)

    return seen_at(play(scene), "client")


def test_unfinished_checksums_are_no_error() -> None:
    records = finished()
    changed = []
    for record in records:
        packet = record.packet
        if packet[12:16] == b"\x0a\x00\x00\x01":
            pseudo = sum(int.from_bytes(packet[at : at + 2], "big") for at in range(12, 20, 2)) + 6 + len(packet) - 20
            packet = packet[:36] + (pseudo % 0xFFFF).to_bytes(2, "big") + packet[38:]
        changed.append(record._replace(packet=packet))
    found = all_findings(read(changed))
    assert [(one.kind, one.weight) for one in found] == [("checksum offload", NOTE)]


def test_a_capture_that_begins_in_the_middle() -> None:
    found = all_findings(read(finished()[8:]))
    assert [(one.kind, one.weight) for one in found] == [("begins in the middle", NOTE)]


def test_everything_captured_twice() -> None:
    twice = [record._replace(at=record.at + later) for record in finished() for later in (0, 20_000)]
    found = all_findings(read([record._replace(number=number) for number, record in enumerate(twice, 1)]))
    assert [(one.kind, one.weight) for one in found] == [("captured twice", NOTE)]


def test_one_direction_only() -> None:
    records = [record for record in finished() if record.packet[12:16] == b"\x0a\x00\x00\x01"]
    assert faults(all_findings(read(records))) == []


def test_packets_that_were_kept_in_part() -> None:
    records = [
        record._replace(packet=record.packet[:68], missing=max(0, len(record.packet) - 68)) for record in finished()
    ]
    (flow,) = read(records).flows
    assert findings(flow) == []
    assert flow.halves[0].bytes == 60_000


def test_gaps_in_the_capture_are_not_losses() -> None:
    records = finished()
    missing = [record for record in records if len(record.packet) > 1000][10:13]
    found = all_findings(read([record for record in records if record not in missing]))
    assert [one.kind for one in found] == ["gaps in the capture"]
    assert found[0].text.startswith(f"{3 * 1448} bytes")


def test_a_forged_syn_does_not_split_a_connection() -> None:
    def scene(lab: Lab) -> None:
        client, served = pair(lab)
        client.sendall(b"hello")
        lab.settle()
        real = lab.flights(lab.client, text=True)[-1]
        lab.link.forge(real, flags="SYN", seq=real.frame.seq + 5000, ack=0, options=b"")
        lab.settle()
        lab.pass_time(1)
        client.sendall(b"more")
        lab.settle()
        served.read_all()

    found = explained(scene, "server")
    assert faults(found) == ["SYN inside a connection"]
