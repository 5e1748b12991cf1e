"""Every form in which a capture comes: pcap and pcapng, both byte orders, micro- and nanoseconds, link types."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from ustack.cli.capture import read_packets
from ustack.cli.command import main
from ustack.wire import ipv4, ipv6
from ustack.wire.address import parse_address
from ustack.wire.tcp import ACK, RST, SYN, TcpHeader, build_segment

AT = 1_700_000_000_123_456_000
V4 = parse_address("10.0.0.1"), parse_address("10.0.0.2")
V6 = parse_address("fd00::1"), parse_address("fd00::2")
ETHERNET = bytes(12)


def packet(ends: tuple[bytes, bytes], header: TcpHeader) -> bytes:
    build = ipv4.build if ends[0].startswith(bytes(10) + b"\xff\xff") else ipv6.build
    return build(*ends, 6, build_segment(*ends, header))


def refused(ends: tuple[bytes, bytes] = V4) -> list[bytes]:
    """A SYN, and the RST that answers it."""
    return [packet(ends, TcpHeader(4000, 81, 1000, 0, SYN, 64000)),
            packet(ends[::-1], TcpHeader(81, 4000, 0, 1001, RST | ACK, 0))]  # fmt: skip


def pcap(order: str, nanoseconds: bool, link: int, frames: list[bytes]) -> bytes:
    magic, unit = (0xA1B23C4D, 1) if nanoseconds else (0xA1B2C3D4, 1000)
    found = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link)
    for frame in frames:
        found += struct.pack(order + "IIII", AT // 10**9, AT % 10**9 // unit, len(frame), len(frame)) + frame
    return found


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def pcapng(order: str, link: int, frames: list[bytes], resolution: int | None = None) -> bytes:
    options = b"" if resolution is None else struct.pack(order + "HHB3xHH", 9, 1, resolution, 0, 0)
    units = 10**6 if resolution is None else 10**resolution if resolution < 128 else 2 ** (resolution - 128)
    found = block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    found += block(order, 1, struct.pack(order + "HHI", link, 0, 65535) + options)
    found += block(order, 4, b"a name resolution block, to be skipped")
    for frame in frames:
        at = AT * units // 10**9
        found += block(
            order, 6, struct.pack(order + "IIIII", 0, at >> 32, at & 0xFFFFFFFF, len(frame), len(frame)) + frame
        )
    return found


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nanoseconds", [True, False])
def test_pcap(tmp_path: Path, order: str, nanoseconds: bool) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(pcap(order, nanoseconds, 101, refused()))
    assert [(found.number, found.at, found.packet) for found in read_packets(str(path))] == [
        (number, AT, one) for number, one in enumerate(refused(), 1)
    ]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("resolution", [None, 6, 9])
def test_pcapng(tmp_path: Path, order: str, resolution: int | None) -> None:
    path = tmp_path / "x.pcapng"
    path.write_bytes(pcapng(order, 1, [ETHERNET + b"\x08\x00" + one for one in refused()], resolution))
    assert [(found.number, found.at, found.packet) for found in read_packets(str(path))] == [
        (number, AT, one) for number, one in enumerate(refused(), 1)
    ]


@pytest.mark.parametrize(
    ("link", "head"),
    [
        (1, ETHERNET + b"\x08\x00"),
        (1, ETHERNET + b"\x81\x00\x00\x07\x08\x00"),
        (0, b"\x02\x00\x00\x00"),
        (108, b"\x00\x00\x00\x02"),
        (113, bytes(14) + b"\x08\x00"),
        (276, b"\x08\x00" + bytes(18)),
        (12, b""),
        (228, b""),
    ],
)
def test_link_types(tmp_path: Path, link: int, head: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(
        pcap(
            "<",
            False,
            link,
            [ETHERNET + b"\x08\x06" + bytes(28) if link == 1 else b"", *(head + one for one in refused())],
        )
    )
    assert main(["explain", str(path), "--json"]) == 0
    (flow,) = json.loads(capsys.readouterr().out)["connections"]
    assert [one["kind"] for one in flow["findings"]] == ["RST: refused"]
    assert flow["packets"] == [2, 3]  # as Wireshark counts: the frame before them is one, too


def test_ipv6(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(pcap("<", False, 101, refused(V6)))
    assert main(["explain", str(path)]) == 0
    said = capsys.readouterr().out
    assert "[fd00::1]:4000 (client) > [fd00::2]:81 (server)" in said
    assert "nobody listens on port 81" in said


def test_a_file_that_ends_early_or_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    for whole in (pcap("<", False, 101, refused()), pcapng("<", 101, refused())):
        for length in range(24, len(whole)):
            path.write_bytes(whole[:length])
            assert len(list(read_packets(str(path)))) <= 2
        for at in range(24, len(whole)):
            path.write_bytes(whole[:at] + b"\xff\xff\xff\xff" + whole[at + 4 :])
            assert main(["explain", str(path)]) in (0, 1, 2)
