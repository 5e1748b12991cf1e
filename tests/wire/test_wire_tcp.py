"""TCP options: every kind, every illegal length, and nothing raises."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ustack.wire import tcp
from ustack.wire.tcp import parse_options


def test_the_usual_syn() -> None:
    found = parse_options(bytes.fromhex("020405b4 0402 080a 00000001 00000002 01 030307"))
    assert (found.mss, found.wscale, found.sack_permitted) == (1460, 7, True)
    assert (found.has_ts, found.ts_val, found.ts_ecr) == (True, 1, 2)
    assert found.order == [2, 4, 8, 1, 3]
    assert not found.malformed


def test_nothing_at_all() -> None:
    found = parse_options(b"")
    assert (found.mss, found.wscale, found.sack_permitted, found.has_ts) == (-1, -1, False, False)
    assert found.sack == []
    assert found.fastopen is None
    assert found.md5 is None


def test_sack_blocks() -> None:
    found = parse_options(bytes.fromhex("0101 0512 00000001 00000002 fffffff0 00000010"))
    assert found.sack == [(1, 2), (0xFFFFFFF0, 0x10)]


@pytest.mark.parametrize(
    ("option", "cookie", "experimental"),
    [
        ("2202", b"", False),
        ("220a 0102030405060708", bytes(range(1, 9)), False),
        ("fe04 f989", b"", True),
        ("fe08 f989 01020304", b"\1\2\3\4", True),
    ],
)
def test_fast_open_in_both_forms(option: str, cookie: bytes, experimental: bool) -> None:
    found = parse_options(bytes.fromhex(option))
    assert found.fastopen == cookie
    assert found.fastopen_experimental is experimental


def test_md5_and_other_experiments() -> None:
    found = parse_options(bytes.fromhex("1312" + "ab" * 16 + "fd06 12345678"))
    assert found.md5 == b"\xab" * 16
    assert found.experiments == [(253, bytes.fromhex("12345678"))]


@pytest.mark.parametrize(
    "option",
    ["0203", "020605", "0300", "0301", "0304", "08", "05", "ff"],
)
def test_an_illegal_length_ends_the_list(option: str) -> None:
    found = parse_options(bytes.fromhex("0402" + option))
    assert found.sack_permitted
    assert found.malformed
    assert found.mss == -1


@pytest.mark.parametrize("option", ["0203aa", "03040102", "04030a", "0806aabbccdd", "0504aabb", "1304aabb", "0502"])
def test_a_legal_length_of_the_wrong_size_is_skipped(option: str) -> None:
    found = parse_options(bytes.fromhex(option + "020405b4"))
    assert not found.malformed
    assert found.mss == 1460
    assert found.wscale == -1
    assert not found.sack_permitted
    assert not found.has_ts
    assert found.sack == []
    assert found.md5 is None


def test_what_stands_behind_the_end_is_ignored() -> None:
    assert parse_options(bytes.fromhex("00020405b4")).mss == -1


def test_no_option_needs_alignment() -> None:
    """MUST-64."""
    for lead in range(4):
        assert parse_options(b"\1" * lead + bytes.fromhex("020405b4")).mss == 1460


@given(st.binary(max_size=40))
def test_any_bytes_do(options: bytes) -> None:
    found = parse_options(options)
    assert len(found.order) <= len(options)


@given(st.lists(st.tuples(st.integers(2, 255), st.binary(max_size=8)), max_size=4))
def test_split_is_the_inverse_of_joining(items: list[tuple[int, bytes]]) -> None:
    text = b"".join(bytes([kind, len(body) + 2]) + body for kind, body in items)
    assert tcp.split_options(text) == (items, False)


def test_padding_is_zeros_up_to_forty_bytes() -> None:
    """MUST-69."""
    assert tcp.pad_options(b"\x03\x03\x07") == b"\x03\x03\x07\x00"
    with pytest.raises(ValueError, match="at most 40"):
        tcp.pad_options(bytes(41))
