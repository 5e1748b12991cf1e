"""Running scripts: from files to results."""

from __future__ import annotations

import enum
import gc
import os
import pickle
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ustack.packetdrill.config import Config, configure
from ustack.packetdrill.errors import Mismatch, ScriptError, Unsupported
from ustack.packetdrill.host import Host
from ustack.packetdrill.live import LiveHost, be_punctual, enter_namespace
from ustack.packetdrill.parser import parse_script
from ustack.packetdrill.record import Entry
from ustack.packetdrill.session import Session
from ustack.packetdrill.tree import Script


class Verdict(enum.Enum):
    """What came of a script."""

    PASS = "passed"
    FAIL = "failed"
    UNSUPPORTED = "unsupported"
    EXPECTED_FAILURE = "expected failure"
    """It failed, and its head says that it must (``// expected failure: REASON``)."""


@dataclass
class Result:
    """Everything that a report says about one run. It can be sent from one process to another."""

    path: str
    verdict: Verdict
    summary: str = ""
    line: int = 0
    column: int = 0
    source: str = ""
    """The event's text."""
    differences: list[tuple[str, str, str]] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    """What may help, a sentence each."""
    entries: list[Entry] = field(default_factory=list)
    state: list[str] = field(default_factory=list)
    relaxed: list[str] = field(default_factory=list)
    directives: dict[str, str] = field(default_factory=dict)
    packets: list[tuple[int, bytes]] = field(default_factory=list)
    seconds: float = 0.0
    script: Script | None = None


DRY: Final = "everything: a dry run"
"""In a result's ``relaxed``: the script was only read."""

HostMaker = Callable[[Config], Host]


def run_text(
    text: str, make_host: HostMaker, *, path: str = "", overrides: list[str] | None = None, base: Config | None = None
) -> Result:
    """Run one script given as text, in this process."""
    try:
        script = parse_script(text, path, _symbols(overrides))
        config = configure(script, _plain(overrides), base)
    except ScriptError as error:
        return Result(path, Verdict.FAIL, str(error), error.line, error.column)
    except Unsupported as missing:
        return Result(path, Verdict.UNSUPPORTED, missing.name)
    if config.dry_run:
        return Result(path, Verdict.PASS, directives=script.directives, script=script, relaxed=[DRY])
    return run_script(script, config, make_host)


def judge(result: Result, live: bool) -> Result:
    """Hold a result against what the script's head says of itself (see ``plugin`` for the directives).

    A failure that is expected is counted apart; a script that passes although it says that it fails is a failure."""
    kernel = result.directives.get("kernel", "")
    reason = result.directives.get("expected failure", "") if not live else ""
    if live and kernel.startswith("differs"):
        reason = kernel
    if not reason:
        return result
    if result.verdict is Verdict.FAIL:
        result.verdict = Verdict.EXPECTED_FAILURE
        result.summary = f"{reason} [{result.summary}]"
    elif result.verdict is Verdict.PASS and not live and DRY not in result.relaxed:
        result.verdict = Verdict.FAIL
        result.summary = f"it passed, but its head says '// expected failure: {reason}': take that line out"
    return result


def _symbols(overrides: list[str] | None) -> dict[str, str]:
    pairs = [override.removeprefix("define=") for override in overrides or [] if override.startswith("define=")]
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def _plain(overrides: list[str] | None) -> list[str]:
    return [override for override in overrides or [] if not override.startswith("define=")]


def run_script(script: Script, config: Config, make_host: HostMaker) -> Result:
    """Run a parsed script, in this process."""
    result = Result(script.path, Verdict.PASS, directives=script.directives, script=script)
    host: Host | None = None
    session: Session | None = None
    try:
        host = make_host(config)
        session = Session(config, host, script.path)
        session.require_supported(script)
        for path in filter(None, config.init_scripts.split(",")):
            host.command(path.strip(), script.path)
        if script.init is not None:
            host.command(script.init.text, script.path)
        host.start()
        wall = host.wall_clock()
        session.caller.epoch = None if wall is None else (wall, config.tolerance_ns)
        session.run(script)
    except Mismatch as failed:
        result.verdict, result.summary, result.differences = Verdict.FAIL, failed.summary, failed.differences
        result.hints = failed.hints
    except Unsupported as missing:
        result.verdict, result.summary = Verdict.UNSUPPORTED, missing.name
        result.hints = [missing.hint] if missing.hint else []
    except Exception as broken:  # the runner's or the stack's own fault: a failure with its trace, and on to the next
        result.verdict = Verdict.FAIL
        result.summary = f"{type(broken).__name__}: {broken}\n{traceback.format_exc()}"
    finally:
        _conclude(result, script, host, session)
    return result


def _conclude(result: Result, script: Script, host: Host | None, session: Session | None) -> None:
    """Fill in the report, run the cleanup command, give the world back."""
    if session is not None:
        result.entries, result.relaxed, result.packets = session.entries, session.relaxed, session.packets
        if session.event is not None and result.verdict is not Verdict.PASS:
            result.line, result.column, result.source = session.event.line, session.event.column, session.event.source
    if host is None:
        return
    if result.verdict is Verdict.FAIL and session is not None:
        current = session.peers.current
        result.state = host.describe(current.fd if current is not None else None)
    try:
        if script.cleanup is not None and session is not None:
            host.command(script.cleanup.text, script.path)
    except (Mismatch, Unsupported) as failed:
        if result.verdict is Verdict.PASS:
            result.verdict = Verdict.UNSUPPORTED if isinstance(failed, Unsupported) else Verdict.FAIL
            result.summary = str(failed)
    finally:
        host.close()


def run_live(path: str, overrides: list[str] | None = None, text: str | None = None) -> Result:
    """Run a file against this machine's kernel, in a child process with a namespace of its own."""
    if text is None:
        text = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _live_child(writer, path, overrides, text)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        data = stream.read()
    os.waitpid(child, 0)
    if not data:
        return Result(path, Verdict.FAIL, "the process that ran the script died without a word")
    result: Result = pickle.loads(data)  # from our own child
    return result


def _live_child(writer: int, path: str, overrides: list[str] | None, text: str) -> None:
    """Never returns."""
    try:
        enter_namespace()
        be_punctual()
        gc.disable()
        sys.setswitchinterval(0.0005)
        result = run_text(text, LiveHost, path=path, overrides=overrides)
    except BaseException as broken:
        result = Result(path, Verdict.FAIL, f"{type(broken).__name__}: {broken}")
    with os.fdopen(writer, "wb") as stream:
        pickle.dump(result, stream)
    os._exit(0)
