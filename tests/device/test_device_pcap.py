"""What a wrapper writes down is what crossed: read back by scapy."""

from __future__ import annotations

import io
from pathlib import Path

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.utils import RawPcapNgReader, RawPcapReader, rdpcap

from ustack.device.impair import ImpairedDevice
from ustack.device.impairment import Impairment
from ustack.device.memory import MemoryPair
from ustack.device.pcap import PcapDevice, PcapWriter
from ustack.device.trace import TraceDevice

V4 = bytes(IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1, dport=2) / b"four")
V6 = bytes(IPv6(src="fd00::1", dst="fd00::2") / UDP(sport=1, dport=2) / b"six")
EPOCH = 1_700_000_000_000_000_000


def test_scapy_reads_what_was_written(tmp_path: Path) -> None:
    pair = MemoryPair()
    path = tmp_path / "out.pcap"
    device = PcapDevice(pair.left, path, EPOCH)
    device.write_packets([V4], 1)
    pair.right.write_packets([V6], 1)
    assert device.read_packets(1_000_000_002) == [V6]
    assert device.read_packets(1_000_000_003) == []
    device.close()
    device.close()
    packets = rdpcap(str(path))
    assert [bytes(packet) for packet in packets] == [V4, V6]
    assert [type(packet) for packet in packets] == [IP, IPv6]
    assert [int(packet.time * 10**9) for packet in packets] == [EPOCH + 1, EPOCH + 1_000_000_002]
    with RawPcapReader(str(path)) as reader:
        assert not isinstance(reader, RawPcapNgReader)
        assert reader.nano
        assert reader.linktype == 101
    pair.close()


def test_long_packets_are_cut_and_their_length_is_kept() -> None:
    target = io.BytesIO()
    writer = PcapWriter(target, 0, snaplen=24)
    writer.write([V4], 5)
    writer.close()
    assert (
        target.getvalue()[24:] == bytes.fromhex("00000000 05000000 18000000") + len(V4).to_bytes(4, "little") + V4[:24]
    )


def test_only_what_the_inner_device_took_is_written() -> None:
    pair = MemoryPair(capacity=1)
    target = io.BytesIO()
    device = PcapDevice(pair.left, target)
    assert device.write_packets([V4, V6], 0) == 1
    assert len(target.getvalue()) == 24 + 16 + len(V4)
    pair.close()


def test_wrappers_wrap_wrappers() -> None:
    pair = MemoryPair(mtu=1400)
    lines: list[str] = []
    target = io.BytesIO()
    lossy = ImpairedDevice(pair.left, Impairment(loss=1.0))
    device = TraceDevice(PcapDevice(lossy, target), lines.append, start=1_000_000_000)
    assert device.mtu == 1400
    device.write_packets([V4], 3_000_004_000)
    assert pair.right.read_packets(0) == []
    assert len(target.getvalue()) == 24 + 16 + len(V4)
    assert lines == ["2.000004 > 10.0.0.1:1 > 10.0.0.2:2 udp (4)"]
    device.close()
    pair.close()
