"""What the docs page shows works as it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ustack.packetdrill import command
from ustack.packetdrill.calls import Caller
from ustack.packetdrill.calltable import prepare
from ustack.packetdrill.config import Config
from ustack.packetdrill.parser import parse_script
from ustack.packetdrill.runner import Verdict, run_text
from ustack.packetdrill.shell import understand
from ustack.packetdrill.virtual import VirtualHost

PAGE = (Path(command.__file__).parent / "README.md").read_text(encoding="utf-8")
FIRST = re.findall(r"```\n(.*?)```", PAGE, re.DOTALL)[0]
IN_HELP = "\n".join(line for line in command._DESCRIPTION.splitlines() if line.startswith("    "))


@pytest.mark.parametrize("text", [FIRST, IN_HELP], ids=["page", "help"])
def test_the_first_script_passes(text):
    result = run_text(text, VirtualHost)
    assert result.verdict is Verdict.PASS, result.summary


def test_the_mistake_that_the_page_suggests_fails():
    wrong = FIRST.replace("1001:1501(500)", "1001:2001(1000)")
    assert run_text(wrong, VirtualHost).differences == [("length", "1000", "500")]


def test_python_examples_run():
    names: dict[str, object] = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(code, names)
    names["test_many_segments"]()


def test_every_call_of_the_page_is_read_and_prepared():
    calls = re.search(r"```calls\n(.*?)```", PAGE, re.DOTALL)
    assert calls is not None
    host = VirtualHost(Config())
    caller = Caller(host.system, host.config)
    events = parse_script(calls.group(1)).events
    assert len(events) == 17
    for event in events:
        assert prepare(caller, event.action).call.name in event.source


def test_shell_lines():
    text = """# a comment
    ../common/defaults.sh && ./set_sysctls.py /proc/sys/net/ipv4/tcp_sack=0 \\
        /proc/sys/net/ipv4/tcp_rmem="4096 87380 $((6*1024*1024))"
    sysctl -q net.ipv4.tcp_ecn=1 >/dev/null 2>&1 || true; ip route change default via 1.2.3.4 dev tun0 initcwnd 20
    ip link set dev tun0 mtu 1400
    ip tcp_metrics flush all > /dev/null 2>&1; tc qdisc replace dev tun0 root pfifo; nstat -n
    ethtool -K tun0 tso off gso off
    sleep 0.5
    /tmp/sysctl_restore_${PPID}.sh"""
    found = understand(text)
    assert [effects.defaults for effects in found[:2]] == [True, False]
    assert found[1].sysctls == [("net.ipv4.tcp_sack", "0"), ("net.ipv4.tcp_rmem", "4096 87380 6291456")]
    assert found[2].sysctls == [("net.ipv4.tcp_ecn", "1")]
    assert found[3].route == {"initcwnd": 20}
    assert found[4].link_mtu == 1400
    assert found[9].sleep_ns == 500_000_000
