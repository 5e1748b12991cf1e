"""Knobs take what makes sense, and say what is wrong with the rest."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ustack.device.memory import MemoryPair
from ustack.packetdrill.errors import Unsupported
from ustack.packetdrill.knobs import changes
from ustack.settings import Settings
from ustack.socket.opening import open_device
from ustack.stack.stack import Stack


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("tcp_sack", 9, "tcp_sack is between 0 and 1, not 9"),
        ("tcp_sack", -1, "between"),
        ("tcp_sack", "1", "tcp_sack is 1 whole number, not '1'"),
        ("tcp_sack", 0.5, "whole number"),
        ("tcp_sack", None, "whole number"),
        ("tcp_sack", (1,), "whole number"),
        ("tcp_retries2", 256, "between 0 and 255"),
        ("tcp_syn_retries", 0, "between 1 and 127"),
        ("ip_default_ttl", 0, "between 1 and 255"),
        ("rmem_max", 1 << 32, "between"),
        ("tcp_max_syn_backlog", 1 << 31, "between 0 and 2147483647"),
        ("rmem_max", 2303, "between 2304 and"),
        ("wmem_max", 4607, "between 4608 and"),
        ("tcp_rto_max_ms", 999, "between 1000 and 120000"),
        ("tcp_reordering", 301, "between 1 and 300"),
        ("tcp_pacing_ss_ratio", 1001, "between 0 and 1000"),
        ("tcp_min_tso_segs", 0, "between 1 and 255"),
        ("tcp_min_snd_mss", 47, "between 48 and 65535"),
        ("tcp_ecn_option", 4, "between 0 and 3"),
        ("tcp_rmem", 4096, "tcp_rmem is 3 whole numbers"),
        ("tcp_rmem", (1, 2), "3 whole numbers"),
        ("tcp_rmem", (1, 2, "3"), "3 whole numbers"),
        ("tcp_rmem", (3, 2, 1), "must ascend"),
        ("tcp_rmem", (0, 1, 2), "between 1 and"),
        ("ip_local_port_range", (1, 70000), "between 1 and 65535"),
        ("ip_local_port_range", (60999, 32768), "must ascend"),
        ("tcp_congestion_control", "", "is a name"),
        ("tcp_congestion_control", 1, "is a name"),
    ],
)
def test_wrong_values(name: str, value: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Settings().replace(**{name: value})


def test_each_knob_takes_its_default_and_not_a_negative_number() -> None:
    for field in dataclasses.fields(Settings):
        default: Any = field.default
        assert getattr(Settings().replace(**{field.name: default}), field.name) == default
        if isinstance(default, int):
            with pytest.raises(ValueError, match=field.name):
                Settings().replace(**{field.name: -1})


def test_a_congestion_control_that_is_none_is_refused_before_anything_runs() -> None:
    pair = MemoryPair()
    with pytest.raises(ValueError, match="cubic"):
        open_device(pair.left, settings=Settings(tcp_congestion_control="nosuch"))
    pair.close()
    entropy = bytes(32)
    with pytest.raises(ValueError, match=r"tcp_congestion_control is one of .*, not 'nosuch'"):
        Stack(Settings(tcp_congestion_control="nosuch"), entropy=entropy)
    stack = Stack(Settings(), entropy=entropy)
    with pytest.raises(ValueError, match="cubic"):
        stack.settings = stack.settings.replace(tcp_congestion_control="nosuch")
    assert stack.settings.tcp_congestion_control == "cubic"


@pytest.mark.parametrize("line", ["tcp_sack=9", "tcp_congestion_control=nosuch", "tcp_rmem='3 2 1'"])
def test_a_script_names_the_wrong_setting(line: str) -> None:
    name, _, value = line.partition("=")
    with pytest.raises(Unsupported, match=f"sysctl net.ipv4.{name}=.*: {name} "):
        changes(Settings(), [(f"net.ipv4.{name}", value.strip("'"))])
