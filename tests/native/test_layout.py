"""The numbers that C and Python must agree on."""

from __future__ import annotations

import re

from ustack import native
from ustack._native import ffi
from ustack.drops import DROP_RULES, Drop
from ustack.wire.frame import DESCRIPTOR


def enum_of(name: str) -> dict[int, str]:
    return dict(ffi.typeof(f"enum {name}").elements)


def test_reasons_have_the_same_numbers() -> None:
    in_c = {number: name.removeprefix("US_DROP_") for number, name in enum_of("us_drop").items() if number}
    assert in_c == {int(drop): drop.name for drop in Drop if drop < 40}


def test_every_parse_reason_has_a_rule_and_a_source() -> None:
    for drop in Drop:
        if drop < 40:
            rule, source = DROP_RULES[drop]
            assert rule
            assert re.match(r"RFC \d+|virtio 1", source)


def test_merge_reasons_have_the_same_names() -> None:
    in_c = enum_of("us_apart")
    assert in_c.pop(len(native.APART)) == "US_APART_COUNT"
    assert [in_c[n].removeprefix("US_APART_").lower() for n in sorted(in_c)] == list(native.APART)


def test_records_have_the_same_size() -> None:
    assert ffi.sizeof("struct us_descriptor") == DESCRIPTOR.size == 96
    assert ffi.sizeof("struct us_transmit") == native.TRANSMIT.size == 144


def test_descriptor_fields_lie_where_python_reads_them() -> None:
    kinds = {"uint8_t": "B", "uint16_t": "H", "uint32_t": "I", "uint8_t[36]": "36s", "uint8_t[4]": "4x"}
    fields = ffi.typeof("struct us_descriptor").fields
    assert "=" + "".join(kinds[field.type.cname] for _, field in fields) == DESCRIPTOR.format


def test_transmit_fields_lie_where_python_writes_them() -> None:
    kinds = {
        "uint8_t": "B", "uint16_t": "H", "uint32_t": "I", "uint64_t": "Q",
        "uint8_t[16]": "16s", "uint8_t[40]": "40s", "uint8_t[3]": "3x",
    }  # fmt: skip
    fields = ffi.typeof("struct us_transmit").fields
    assert "=" + "".join(kinds[field.type.cname] for _, field in fields) == native.TRANSMIT.format
