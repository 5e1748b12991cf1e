"""The bad link: each fault at the rate that was asked for, the same for the same seed, and nothing else."""

from __future__ import annotations

import itertools
import re

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6

from ustack.device.impair import ImpairedDevice
from ustack.device.impairment import Impairment, Path, is_ecn_capable, parse_impairment, with_ce
from ustack.device.memory import MemoryPair

MS = 1_000_000
NEVER = 1 << 60


def packets(count: int, size: int = 100) -> list[bytes]:
    return [number.to_bytes(4, "big").ljust(size, b"\0") for number in range(count)]


def crossed(
    impairment: Impairment, count: int = 20_000, size: int = 100, every: int = 1000
) -> tuple[Path, list[bytes]]:
    """What arrives of ``count`` packets, offered each ``every`` ns."""
    path = Path(impairment)
    for number, packet in enumerate(packets(count, size)):
        path.offer(packet, number * every)
    return path, path.due(NEVER)


def test_a_perfect_path_changes_nothing() -> None:
    path, arrived = crossed(Impairment(), 100)
    assert arrived == packets(100)
    assert path.next_deadline() is None


@pytest.mark.parametrize("share", [0.001, 0.03, 0.5, 1.0])
def test_loss(share: float) -> None:
    path, arrived = crossed(Impairment(loss=share))
    assert len(arrived) == 20_000 - path.counts["lost"]
    assert path.counts["lost"] == pytest.approx(20_000 * share, rel=0.35)


def test_bursts_are_as_long_and_as_frequent_as_the_chain_says() -> None:
    path, arrived = crossed(Impairment(burst=(0.01, 0.25)))
    numbers = [int.from_bytes(packet[:4], "big") for packet in arrived]
    gaps = [later - earlier - 1 for earlier, later in itertools.pairwise(numbers) if later - earlier > 1]
    assert sum(gaps) / len(gaps) == pytest.approx(4, rel=0.2)
    assert path.counts["lost"] / 20_000 == pytest.approx(0.01 / (0.01 + 0.25), rel=0.25)


def test_duplicates_arrive_twice() -> None:
    path, arrived = crossed(Impairment(duplicate=0.01))
    assert len(arrived) == 20_000 + path.counts["duplicated"]
    assert len(set(arrived)) == 20_000
    assert path.counts["duplicated"] == pytest.approx(200, rel=0.3)


def test_reordered_packets_are_overtaken_and_all_arrive() -> None:
    path, arrived = crossed(Impairment(reorder=0.01, delay=20 * MS), every=100_000)
    assert sorted(arrived) == packets(20_000)
    late = sum(later < earlier for earlier, later in itertools.pairwise(arrived))
    assert 100 < late <= path.counts["reordered"] < 300


def test_jitter_alone_never_reorders() -> None:
    _, arrived = crossed(Impairment(delay=20 * MS, jitter=10 * MS))
    assert arrived == packets(20_000)


def test_corruption_turns_one_bit() -> None:
    path, arrived = crossed(Impairment(corrupt=0.05), 2000)
    differences = [
        bin(int.from_bytes(old, "big") ^ int.from_bytes(new, "big")).count("1")
        for old, new in zip(packets(2000), arrived, strict=True)
    ]
    assert set(differences) == {0, 1}
    assert sum(differences) == path.counts["corrupted"] > 50


def test_delay() -> None:
    path = Path(Impairment(delay=20 * MS))
    path.offer(b"x", 5)
    assert path.next_deadline() == 20 * MS + 5
    assert path.due(20 * MS + 4) == []
    assert path.due(20 * MS + 5) == [b"x"]


def test_rate_spaces_packets_and_the_queue_is_bounded() -> None:
    path = Path(Impairment(rate=8_000_000, limit=3))  # one byte a microsecond
    for packet in packets(10, 1000):
        path.offer(packet, 0)
    assert path.counts["overflowed"] == 6
    for number in range(1, 5):
        assert path.next_deadline() == number * MS
        assert len(path.due(number * MS)) == 1
    path.offer(b"y" * 500, 10 * MS)
    assert path.next_deadline() == 10 * MS + MS // 2


