"""``ustack ladder``: draws the TCP connections in a capture."""

from __future__ import annotations

import argparse

from rich.console import Console

from ustack.cli.capture import read_capture
from ustack.cli.complaint import Complaint
from ustack.cli.ladder import WIDTH, show
from ustack.cli.lifelines import Lifelines
from ustack.cli.values import whole
from ustack.wire.frame import Segment
from ustack.wire.parse import parse_packet

EXAMPLES = """\
examples:
  tcpdump -w x.pcap tcp      capture, then:
  ustack ladder x.pcap
  ustack ladder x.pcap -n 2 --most 200
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.epilog = EXAMPLES
    parser.add_argument("file", metavar="FILE", help="a pcap file: of ustack --pcap, tcpdump -w, Wireshark")
    parser.add_argument(
        "-n", "--number", type=whole(1, 1 << 53, "number"), metavar="N", help="only the Nth connection, counted from 1"
    )
    parser.add_argument(
        "--most",
        type=whole(1, 1 << 53, "number of rows"),
        default=40,
        metavar="ROWS",
        help="fold connections with more rows (40)",
    )


def run(options: argparse.Namespace) -> int:
    """Prints the ladders."""
    lines = Lifelines()
    for at, packet in read_capture(options.file):
        frame = parse_packet(packet, True)  # captured before checksums are filled in, often
        if isinstance(frame, Segment):
            lines.see(frame, at)
    found = lines.connections
    if not found:
        raise Complaint(f"{options.file} holds no TCP segment.", 1)
    if options.number is not None:
        if options.number > len(found):
            raise Complaint(f"{options.file} holds {len(found)} connections: --number is 1 to {len(found)}.", 2)
        found = [found[options.number - 1]]
    console = Console(highlight=False, soft_wrap=True, width=WIDTH)
    for index, line in enumerate(found):
        if index:
            console.print()
        show(console, line, most=options.most)
    return 0
