"""The checksum in C against a loop that follows RFC 1071 word by word, and against the Python twin."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ustack import native
from ustack.wire.checksum import checksum, pseudo_sum


def by_words(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total = 0
    for at in range(0, len(data), 2):
        total += data[at] << 8 | data[at + 1]
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


@given(st.binary(max_size=600))
@example(b"")
@example(b"\xff")
@example(b"\xff\xff" * 64)
@example(b"\0" * 512)
def test_any_bytes(data: bytes) -> None:
    assert native.checksum(data) == by_words(data)


@pytest.mark.parametrize("length", [127, 128, 129, 255, 256, 1447, 1448, 65535, 1 << 20])
@pytest.mark.parametrize("offset", [0, 1, 7])
def test_long_stretches_at_any_alignment(length: int, offset: int) -> None:
    data = bytes(n * n % 251 for n in range(length + offset))
    assert native.checksum(memoryview(data)[offset:]) == by_words(data[offset:])


def test_all_ones_for_a_megabyte_does_not_overflow() -> None:
    assert native.checksum(b"\xff" * (1 << 20)) == 0


@given(st.binary(max_size=200), st.integers(0, 1 << 130))
def test_initial_sum_as_the_python_twin_takes_it(data: bytes, initial: int) -> None:
    assert native.checksum(data, initial) == checksum(data, initial)


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16), st.binary(max_size=99))
def test_with_a_pseudo_header(source: bytes, destination: bytes, data: bytes) -> None:
    initial = pseudo_sum(source, destination, 6, len(data))
    assert native.checksum(data, initial) == checksum(data, initial)
