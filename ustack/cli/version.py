"""What ``ustack --version`` says."""

from __future__ import annotations

import importlib.metadata
import platform
import sys

import ustack.seqnum


def is_compiled() -> bool:
    """Whether floors 0-5 run as mypyc's extensions; False: as interpreted Python."""
    return not str(ustack.seqnum.__file__).endswith(".py")


def version_text() -> str:
    """``ustack 0.1.0, floors 0-5 compiled (mypyc), CPython 3.11.7 on Linux x86_64``."""
    try:
        version = importlib.metadata.version("ustack")
    except importlib.metadata.PackageNotFoundError:
        version = "(not installed)"
    kind = "compiled (mypyc)" if is_compiled() else "interpreted"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"ustack {version}, floors 0-5 {kind}, {python} on {sys.platform} {platform.machine()}"
