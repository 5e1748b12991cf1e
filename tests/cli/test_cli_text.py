from __future__ import annotations

import pytest

from ustack.cli.httpd.byteranges import MOST_RANGES, UnsatisfiableError, parse_ranges
from ustack.cli.text import host_text, rate_text, size_text, time_text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1536, "1.5 KiB"),
        (1 << 30, "1.0 GiB"),
        (1 << 50, "1024.0 TiB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert size_text(count) == text


def test_rates_are_bits_per_second() -> None:
    assert rate_text(1_000_000_000, 1_000_000_000) == "8.0 Gbit/s"
    assert rate_text(125, 1_000_000_000) == "1.0 kbit/s"
    assert rate_text(100, 0) == "800 Gbit/s"


def test_times() -> None:
    assert time_text(5) == "5 ns"
    assert time_text(1_234_567) == "1.23 ms"
    assert time_text(123_456_789_000) == "123 s"


def test_endpoints_as_in_a_url() -> None:
    assert host_text("::ffff:198.18.0.2", 80) == "198.18.0.2:80"
    assert host_text("fd00::2", 8080) == "[fd00::2]:8080"


@pytest.mark.parametrize(
    ("header", "ranges"),
    [
        ("bytes=0-0", [(0, 1)]),
        ("bytes=10-", [(10, 100)]),
        ("bytes=-10", [(90, 100)]),
        ("bytes=-1000", [(0, 100)]),
        ("bytes=90-1000", [(90, 100)]),
        ("bytes=0-1, 5-6", [(0, 2), (5, 7)]),
        ("bytes=0-1,200-300", [(0, 2)]),
        ("Bytes = 3-4", [(3, 5)]),
        # what is no byte range is as if it were not there
        ("lines=0-1", []),
        ("bytes=5-3", []),
        ("bytes=-", []),
        ("bytes=a-b", []),
        ("bytes=", []),
        ("bytes=0-99,0-99", []),
        ("bytes=" + ",".join(["1-1"] * (MOST_RANGES + 1)), []),
    ],
)
def test_ranges(header: str, ranges: list[tuple[int, int]]) -> None:
    assert parse_ranges(header, 100) == ranges


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=-0", "bytes=500-600,700-"])
def test_ranges_outside_of_the_file(header: str) -> None:
    with pytest.raises(UnsatisfiableError):
        parse_ranges(header, 100)
