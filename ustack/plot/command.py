"""``ustack plot``: the graphs of a connection in a capture."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from ustack.cli.capture import read_packets
from ustack.cli.complaint import Complaint
from ustack.cli.values import time, whole
from ustack.explain.reading import read
from ustack.plot import draw, wire
from ustack.units import SECOND


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("file", metavar="FILE", help="a pcap or pcapng file: of tcpdump -w, Wireshark, ustack --pcap")
    parser.add_argument(
        "-n", "--number", type=whole(1, 1 << 53, "number"), metavar="N",
        help="the Nth connection, counted from 1 (the one that carries most)",
    )  # fmt: skip
    parser.add_argument("--reverse", action="store_true", help="what the end sends that sends less")
    parser.add_argument("--from", dest="start", type=time(0), default=0.0, metavar="SECONDS", help="begin there (0)")
    parser.add_argument("--to", type=time(0.000001), metavar="SECONDS", help="end there (where it becomes quiet)")
    parser.add_argument(
        "--out", metavar="FILE", help="where to: a name that ends in .svg, .png or .html (the capture's, with .svg)"
    )


def run(options: argparse.Namespace) -> int:
    """Writes the picture."""
    if options.out:
        draw.check_target(options.out)
    flows = read(read_packets(options.file)).flows
    if not flows:
        raise Complaint(f"{options.file} holds no TCP segment.", 1)
    if options.number is not None and options.number > len(flows):
        raise Complaint(f"{options.file} holds {len(flows)} connections: --number is 1 to {len(flows)}.", 2)
    number = options.number or max(
        range(1, len(flows) + 1), key=lambda one: sum(half.bytes for half in flows[one - 1].halves)
    )
    flow = flows[number - 1]
    out = options.out or Path(options.file).with_suffix(".svg").name
    side = wire.busier_side(flow) ^ options.reverse
    picture = wire.picture(flow, side)
    if options.start or options.to:
        start, last = picture.start(), picture.start() + picture.length()
        end = start + round(options.to * SECOND) if options.to else max(picture.span()[1], last)
        picture.shown = start + round(options.start * SECOND), min(end, last)
        if picture.shown[0] >= picture.shown[1]:
            raise Complaint("nothing is between --from and --to: the connection is over then.", 2)
    draw.write(picture, out)
    which = f"connection {number} of {len(flows)}, " if len(flows) > 1 else ""
    Console(highlight=False, soft_wrap=True).print(f"{out}: {which}{picture.title}", markup=False)
    return 0