def test_ce_marks_only_what_is_ecn_capable_and_keeps_the_checksum() -> None:
    for tos, capable in ((0, False), (1, True), (2, True), (3, False)):
        v4 = bytes(IP(src="10.0.0.1", dst="10.0.0.2", tos=tos) / UDP() / b"text")
        v6 = bytes(IPv6(src="::1", dst="::2", tc=tos) / UDP() / b"text")
        assert is_ecn_capable(v4) is is_ecn_capable(v6) is capable
        if capable:
            expected = bytes(IP(src="10.0.0.1", dst="10.0.0.2", tos=3) / UDP() / b"text")
            assert with_ce(v4) == expected
            assert with_ce(v6) == bytes(IPv6(src="::1", dst="::2", tc=3) / UDP() / b"text")
    packet = bytes(IP(src="10.0.0.1", dst="10.0.0.2", tos=2))
    path = Path(Impairment(mark=1.0))
    path.offer(packet, 0)
    assert path.due(0) == [with_ce(packet)]


def test_the_same_seed_gives_the_same_fate() -> None:
    bad = parse_impairment("loss=3%,duplicate=1%,reorder=1%,corrupt=1%,delay=5ms,jitter=2ms,seed=7")
    assert crossed(bad, 2000)[1] == crossed(bad, 2000)[1]
    assert crossed(bad, 2000)[1] != crossed(bad.replace(seed=8), 2000)[1]


def test_parsing() -> None:
    assert parse_impairment("") == Impairment()
    text = "loss=3%, delay=20ms,jitter=500us,duplicate=1%,reorder=0.01,gap=2ms,corrupt=1%,burst=1%/30%,rate=1.5Mbit"
    assert parse_impairment(text + ",limit=50,seed=7,mark=2%") == Impairment(
        loss=0.03, delay=20 * MS, jitter=MS // 2, duplicate=0.01, reorder=0.01, gap=2 * MS, corrupt=0.01,
        burst=(0.01, 0.3), rate=1_500_000, limit=50, seed=7, mark=0.02,
    )  # fmt: skip
    assert parse_impairment("burst=2%").burst == (0.02, 0.5)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("lose=3%", "'lose=3%' is no impairment"),
        ("loss", "'loss' is no impairment"),
        ("loss=many", "loss=many: write a share"),
        ("loss=300%", "loss must be between"),
        ("loss=nan", "loss must be between"),
        ("burst=1%/x", "burst=x: write a share"),
        ("burst=1%/200%", "burst chances must be between"),
        ("delay=20", "delay=20: write a number with one of ns, us, ms, s"),
        ("delay=-1ms", "delay=-1ms"),
        ("rate=10Mb", "rate=10Mb: write a number with one of bit"),
        ("limit=x", "limit=x is no whole number"),
        ("seed=1,seed=2", "seed is given twice"),
    ],
)
def test_a_wrong_word_is_named(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        parse_impairment(text)


def test_negative_fields_are_refused() -> None:
    with pytest.raises(ValueError, match="delay must not be negative"):
        Impairment(delay=-1)


def test_the_device_impairs_both_directions_and_says_when_to_call() -> None:
    pair = MemoryPair()
    device = ImpairedDevice(pair.left, Impairment(delay=10 * MS), Impairment(delay=30 * MS))
    pair.right.write_packets([b"in"], 0)
    assert device.read_packets(0) == []
    assert device.write_packets([b"out"], 0) == 1
    assert device.next_deadline() == 10 * MS
    assert device.read_packets(10 * MS) == [b"in"]
    assert device.next_deadline() == 30 * MS
    assert pair.right.read_packets(30 * MS) == []
    assert device.read_packets(30 * MS) == []
    assert pair.right.read_packets(30 * MS) == [b"out"]
    assert device.next_deadline() is None
    assert device.fileno() == pair.left.fileno()
    pair.close()
