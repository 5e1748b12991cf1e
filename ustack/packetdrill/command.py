"""``ustack packetdrill``: run packetdrill scripts."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from ustack.packetdrill.errors import ScriptError, Unsupported
from ustack.packetdrill.parser import parse_file
from ustack.packetdrill.report import explain, junit, one_line, summary, trace, write_pcap
from ustack.packetdrill.runner import Result, Verdict, judge, run_live, run_text
from ustack.packetdrill.virtual import VirtualHost

_DESCRIPTION = f"""\
Runs packetdrill scripts against ustack, in this process and in virtual time: a script of two hours takes milliseconds,
needs no root and no device, and gives the same answer every time. --live runs the same scripts against this
machine's kernel, in real time, through a TUN device in a network namespace of its own (root). A script that names no
tcp_congestion_control has the machine's, both ways.

A first script, three.pkt: a client connects, and ustack must answer its SYN.

    0    socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
    +0   bind(3, ..., ...) = 0
    +0   listen(3, 1) = 0
    +0   < S  0:0(0) win 65535 <mss 1460>
    +0   > S. 0:0(0) ack 1 <mss 1460>
    +0.1 < .  1:1(0) ack 1 win 65535
    +0   accept(3, ..., ...) = 4

Each line is a time and an action. Times: 0.1 since the start, +0.1 after the line before, a~b a range, * any.
'<' hands the stack a packet, '>' is a packet that it must send; then flags (F S R P . E W A U), start:end(length),
ack, win, <options>. Everything else is a system call and what it must return, `a shell command`, or %{{ a python
assertion over tcpi_ variables }}%. Descriptors are names: "socket(...) = 3" makes 3. A packet in says its
window ('win N'), one with '.' its ack; the first byte of both ends is number 1.
The whole language: {Path(__file__).with_name("README.md")}
"""

_EPILOG = "Exit status: 0 when no script failed, 1 when one did, 2 for a wrong command line."

_PASSED_ON = (
    ("ip_version", "ipv4, ipv4-mapped-ipv6 or ipv6"),
    ("mss", "inbound segments larger than this arrive as one super-segment"),
    ("mtu", "of the link (1500)"),
    ("bind_port", "port that '...' in bind() stands for (8080)"),
    ("connect_port", "port that '...' in connect() stands for (8080)"),
    ("local_ip", "the stack's address"),
    ("remote_ip", "the address of the other side, which the script plays"),
    ("gateway_ip", "next hop towards the other side (--live)"),
    ("netmask_ip", "of the stack's address"),
    ("tolerance_usecs", "how early or late an event may be (4000)"),
    ("tolerance_percent", "the same in per cent of the time since the event before (12.5)"),
    ("tcp_ts_tick_usecs", "check timestamp values, one tick being so long (0: not checked)"),
    ("boundaries", "ignore: do not compare PSH and where segments end"),
    ("speed", "accepted, without effect"),
    ("code_sockopt", "accepted, without effect"),
    ("init_scripts", "shell scripts that run before the first command, between commas"),
    ("non_fatal", "packet, syscall or both: report what differs there, and go on"),
)
_FLAGS = (
    ("tcp_ts_ecr_scaled", "an 'ecr' that was never sent is scaled from the first one"),
    ("strict_segments", "do not join consecutive segments"),
    ("exact", "no tolerance in virtual time; nothing unexpected may be left at the end"),
    ("send_omit_free", "accepted, without effect"),
    ("dry_run", "only read the scripts"),
)


# Of Linux's tool, on command lines that are written for it; without effect here.
_IGNORED_VALUES = ("code_command", "code_format", "so_filename", "so_flags", "tun_dev", "fm_filename")
_IGNORED_FLAGS = ("verbose", "debug", "no_cleanup", "persistent_tun_dev", "is_anyip")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``ustack packetdrill``."""
    parser.description = _DESCRIPTION
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("files", nargs="+", metavar="FILE", help="a script, or a folder: all *.pkt below it")
    parser.add_argument("--live", action="store_true", help="against this machine's kernel, in real time (root)")
    parser.add_argument("--trace", action="store_true", help="show everything that happened, passed or not")
    parser.add_argument("-q", "--quiet", action="store_true", help="only the closing line")
    parser.add_argument("-x", "--fail-fast", action="store_true", help="stop at the first script that fails")
    parser.add_argument("--junit", metavar="FILE", type=Path, help="write the results as JUnit XML")
    parser.add_argument("--pcap", metavar="DIR", type=Path, help="write the packets of each run to DIR/SCRIPT.pcap")
    parser.add_argument(
        "-D", "--define", metavar="SYM=value", action="append", default=[], help="replace the word SYM in the scripts"
    )
    options = parser.add_argument_group("options of scripts", "they win over those in the script")
    for name, text in _PASSED_ON:
        options.add_argument(f"--{name}", metavar="VALUE", help=text)
    for name in _IGNORED_VALUES:
        options.add_argument(f"--{name}", help=argparse.SUPPRESS)
    for name in _IGNORED_FLAGS:
        options.add_argument(f"--{name}", action="store_true", help=argparse.SUPPRESS)
    for name, text in _FLAGS:
        options.add_argument(f"--{name}", action="store_true", help=text)


