"""The command line: what it says when something is wrong, one sentence each time."""

from __future__ import annotations

import argparse
import errno
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import ustack
from ustack.cli import network
from ustack.cli.command import COMMANDS, main, parse
from ustack.cli.complaint import Complaint, about_tun
from ustack.cli.version import is_compiled, version_text
from ustack.device.impairment import Impairment


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Status and standard error of a command line that is refused."""
    try:
        status = main(arguments)
    except SystemExit as end:
        status = int(end.code or 0)
    return status, capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    text = capsys.readouterr().out.strip()
    assert text == version_text()
    assert ("compiled (mypyc)" if is_compiled() else "interpreted") in text
    assert f"CPython {sys.version.split()[0]}" in text


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for name in COMMANDS:
        with pytest.raises(SystemExit, match="0"):
            main([name, "--help"])
        text = capsys.readouterr().out
        assert f"usage: ustack {name}" in text
        assert max(len(line) for line in text.splitlines()) <= 125


def test_every_example_of_a_help_is_a_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    tried = 0
    for name in COMMANDS:
        with pytest.raises(SystemExit, match="0"):
            main([name, "--help"])
        for line in re.findall(rf"^  (ustack {name}.*)$", capsys.readouterr().out, re.MULTILINE):
            words = shlex.split(line.partition("  ")[0].removesuffix(" &"))
            if "mine.py:Mine" not in words:
                assert parse(words[1:]).command == name
                tried += 1
    assert tried >= 15


def imported(*arguments: str) -> set[str]:
    """The modules that are there at the end of a command that only says something."""
    code = f"""import sys
from ustack.cli.command import main
try:
    main({list(arguments)!r})
except SystemExit:
    print(*sys.modules, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())
    return set(done.stderr.split())


def test_help_and_version_import_no_command() -> None:
    commands = {module for module, _ in COMMANDS.values()}
    for option in ("--help", "--version"):
        found = imported(option)
        assert not found & {*commands, "asyncio", "rich", "ustack.device.tun", "ustack.stack.stack"}


def test_a_command_imports_only_itself() -> None:
    for name in ("ping", "ladder"):
        wanted = COMMANDS[name][0]
        assert imported(name, "--help") & {module for module, _ in COMMANDS.values()} == {wanted}


def test_the_door_shows_the_public_names_alone() -> None:
    assert dir(ustack) == sorted(ustack.__all__)
    for name in dir(ustack):
        assert getattr(ustack, name) is not None


@pytest.mark.parametrize("module", ["ustack", "ustack.cli"])
def test_as_a_module(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True, cwd=Path.cwd()
    )
    assert done.stdout.startswith("ustack ")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("198.18.0.300/24", "198.18.0.300/24 is no address; write it like 198.18.0.2/24 or fd00::2/64"),
        ("host", "host is no address"),
        ("198.18.0.2", "leaves no address for the kernel's side; add a shorter prefix, like 198.18.0.2/24"),
        ("fd00::2", "add a shorter prefix, like fd00::2/64"),
        ("198.18.0.0/24", "cannot be a host's address"),
        ("198.18.0.255/24", "cannot be a host's address"),
        ("fd00::/64", "cannot be a host's address"),
        ("224.0.0.1/24", "cannot be a host's address"),
        ("127.0.0.1/8", "cannot be a host's address"),
        ("fe80::1/64", "cannot be a host's address"),
    ],
)
def test_wrong_addresses(capsys: pytest.CaptureFixture[str], text: str, sentence: str) -> None:
    status, error = said(capsys, "serve", ".", "--address", text)
    assert status == 2
    assert sentence in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--impair", "loss=lots", "loss"),
        ("--impair", "magic=3", "is no impairment"),
        ("--mtu", "67", "67 is no MTU; it is between 68 and 65535"),
        ("--port", "0", "0 is no port; it is between 1 and 65535"),
        ("--sysctl", "tcp_magic=1", "no such setting; write NAME=VALUE, like tcp_sack=0"),
        ("--sysctl", "tcp_sack=yes", "the value is of another kind"),
        ("--sysctl", "tcp_rmem=1 2", "the value is of another kind"),
    ],
)
def test_wrong_values(capsys: pytest.CaptureFixture[str], option: str, value: str, sentence: str) -> None:
    status, error = said(capsys, "serve", ".", option, value)
    assert status == 2
    assert sentence in error


def test_right_values() -> None:
    words = "serve . --impair loss=3%,delay=20ms,seed=7 --address 10.255.1.2/24 --sysctl net.ipv4.tcp_sack=0"
    words += " --sysctl tcp_rmem=4096,131072,6291456 --sysctl tcp_congestion_control=reno"
    options = parse(words.split())
    assert options.impair == Impairment(loss=0.03, delay=20_000_000, seed=7)
    assert dict(options.sysctl) == {
        "tcp_sack": 0,
        "tcp_rmem": (4096, 131072, 6291456),
        "tcp_congestion_control": "reno",
    }
    assert [str(one) for one in network.wanted_addresses(options)] == ["10.255.1.2/24"]


def test_a_small_mtu_leaves_ipv6_out() -> None:
    for words in ("serve . --mtu 576 --address 10.255.1.2/24", "serve . --mtu 68"):
        found = network.wanted_addresses(parse(words.split()))
        assert [one.version for one in found] == [4]
    with pytest.raises(Complaint, match="IPv6 needs 1280"):
        network.wanted_addresses(parse(["serve", ".", "--mtu", "1279", "--address", "fd00::2/64"]))


def test_an_address_twice() -> None:
    options = argparse.Namespace(address=[network.address("10.255.1.2/24")] * 2, mtu=1500)
    with pytest.raises(Complaint, match="is given twice"):
        network.wanted_addresses(options)


def test_a_folder_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "serve", "/nonexistent") == (
        2,
        "ustack: /nonexistent is no folder. Name the folder whose files are to be served.\n",
    )


@pytest.mark.parametrize("url", ["https://198.18.0.1/", "198.18.0.1", "http:///x", "http://198.18.0.1:99999/"])
def test_urls_that_are_none(capsys: pytest.CaptureFixture[str], url: str) -> None:
    assert said(capsys, "get", url) == (
        2,
        f"ustack: {url} is no URL that ustack fetches; write it like http://198.18.0.1/file.\n",
    )


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.EBUSY, "in use by another program"),
        (errno.ENOENT, "modprobe tun"),
        (errno.EPERM, "sudo"),
        (errno.EACCES, "sudo"),
        (errno.EINVAL, "is no name for a TUN device"),
        (errno.EIO, os.strerror(errno.EIO)),
    ],
)
def test_why_there_is_no_device(code: int, words: str) -> None:
    sentence = str(about_tun("ustack0", OSError(code, os.strerror(code))))
    assert words in sentence
    assert sentence.endswith((".", "'", ""))


def test_a_closed_pipe_is_no_error() -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m ustack.cli --help | head -1"],
        capture_output=True, text=True, check=True, cwd=Path.cwd(),
    )  # fmt: skip
    assert done.stderr == ""


def test_ladder_of_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, error = said(capsys, "ladder", str(tmp_path / "no.pcap"))
    assert (status, error) == (2, f"ustack: {tmp_path}/no.pcap: No such file or directory.\n")
