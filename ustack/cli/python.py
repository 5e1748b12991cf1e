"""``ustack python``: runs a Python program that knows nothing of ustack on a stack of its own."""

from __future__ import annotations

import argparse
import ipaddress
import runpy
import sys
from pathlib import Path

from rich.console import Console

from ustack.cli.complaint import Complaint
from ustack.cli.hosts import open_host
from ustack.cli.network import add_network_arguments, wanted_addresses
from ustack.cli.values import shown
from ustack.patch import patched

ALL = ["0.0.0.0/0", "::/0"]


EXAMPLES = """\
examples, in a network of their own (sudo unshare -n bash), with a server on the kernel's side:
  ustack python client.py 198.18.0.1
  ustack python --trace -c 'import urllib.request as r; print(r.urlopen("http://198.18.0.1/").status)'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.epilog = EXAMPLES
    parser.add_argument(
        "--for", action="append", dest="networks", type=network, metavar="NETWORK",
        help="addresses reached through ustack, repeatable: 198.18.0.0/15, or all (without it, those of its device)",
    )  # fmt: skip
    parser.add_argument("-m", dest="is_module", action="store_true", help="PROGRAM is a module, as for python -m")
    parser.add_argument("-c", dest="is_code", action="store_true", help="PROGRAM is the code itself, as for python -c")
    add_network_arguments(parser)
    parser.add_argument("program", metavar="PROGRAM", help="a script, a module after -m, or code after -c")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGS", help="the program's own arguments")


def network(text: str) -> list[str]:
    """A network, or ``all``."""
    if text == "all":
        return ALL
    try:
        return [str(ipaddress.ip_network(text, strict=False))]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{shown(text)} is no network; write it like 198.18.0.0/15, or all") from None


def run(options: argparse.Namespace) -> int:
    """Runs the program; its exit status."""
    if not options.is_module and not options.is_code and not Path(options.program).is_file():
        raise Complaint(f"{shown(options.program)} is no file. Name a script, or -m and a module.", 2)
    addresses = wanted_addresses(options)
    networks = [one for found in options.networks or () for one in found] or None
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    with open_host(options, addresses, console) as opened, patched(opened.host, networks):
        return _run(options)


def _run(options: argparse.Namespace) -> int:
    """As ``python`` would: with its own sys.argv, under the name __main__."""
    before = sys.argv, list(sys.path)
    sys.argv = [options.program, *options.arguments]
    try:
        if options.is_module:
            runpy.run_module(options.program, run_name="__main__", alter_sys=True)
        elif options.is_code:
            sys.argv[0] = "-c"
            exec(compile(options.program, "<string>", "exec"), {"__name__": "__main__"})
        else:
            sys.path.insert(0, str(Path(options.program).resolve().parent))
            runpy.run_path(options.program, run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return int(end.code or 0)
    except ImportError as error:
        if options.is_module and error.name == options.program:
            raise Complaint(f"there is no module {shown(options.program)}.", 2) from None
        raise
    finally:
        sys.argv, sys.path[:] = before
    return 0
