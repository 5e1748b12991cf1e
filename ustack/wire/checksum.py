"""The Internet checksum (RFC 1071), in big numbers.

65536 is 1 modulo 65535, so the ones' complement sum of 16-bit words is the whole text, read as one big number,
modulo 65535: one pass in C, without a loop here.
"""

from ustack.wire.address import is_v4


def number(data: bytes) -> int:
    """``data`` as one number whose 16-bit digits are the words that are summed; an odd last byte is padded."""
    value = int.from_bytes(data, "big")
    return value << 8 if len(data) & 1 else value


def fold(total: int) -> int:
    """The ones' complement sum, 0..0xFFFF, of what ``number`` gave; only the empty sum is 0 (RFC 1071)."""
    if total == 0:
        return 0
    return total % 0xFFFF or 0xFFFF


def checksum(data: bytes, initial: int = 0) -> int:
    """What goes in the field: the complement of the sum of ``data`` and ``initial`` (a sum from before)."""
    return 0xFFFF - fold(number(data) + initial)


def is_good(data: bytes, initial: int = 0) -> bool:
    """Whether text with its checksum in place, plus ``initial``, sums to all ones."""
    total = number(data) + initial
    return total != 0 and total % 0xFFFF == 0


def pseudo_sum(source: bytes, destination: bytes, protocol: int, length: int) -> int:
    """The sum of the pseudo-header (RFC 9293 section 3.1, RFC 8200 section 8.1); the addresses are 16 bytes each."""
    if is_v4(source):
        source, destination = source[12:], destination[12:]
    return int.from_bytes(source, "big") + int.from_bytes(destination, "big") + protocol + length
