"""What the pytest plugin needs of the runner: a script's result as a test's outcome."""

from __future__ import annotations

from pathlib import Path

import pytest

from ustack.packetdrill.command import run_path
from ustack.packetdrill.report import explain
from ustack.packetdrill.runner import Result, Verdict, run_text
from ustack.packetdrill.virtual import VirtualHost


class ScriptFailed(Exception):  # noqa: N818 - what happened
    """A script did not pass; the text is the whole report."""


def check(result: Result) -> Result:
    """Raises ScriptFailed with the report, or skips for what is unsupported."""
    if result.verdict is Verdict.UNSUPPORTED:
        pytest.skip(f"unsupported: {result.summary}")
    if result.verdict is Verdict.FAIL:
        raise ScriptFailed(explain(result))
    return result


def check_file(path: Path, overrides: list[str], live: bool) -> Result:
    """Run one file."""
    return check(run_path(str(path), overrides, live=live))


def check_text(text: str, *options: str, exact: bool = False) -> Result:
    """Run a script given as text; ``options`` as on the command line."""
    overrides = [option.lstrip("-") for option in options] + (["exact=1"] if exact else [])
    return check(run_text(text, VirtualHost, path="script", overrides=overrides))
