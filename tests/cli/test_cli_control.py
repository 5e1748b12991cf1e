"""``--control FILE:CLASS``: the example of the README, which is that of the docstring, word for word."""

from __future__ import annotations

import argparse
import asyncio
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import ustack.sim.aio
from ustack import congestion
from ustack.cli.command import main, parse
from ustack.cli.control import control
from ustack.cli.network import chosen_settings
from ustack.congestion import base

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = re.findall(r"```python\n(from ustack.congestion import .*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[
    0
]


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[str]:
    before = dict(congestion.ALGORITHMS)
    (tmp_path / "mine.py").write_text(EXAMPLE)
    yield f"{tmp_path}/mine.py:ShortQueue"
    congestion.ALGORITHMS.clear()
    congestion.ALGORITHMS.update(before)


def test_the_docstring_has_the_same_example() -> None:
    assert len(EXAMPLE.splitlines()) <= 30
    assert textwrap.indent(EXAMPLE, "    ") in inspect.cleandoc(base.__doc__ or "") + "\n"


@pytest.mark.parametrize("command", ["serve .", "get http://198.18.0.1/", "iperf3 -s", "python x.py"])
def test_it_is_the_default_of_a_command(mine: str, command: str) -> None:
    name, *rest = command.split()
    options = parse([name, "--control", mine, *rest])
    assert chosen_settings(options) == {"tcp_congestion_control": "shortqueue"}
    assert congestion.ALGORITHMS["shortqueue"].__name__ == "ShortQueue"


def test_it_has_a_name_for_other_options(mine: str) -> None:
    options = parse(["serve", ".", "--control", mine, "--sysctl", "tcp_congestion_control=reno"])
    assert chosen_settings(options) == {"tcp_congestion_control": "reno"}
    assert parse(["iperf3", "-c", "198.18.0.1", "--control", mine, "-C", "shortqueue"]).congestion == "shortqueue"


def longest_delay(algorithm: str) -> tuple[float, float]:
    """A megabyte and a half through 10 Mbit/s and 20 ms each way: seconds that it took, and the last srtt in ms."""

    async def sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1 << 20):
            pass
        writer.close()

    async def run(net: ustack.sim.aio.Net) -> tuple[float, float]:
        client = net.host("client", settings={"tcp_congestion_control": algorithm})
        server = net.host("server")
        net.join(client, server, "delay=20ms,rate=10Mbit")
        await server.start_server(sink, port=80)
        reader, writer = await client.open_connection("server", 80)
        writer.write(bytes(1_500_000))
        await writer.drain()
        connection = next(iter(client.stack.tcp.connections.values()))
        srtt = connection.info(round(net.now * 1e9)).tcpi_rtt / 1e3
        writer.write_eof()
        await reader.read()
        writer.close()
        await writer.wait_closed()
        return net.now, srtt

    return ustack.sim.aio.run(run, seed=1)


def test_its_queue_is_short_and_the_link_is_full(mine: str) -> None:
    control(mine)
    took, srtt = longest_delay("shortqueue")
    full, queued = longest_delay("cubic")
    assert srtt < 60 < queued
    assert took < 1.15 * full


@pytest.mark.parametrize(
    ("file", "name", "why"),
    [
        ("", "", "write FILE:CLASS, like mine.py:Mine"),
        ("missing.py", "Mine", "cannot be read: No such file or directory"),
        ("1 +", "Mine", "does not run: SyntaxError"),
        ("import nosuchmodule", "Mine", "does not run: ModuleNotFoundError"),
        ("raise SystemExit", "Mine", "does not run: SystemExit"),
        ("class Other: pass", "Mine", "has no class Mine that is a ustack.congestion.CongestionControl"),
        ("class Mine: pass", "Mine", "has no class Mine that is a ustack.congestion.CongestionControl"),
        (
            "from ustack.congestion import *\nclass Mine(Reno): pass",
            "Mine",
            "needs a name of its own: write name = 'mine'",
        ),
        ("from ustack.congestion import *\nclass Mine(CongestionControl): pass", "Mine", "write name = 'mine' in it"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, name: str, why: str
) -> None:
    path = tmp_path / "file.py"
    if file.endswith(".py"):
        path = tmp_path / file
    else:
        path.write_text(file)
    with pytest.raises(argparse.ArgumentTypeError):
        control(f"{path}:{name}" if name else "mine.py")
    with pytest.raises(SystemExit, match="2"):
        main(["serve", ".", "--control", f"{path}:{name}" if name else "mine.py"])
    said = capsys.readouterr().err
    assert why in said
    assert said.count("\n") == 1
