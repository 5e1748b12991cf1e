"""Against the loop that RFC 1071 describes, and against its own examples."""

from hypothesis import example, given
from hypothesis import strategies as st

from ustack.wire.checksum import checksum, fold, is_good, number, pseudo_sum


def by_the_book(data: bytes, initial: int = 0) -> int:
    data += bytes(len(data) % 2)
    total = initial
    for at in range(0, len(data), 2):
        total += data[at] << 8 | data[at + 1]
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@given(st.binary(max_size=100), st.integers(0, 2**40))
@example(b"", 0)
@example(b"\xff\xff", 0)
@example(b"\x00\x00", 0xFFFF)
@example(bytes(8), 0)
@example(b"\xff\xff" * 4, 0xFFFF)
def test_the_sum_is_the_loops(data: bytes, initial: int) -> None:
    assert fold(number(data) + initial) == by_the_book(data, initial)
    assert checksum(data, initial) == 0xFFFF - by_the_book(data, initial)
    assert is_good(data, initial) == (by_the_book(data, initial) == 0xFFFF)


def test_rfc_1071_section_3() -> None:
    assert fold(number(bytes.fromhex("0001f203f4f5f6f7"))) == 0xDDF2


def test_a_pseudo_header_of_either_family() -> None:
    four = bytes(10) + b"\xff\xff\x0a\x00\x00\x01"
    other = bytes(10) + b"\xff\xff\x0a\x00\x00\x02"
    text = b"\x0a\x00\x00\x01\x0a\x00\x00\x02\x00\x06\x00\x14"
    assert fold(pseudo_sum(four, other, 6, 20)) == by_the_book(text)
    six = bytes.fromhex("fd000000000000000000000000000001")
    assert fold(pseudo_sum(six, six, 17, 70000)) == by_the_book(
        six + six + (70000).to_bytes(4, "big") + bytes(3) + b"\x11"
    )
