"""One measurement: a fresh link, the subject on its processor, the client on the other, one JSON answer."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from tools.bench import build, machine
from tools.bench.netns import DEVICE, REPOSITORY, Bed, bed
from tools.bench.roster import Subject

BASE_PORT = 7000
SINK, SOURCE, ECHO, REQUEST, HTTP = 7001, 7002, 7003, 7004, 7080
START_SECONDS = 20.0


class NotMeasured(Exception):  # noqa: N818  (a reason, which the table prints, more than an error)
    """Why there is no figure: printed in the cell, never a blank."""


@dataclass(frozen=True)
class Conditions:
    """What is the same for every subject of a run."""

    seconds: float = 1.0
    warm_up: float = 0.3
    buffer: int = 1 << 20
    placement: str = "split"


@dataclass
class Reading:
    """The client's answer and what was seen beside it."""

    answer: dict[str, Any]
    foreign: float
    subject_cpu_s: float = 0.0
    command: str = ""
    notes: dict[str, float] = field(default_factory=dict)


@dataclass
class Running:
    """A subject that serves."""

    process: subprocess.Popen[str]
    bed: Bed
    errors: IO[str]
    """Its standard error, a file that has no name."""
    form: str = ""
    """compiled or interpreted, where the subject is ustack."""

    @property
    def pid(self) -> int:
        return self.process.pid

    def complaint(self) -> str:
        self.errors.seek(0)
        lines = self.errors.read().strip().splitlines()
        return lines[-1] if lines else f"exit status {self.process.poll()}"


@contextlib.contextmanager
def serving(
    subject: Subject, conditions: Conditions, role: str = "services", *, extra: tuple[str, ...] = (), queues: int = 1
) -> Iterator[Running]:
    """The subject, ready on its own fresh link. Raises NotMeasured when it cannot be."""
    reason = subject.missing(role)
    if reason:
        raise NotMeasured(reason)
    with contextlib.ExitStack() as stack:
        try:
            place = stack.enter_context(bed(subject.link, subject.mtu, queues))
        except OSError as error:
            raise NotMeasured(f"no {subject.link.value} here: {error}") from None
        yield stack.enter_context(running(subject, place, conditions, role, extra))


@contextlib.contextmanager
def running(
    subject: Subject, place: Bed, conditions: Conditions, role: str = "services", extra: tuple[str, ...] = ()
) -> Iterator[Running]:
    """The subject's program in a link that stands, until the block ends."""
    words = subject.words(role, address=place.address, device=DEVICE, mtu=place.mtu)
    cpus = machine.placement(conditions.placement).subject
    environment = {**os.environ, **dict(subject.environment), "PYTHONUNBUFFERED": "1"}
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            place.subject.command(*words, *extra, cpus=cpus),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=REPOSITORY,
            env=environment,
            start_new_session=True,
        )
        live = Running(process, place, errors, subject.form)
        try:
            _await_ready(live)
            yield live
        finally:
            _end(process)


def _check_form(live: Running, line: str) -> None:
    """A compiled subject that runs interpreted, or the other way round, is another subject."""
    wanted = live.form
    if wanted and wanted not in line:
        raise NotMeasured(
            f"this is not the {wanted} form: it said {line.strip()!r} (make install builds the compiled one)"
        )


def _await_ready(live: Running) -> None:
    """A subject prints a line with `ready` when it listens."""
    assert live.process.stdout is not None
    deadline = time.monotonic() + START_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        if select.select([live.process.stdout], [], [], left)[0]:
            line = live.process.stdout.readline()
            if "ready" in line:
                _check_form(live, line)
                return
            if not line:
                live.process.wait()
                raise NotMeasured(f"did not start: {live.complaint()}")
    raise NotMeasured(f"was not ready within {START_SECONDS:.0f} s")


def _end(process: subprocess.Popen[str]) -> None:
    """Ends a process that we started and its session, and nothing else."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, sign)
        try:
            process.wait(timeout=3)
            break
        except subprocess.TimeoutExpired:
            continue
    if process.stdout is not None:
        process.stdout.close()


def client_words(mode: str, address: str, conditions: Conditions, *more: str) -> list[str]:
    """The command of the C client for one mode."""
    return [
        str(build.client()), mode, address, "--port", str(BASE_PORT), "--seconds", str(conditions.seconds),
        "--warm-up", str(conditions.warm_up), "--buffer", str(conditions.buffer), *more,
    ]  # fmt: skip


def ask(live: Running, conditions: Conditions, mode: str, *more: str) -> Reading:
    """Runs the client against a subject that serves. Raises NotMeasured with what went wrong."""
    return ask_program(live, conditions, client_words(mode, live.bed.address, conditions, *more))


def ask_program(live: Running, conditions: Conditions, words: list[str]) -> Reading:
    """Any client that answers JSON, or text that the caller reads from `answer["text"]`."""
    place = machine.placement(conditions.placement)
    patience = conditions.seconds + conditions.warm_up + 60
    before = _cpu(live)
    with machine.watched() as watch:
        try:
            done = subprocess.run(
                live.bed.client.command(*words, cpus=place.client),
                capture_output=True,
                text=True,
                timeout=patience,
                check=False,
                cwd=REPOSITORY,
            )
        except subprocess.TimeoutExpired:
            raise NotMeasured(f"the client did not end within {patience:.0f} s") from None
        used = _cpu(live) - before
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        if live.process.poll() is not None:
            said = f"the subject died: {live.complaint()}"
        raise NotMeasured(said)
    return Reading(_parse(done.stdout), watch.foreign, used, " ".join(words))


def _parse(text: str) -> dict[str, Any]:
    try:
        answer = json.loads(text)
    except ValueError:
        return {"text": text}
    return answer if isinstance(answer, dict) else {"text": text}


def _cpu(live: Running) -> float:
    with contextlib.suppress(OSError):
        return machine.processor_ns(live.pid) / 1e9
    return 0.0
