"""The command line: finds the subcommand, runs it, and turns what goes wrong into a sentence."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any, NoReturn, Protocol

from ustack.cli.complaint import Complaint
from ustack.cli.scribe import is_stuck

INTERRUPTED = 130
"""What a shell reports for a command that SIGINT ended."""


class Command(Protocol):
    """A module of a subcommand."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, options: argparse.Namespace) -> int: ...


COMMANDS: dict[str, tuple[str, str]] = {
    "serve": ("ustack.cli.serve", "serve a folder over HTTP on a TUN device, with ustack's TCP, IP and ICMP"),
    "get": ("ustack.cli.get", "fetch a URL from the kernel's side of a TUN device, with ustack's TCP, IP and ICMP"),
    "ping": ("ustack.cli.ping", "send echo requests to the kernel's side of a TUN device, with ustack's IP and ICMP"),
    "python": ("ustack.cli.python", "run a Python program whose sockets are ustack's, unchanged"),
    "ladder": ("ustack.cli.ladder_command", "draw the TCP connections in a capture, with the states of both ends"),
    "explain": (
        "ustack.explain.command",
        "say what is odd in a capture: losses and their causes, closed windows, resets, stalls, the path's limits",
    ),
    "plot": (
        "ustack.plot.command",
        "draw a connection of a capture over time: sequence numbers, throughput, round trips, in flight, windows",
    ),
    "lab": ("ustack.lab.command", "ask TCP a question and watch the answer, such as: what if the third ACK is lost"),
    "iperf3": ("ustack.iperf3.command", "measure with iperf3's protocol, as client or server"),
    "packetdrill": ("ustack.packetdrill.command", "run packetdrill scripts: what goes in when, and what must come out"),
}
"""Name: the module, which is imported when the command is used, and what the command does."""

EPILOG = """\
To play safely, do it in a network namespace of your own, where nothing can go wrong:
  sudo unshare -n ustack serve .       (without root, where /dev/net/tun permits: unshare -Urn ustack serve .)
"""


class Parser(argparse.ArgumentParser):
    """Refuses a command line in one sentence, where argparse shows the whole usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message.rstrip('.')}. {self.prog} --help says more.\n")


class ShowVersion(argparse.Action):
    """``--version``: the text is put together when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        print(import_module("ustack.cli.version").version_text())
        parser.exit()


def load(name: str) -> Command:
    """The module of a command."""
    found: Any = import_module(COMMANDS[name][0])
    return found  # type: ignore[no-any-return]


def parser(wanted: str = "") -> argparse.ArgumentParser:
    """The whole command line, with the options of the command that is wanted: no other is imported."""
    top = Parser(
        prog="ustack",
        description="A TCP/IP stack in user space: Python decides, C moves bytes.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action=ShowVersion, nargs=0, help="the version, and whether this build is compiled")
    subcommands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (_, summary) in COMMANDS.items():
        sub = subcommands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name == wanted:
            load(name).add_arguments(sub)
    return top


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """What a command line asks for. The first word without a hyphen is the command: no option before it has a value."""
    wanted = next((word for word in arguments if not word.startswith("-")), "")
    return parser(wanted).parse_args(arguments)


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
    options = parse(sys.argv[1:] if arguments is None else arguments)
    status = 0
    try:
        with ended_by_signals():
            status = load(options.command).run(options)
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
