"""The command line: finds the subcommand, runs it, and turns what goes wrong into a sentence."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Protocol

from ustack.cli import get, ladder_command, ping, serve
from ustack.cli.complaint import Complaint
from ustack.cli.version import version_text
from ustack.iperf3 import command as iperf3
from ustack.packetdrill import command as packetdrill

INTERRUPTED = 130
"""What a shell reports for a command that SIGINT ended."""


class Command(Protocol):
    """A module of a subcommand."""

    SUMMARY: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, options: argparse.Namespace) -> int: ...


COMMANDS: dict[str, Command] = {
    "serve": serve,
    "get": get,
    "ping": ping,
    "ladder": ladder_command,
    "iperf3": iperf3,
    "packetdrill": packetdrill,
}

EPILOG = """\
To play safely, do it in a network namespace of your own, where nothing can go wrong:
  sudo unshare -n ustack serve .       (without root, where /dev/net/tun permits: unshare -Urn ustack serve .)
"""


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="ustack",
        description="A TCP/IP stack in user space: Python decides, C moves bytes.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=version_text())
    subcommands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        command.add_arguments(subcommands.add_parser(name, help=command.SUMMARY, description=command.SUMMARY + "."))
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status."""
    options = parser().parse_args(arguments)
    try:
        status = COMMANDS[options.command].run(options)
        sys.stdout.flush()
        return status
    except Complaint as complaint:
        print(f"ustack: {complaint}", file=sys.stderr)
        return complaint.status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe (head, less) has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
