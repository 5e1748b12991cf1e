"""The command line: finds the subcommand, runs it, and turns what goes wrong into a sentence."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn, Protocol

from ustack.cli import get, ladder_command, ping, python, serve
from ustack.cli.complaint import Complaint
from ustack.cli.scribe import is_stuck
from ustack.cli.version import version_text
from ustack.explain import command as explain
from ustack.iperf3 import command as iperf3
from ustack.lab import command as lab
from ustack.packetdrill import command as packetdrill
from ustack.plot import command as plot

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
    "python": python,
    "ladder": ladder_command,
    "explain": explain,
    "plot": plot,
    "lab": lab,
    "iperf3": iperf3,
    "packetdrill": packetdrill,
}

EPILOG = """\
To play safely, do it in a network namespace of your own, where nothing can go wrong:
  sudo unshare -n ustack serve .       (without root, where /dev/net/tun permits: unshare -Urn ustack serve .)
"""


class Parser(argparse.ArgumentParser):
    """Refuses a command line in one sentence, where argparse shows the whole usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message.rstrip('.')}. {self.prog} --help says more.\n")


def parser() -> Parser:
    """The whole command line."""
    top = Parser(
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


class Ended(KeyboardInterrupt):
    """A signal asks the command to end: as Ctrl-C does, so whoever has a summary prints it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP raise Ended in the main thread: also where a script's shell has switched SIGINT off,
    as it does for what runs in the background. SIGHUP stays as nohup wants it."""

    def end(number: int, frame: object) -> None:
        raise Ended(number)

    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status."""
    options = parser().parse_args(arguments)
    status = 0
    try:
        with ended_by_signals():
            status = COMMANDS[options.command].run(options)
            sys.stdout.flush()
    except Complaint as complaint:
        status = complaint.status
        _say(f"ustack: {complaint}")
    except Ended as ended:
        status = ended.status
    except KeyboardInterrupt:
        status = INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe (head, less) has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        status = 1
        _say(f"ustack: {error.filename + ': ' if error.filename else ''}{error.strerror or error}.")
    if is_stuck():  # a thread hangs in a write to a pipe that nobody reads: it would hang the interpreter's end, too
        os._exit(status)
    return status


def _say(sentence: str) -> None:
    with contextlib.suppress(OSError):
        print(sentence, file=sys.stderr, flush=True)
