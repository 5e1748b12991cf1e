"""Whatever the text: a tree, or an error with a place in it; never another exception."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ustack.packetdrill.codec import Seen
from ustack.packetdrill.errors import ScriptError, Unsupported
from ustack.packetdrill.flow import Flow
from ustack.packetdrill.parser import parse_script
from ustack.packetdrill.printer import format_packet

RFC = Path(__file__).resolve().parent.parent / "rfc"
SAMPLES = [path.read_text() for path in sorted(RFC.rglob("*.pkt"))[::9]]
PIECES = [*'<>()[]{}~*`",=-', "...", "+0", "%{", "}%", "//", "/*", "9" * 30]


def parses_or_says_where(text):
    line, column, name = 1, 1, "a script"
    try:
        parse_script(text)
    except ScriptError as error:
        line, column = error.line, error.column
    except Unsupported as missing:
        name = missing.name
    assert name
    assert 1 <= line <= text.count("\n") + 1
    assert column >= 1


def test_absurd_sizes():
    for text in ("0 a(" + "[" * 100_000, "0 a(" + "9" * 10_000 + ") = 0", "9" * 10_000 + " > . 1:1(0)"):
        with pytest.raises(ScriptError):
            parse_script(text)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SAMPLES), st.data())
def test_a_script_with_something_changed(text, data):
    at = data.draw(st.integers(0, len(text)))
    upto = data.draw(st.integers(at, min(len(text), at + 20)))
    parses_or_says_where(text[:at] + data.draw(st.sampled_from(PIECES) | st.text(max_size=3)) + text[upto:])


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=80))
def test_any_text(text):
    parses_or_says_where(text)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80), st.sampled_from([b"", b"\x45", b"\x60", b"\x45\0\0\x28\0\0\0\0\x40\x06\0\0"]))
def test_any_bytes_can_be_seen_and_shown(data, head):
    seen = Seen(head + data)
    assert isinstance(format_packet(Flow().show(seen)), str)
