"""``python -m ustack.packetdrill``: the same as ``ustack packetdrill``."""

from __future__ import annotations

import argparse
import sys

from ustack.packetdrill.command import add_arguments, run


def main() -> int:
    """The command by itself."""
    parser = argparse.ArgumentParser(prog="ustack packetdrill")
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
