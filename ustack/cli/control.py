"""``--control FILE:CLASS``: a user's own congestion control, for every connection of a command."""

from __future__ import annotations

import argparse
import runpy

from ustack.cli.values import shown
from ustack.congestion import ALGORITHMS, CongestionControl


def control(text: str) -> str:
    """Registers the class under its ``name``, as a name for ``TCP_CONGESTION`` too; returns the name."""
    file, colon, wanted = text.rpartition(":")
    if not colon or not file or not wanted.isidentifier():
        raise argparse.ArgumentTypeError(f"{shown(text)}: write FILE:CLASS, like mine.py:Mine")
    try:
        found = runpy.run_path(file, run_name="ustack_control").get(wanted)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{shown(file)} cannot be read: {error.strerror}") from None
    except (Exception, SystemExit) as error:
        raise argparse.ArgumentTypeError(f"{shown(file)} does not run: {type(error).__name__}: {error}") from None
    if not (isinstance(found, type) and issubclass(found, CongestionControl)):
        raise argparse.ArgumentTypeError(
            f"{shown(file)} has no class {wanted} that is a ustack.congestion.CongestionControl"
        )
    taken = ALGORITHMS.get(found.name)
    if found.name == CongestionControl.name or (taken is not None and taken.__module__.startswith("ustack.")):
        raise argparse.ArgumentTypeError(
            f"class {wanted} needs a name of its own: write name = {wanted.lower()!r} in it"
        )
    ALGORITHMS[found.name] = found
    return found.name
