"""Segments as one line of text, after packetdrill: ``P. 1:101 ack 1 win 1000 <sack 201:301>``.

Flags first (``.`` is ACK, ``-`` is none), then the text's range (one number where there is none), both relative to
the sender's ISN, ``ack`` relative to the other's, the raw window field, the urgent pointer, the options.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_NUMBER = r"[a-z0-9+-]+"
_LINE = re.compile(
    rf"(?P<flags>[FSRPEWAU.-]+) (?P<start>{_NUMBER})(?::(?P<end>{_NUMBER}))?(?: ack (?P<ack>{_NUMBER}))?"
    rf"(?: win (?P<win>\d+))?(?: urg (?P<urg>\d+))?(?: <(?P<options>.*)>)?"
)
_LETTERS = {"F": 1, "S": 2, "R": 4, "P": 8, ".": 16, "U": 32, "E": 64, "W": 128, "A": 256, "-": 0}
_NAMES = {"mss": "MSS", "wscale": "WScale", "sackOK": "SAckOK", "nop": "NOP", "eol": "EOL"}

Options = list[tuple[str, object]]


def value_of(text: str, names: Mapping[str, int]) -> int:
    """``r+100`` with ``names`` for the letters."""
    total = 0
    for sign, part in re.findall(r"([+-]?)([a-z]+|\d+)", text):
        number = int(part) if part.isdigit() else names[part]
        total += -number if sign == "-" else number
    return total


class Line:
    """One segment in words; numbers are relative, None where the line does not say."""

    def __init__(self, text: str, names: Mapping[str, int]) -> None:
        found = _LINE.fullmatch(text)
        assert found is not None, f"not a segment: {text!r}"
        self.flags = 0
        for letter in found["flags"]:
            self.flags |= _LETTERS[letter]
        self.start = value_of(found["start"], names)
        self.end = value_of(found["end"], names) if found["end"] else self.start
        self.ack = value_of(found["ack"], names) if found["ack"] else 0
        self.window = int(found["win"]) if found["win"] else None
        self.urgent = int(found["urg"] or 0)
        self.options = found["options"]


def scapy_options(text: str, sender: int, receiver: int) -> Options:
    """``mss 1460,sackOK,sack 1:101`` as scapy takes it; SACK edges count from ``receiver``'s ISN."""
    made: Options = []
    for item in filter(None, text.split(",")):
        name, _, value = item.partition(" ")
        if name == "TS":
            ts_val, ts_ecr = value.split(" ecr ")
            made.append(("Timestamp", (int(ts_val), int(ts_ecr))))
        elif name == "sack":
            edges = [(int(edge) + receiver) & 0xFFFFFFFF for block in value.split() for edge in block.split(":")]
            made.append(("SAck", tuple(edges)))
        elif name in ("mss", "wscale"):
            made.append((_NAMES[name], int(value)))
        else:
            made.append((_NAMES[name], b"" if name == "sackOK" else None))
    return made


def words_of(options: Options, receiver: int) -> str:
    """Options as seen on the wire, without padding and timestamps; SACK edges relative."""
    words = []
    for name, value in options:
        if name in ("MSS", "WScale"):
            words.append(f"{'mss' if name == 'MSS' else 'wscale'} {value}")
        elif name == "SAckOK":
            words.append("sackOK")
        elif name == "SAck":
            assert isinstance(value, tuple)
            edges = [relative(edge, receiver) for edge in value]
            pairs = zip(edges[::2], edges[1::2], strict=True)
            words.append("sack " + " ".join(f"{start}:{end}" for start, end in pairs))
        elif name not in ("NOP", "EOL", "Timestamp"):
            words.append(str(name))
    return ",".join(words)


def relative(number: int, isn: int) -> int:
    """A wire number counted from an ISN; a little behind it is negative."""
    offset = (number - isn) & 0xFFFFFFFF
    return offset - (1 << 32) if offset > 0xF0000000 else offset


def letters(flags: int) -> str:
    return "".join(letter for letter, bit in _LETTERS.items() if flags & bit) or "-"