def overrides_of(args: argparse.Namespace) -> list[str]:
    """The options of scripts, as ``name=value``."""
    given = [f"define={text}" for text in args.define]
    given += [f"{name}={getattr(args, name)}" for name, _ in _PASSED_ON if getattr(args, name) is not None]
    given += ["trace=1"] if args.trace else []
    return given + [f"{name}=1" for name, _ in _FLAGS if getattr(args, name)]


def find_scripts(paths: list[str]) -> list[str]:
    """Files as they are, folders as the sorted ``*.pkt`` below them."""
    found: list[str] = []
    for path in paths:
        if Path(path).is_dir():
            found += sorted(map(str, Path(path).rglob("*.pkt")))
        else:
            found.append(path)
    return found


def run(args: argparse.Namespace) -> int:
    """Run all files; returns the exit status."""
    overrides = overrides_of(args)
    results: list[Result] = []
    for path in find_scripts(args.files):
        result = run_path(path, overrides, live=args.live, in_folder=path not in args.files)
        results.append(result)
        _show(result, args)
        if args.pcap and result.packets:
            write_pcap(result, args.pcap)
        if args.fail_fast and result.verdict is Verdict.FAIL:
            break
    if not results:
        print("no scripts: FILE is a script or a folder with *.pkt below it", file=sys.stderr)
        return 2
    if args.junit:
        args.junit.write_text(junit(results), encoding="utf-8", errors="replace")
    print(summary(results))
    return 1 if any(result.verdict is Verdict.FAIL for result in results) else 0


def run_path(
    path: str, overrides: list[str] | None = None, *, live: bool = False, in_folder: bool | None = None
) -> Result:
    """Run one file; a file that cannot be read is a failure like others.

    With ``in_folder`` (the command says it) the result is held against the head of the script: a failure may be
    expected there, and a script that is slow in real time is passed over when only its folder was named."""
    began = time.perf_counter()
    try:
        if live and in_folder and is_slow(path):
            result = Result(path, Verdict.UNSUPPORTED, "slow in real time: it runs when the file itself is named")
        elif live:
            result = run_live(path, overrides)
        else:
            text = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
            result = run_text(text, VirtualHost, path=path, overrides=overrides)
    except OSError as error:
        result = Result(path, Verdict.FAIL, f"{path}: {error.strerror or error}")
    result.seconds = time.perf_counter() - began
    return result if in_folder is None else judge(result, live)


def is_slow(path: str) -> bool:
    """The script's head says so: ``// kernel: slow``."""
    try:
        return parse_file(path).directives.get("kernel", "").startswith("slow")
    except (ScriptError, Unsupported):
        return False


def _show(result: Result, args: argparse.Namespace) -> None:
    if args.quiet:
        return
    print(one_line(result))
    if result.verdict is Verdict.FAIL:
        print(explain(result))
        print()
    if args.trace:
        print(trace(result))
