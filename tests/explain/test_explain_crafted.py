"""What the lab's hosts would not do: routers that speak, receivers that are silly. The packets are made by hand."""

from __future__ import annotations

from tests.explain.captures import all_findings, faults
from ustack.cli.capture import Captured
from ustack.explain.finding import CERTAIN, Finding
from ustack.explain.reading import read
from ustack.units import MILLISECOND
from ustack.wire import ipv4
from ustack.wire.address import parse_address
from ustack.wire.checksum import checksum
from ustack.wire.tcp import ACK, RST, SYN, TcpHeader, build_segment

CLIENT, SERVER, ROUTER = (parse_address(text) for text in ("10.0.0.1", "10.0.0.2", "10.9.9.9"))
MSS = b"\x02\x04\x05\xb4"


class Film:
    """A capture that is written down packet by packet. Numbers are relative; times in ms."""

    def __init__(self, opens: bool = True, **server: object) -> None:
        self.records: list[Captured] = []
        if opens:
            self.client(0, SYN, seq=0, options=MSS)
            self.server(20, SYN | ACK, seq=0, ack=1, options=MSS, **server)
            self.client(20, ACK, seq=1, ack=1)

    def add(self, at: float, packet: bytes) -> None:
        self.records.append(Captured(len(self.records) + 1, round(at * MILLISECOND), packet, 0))

    def client(self, at: float, flags: int, **more: object) -> None:
        self._segment(at, (CLIENT, SERVER), (4000, 80), flags, more)

    def server(self, at: float, flags: int, **more: object) -> None:
        self._segment(at, (SERVER, CLIENT), (80, 4000), flags, more)

    def _segment(
        self, at: float, ends: tuple[bytes, bytes], ports: tuple[int, int], flags: int, more: dict[str, object]
    ) -> None:
        fields = {"seq": 1, "ack": 0, "window": 60000, "length": 0, "ttl": 64, "options": b"", **more}
        header = TcpHeader(*ports, int(fields["seq"]), int(fields["ack"]), flags, int(fields["window"]))
        text = build_segment(*ends, header, bytes(fields["options"]), bytes(int(fields["length"])))
        self.add(at, ipv4.build(*ends, 6, text, ttl=int(fields["ttl"]), identification=len(self.records) + 1))

    def too_big(self, at: float, mtu: int) -> None:
        """The router's answer to the last packet."""
        message = b"\x03\x04\x00\x00\x00\x00" + mtu.to_bytes(2, "big") + self.records[-1].packet[:28]
        message = message[:2] + checksum(message).to_bytes(2, "big") + message[4:]
        self.add(at, ipv4.build(ROUTER, CLIENT, 1, message))

    def findings(self) -> list[Finding]:
        return all_findings(read(self.records))


def test_a_router_says_that_packets_are_too_long() -> None:
    film = Film()
    film.client(30, ACK, ack=1, length=1460)
    film.too_big(40, 1400)
    film.client(41, ACK, ack=1, length=1360)
    film.client(41, ACK, seq=1361, ack=1, length=100)
    film.server(61, ACK, ack=1461)
    found = next(one for one in film.findings() if one.kind == "path MTU")
    assert "10.9.9.9 says (packet 5) that packets of more than 1400 bytes of the client do not fit" in found.text
    assert "It sends shorter ones from then on." in found.text
    assert "MTU black hole" not in faults(film.findings())


def test_a_sender_that_does_not_listen_to_routers() -> None:
    film = Film()
    for at in (30, 300, 900):
        film.client(at, ACK, ack=1, length=1460)
        film.too_big(at + 10, 1400)
    found = next(one for one in film.findings() if one.kind == "path MTU")
    assert "It goes on with longer ones" in found.text


def test_silly_windows() -> None:
    film = Film(window=1000)
    at, seq = 30.0, 1
    film.client(at, ACK, seq=seq, ack=1, length=1000)
    film.server(at + 10, ACK, ack=1001, window=100)
    seq += 1000
    for _ in range(6):
        film.client(at + 11, ACK, seq=seq, ack=1, length=100)
        seq += 100
        at += 20
        film.server(at, ACK, ack=seq, window=100)
    found = film.findings()
    assert faults(found) == ["silly window"]
    assert found[0].confidence == CERTAIN
    assert "opens its window by 100 bytes at a time, 6 times" in found[0].text


def test_a_rst_from_another_distance() -> None:
    film = Film(ttl=50)
    for at in (30, 60, 90):
        film.client(at, ACK, seq=1 + (at - 30) // 30, ack=1, length=1)
        film.server(at + 10, ACK, ack=2 + (at - 30) // 30, ttl=50)
    film.server(120, RST | ACK, ack=4, ttl=61)
    (found,) = [one for one in film.findings() if one.kind.startswith("RST")]
    assert "something on the way (a firewall) may have sent it" in found.text


def test_a_reset_in_the_middle_of_a_transfer() -> None:
    film = Film()
    for index in range(4):
        film.client(30 + index, ACK, seq=1 + 1000 * index, ack=1, length=1000)
    film.server(50, ACK, ack=2001)
    film.server(51, RST | ACK, ack=2001)
    (found,) = [one for one in film.findings() if one.kind.startswith("RST")]
    assert "2000 bytes were under way" in found.text


def test_numbers_that_wrap() -> None:
    film = Film(opens=False)
    start = 0xFFFFFFFF - 1500
    film.client(0, SYN, seq=start, options=MSS)
    film.server(20, SYN | ACK, seq=0xFFFFFFF0, ack=start + 1, options=MSS)
    film.client(20, ACK, seq=start + 1, ack=0xFFFFFFF1)
    for index in range(5):
        film.client(21 + index, ACK, seq=start + 1 + 1000 * index, ack=0xFFFFFFF1, length=1000)
        film.server(41 + index, ACK, seq=0xFFFFFFF1, ack=(start + 1001 + 1000 * index) & 0xFFFFFFFF)
    (flow,) = read(sorted(film.records, key=lambda one: one.at)).flows
    assert flow.halves[0].bytes == 5000
    assert film.findings() == []


def test_no_mss_is_a_note() -> None:
    film = Film(opens=False)
    film.client(0, SYN, seq=0)
    film.server(20, SYN | ACK, seq=0, ack=1, options=MSS)
    film.client(20, ACK, ack=1, length=10)
    assert [one.kind for one in film.findings()] == ["no MSS"]
    assert faults(film.findings()) == []
