"""The rows of ../shared/bar.md that compare one program with another, round by round: P1-P6 and P11."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tools.bench import roster, run, stats
from tools.bench.roster import Subject
from tools.bench.run import HTTP, Conditions, NotMeasured


@dataclass(frozen=True)
class Figure:
    """One measurement's value, what else was seen, and how much others disturbed it."""

    value: float
    foreign: float
    notes: dict[str, float]
    command: str


@dataclass(frozen=True)
class Case:
    """A row: what is measured of whom, against what, and how good is good enough."""

    name: str
    title: str
    unit: str
    baseline: str
    subjects: tuple[str, ...]
    measure: Callable[[Subject, Conditions], Figure]
    bar: str
    moonshot: str
    target: float = 0.0
    """The bar as a ratio (0: the bar is no ratio)."""
    lower_is_better: bool = False


@dataclass
class Line:
    """A subject's result within a case: an estimate, or the reason for none."""

    subject: str
    title: str
    kind: str
    estimate: stats.Estimate | None = None
    reason: str = ""
    notes: dict[str, float] = field(default_factory=dict)
    command: str = ""


@dataclass
class Result:
    """A whole case, for the table."""

    name: str
    title: str
    unit: str
    baseline: str
    bar: str
    moonshot: str
    target: float
    lower_is_better: bool
    lines: list[Line] = field(default_factory=list)


def bulk(mode: str, role: str = "services", flows: int = 1) -> Callable[[Subject, Conditions], Figure]:
    """Gbit/s of one or several flows, into the subject or out of it."""

    def measure(subject: Subject, conditions: Conditions) -> Figure:
        with run.serving(subject, conditions, role) as live:
            reading = run.ask(live, conditions, mode, "--flows", str(flows))
        answer = reading.answer
        notes = {"retransmits": float(answer["retransmits"]), "client cpu s": answer["user_s"] + answer["system_s"],
                 "subject cpu s": reading.subject_cpu_s}  # fmt: skip
        if flows > 1:
            notes["Jain"] = float(answer["jain"])
        return Figure(float(answer["gbit"]), reading.foreign, notes, reading.command)

    return measure


def round_trips(role: str) -> Callable[[Subject, Conditions], Figure]:
    """Median of 1-byte round trips, microseconds."""

    def measure(subject: Subject, conditions: Conditions) -> Figure:
        with run.serving(subject, conditions, role) as live:
            reading = run.ask(live, conditions, "rr")
        answer = reading.answer
        notes = {"p99 us": answer["p99_ns"] / 1e3, "max us": answer["max_ns"] / 1e3}
        return Figure(answer["p50_ns"] / 1e3, reading.foreign, notes, reading.command)

    return measure


def connects(subject: Subject, conditions: Conditions) -> Figure:
    """Connections a second: connect, one request, close, one after the other."""
    with run.serving(subject, conditions) as live:
        reading = run.ask(live, conditions, "connects")
    answer = reading.answer
    notes = {"failed": float(answer["failed"]), "p99 us": answer.get("p99_ns", 0) / 1e3}
    if answer["count"] == 0:
        raise NotMeasured("no connection worked")
    return Figure(float(answer["rate"]), reading.foreign, notes, reading.command)


def http(subject: Subject, conditions: Conditions) -> Figure:
    """Answers a second as wrk counts them: 100 connections, keep-alive, one thread."""
    if shutil.which("wrk") is None:
        raise NotMeasured("wrk is not installed")
    seconds = max(1, round(conditions.seconds))
    with run.serving(subject, conditions, "http") as live:
        words = ["wrk", "-t1", "-c100", f"-d{seconds}s", "--latency", f"http://{live.bed.address}:{HTTP}/"]
        reading = run.ask_program(live, conditions, words)
    text = str(reading.answer.get("text", ""))
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    if rate is None or float(rate[1]) == 0:
        raise NotMeasured("wrk got no answer")
    notes = {"errors": float(sum(int(count) for count in errors.groups()))} if errors else {}
    return Figure(float(rate[1]), reading.foreign, notes, reading.command)


OFFLOAD = ("ustack", "ustack-pure", "ceiling", "kernel-veth", "smoltcp", "smoltcp-65535", "gvisor", "gvisor-65535",
           "gvisor-gso", "lwip", "pytcp")  # fmt: skip
PLAIN = ("ustack-plain", "ustack-pure-plain", "ceiling-plain", "smoltcp", "gvisor", "lwip", "pytcp")
SERVERS = ("ustack", "ustack-plain", "ustack-pure", "smoltcp", "gvisor", "lwip", "pytcp")
MANY = ("ustack", "kernel-veth", "smoltcp-65535", "gvisor-gso", "lwip")

CASES = {
    case.name: case
    for case in (
        Case("P1", "bulk, the stack sends", "Gbit/s", "kernel-loopback", OFFLOAD, bulk("out"),
             "1.0 x kernel over loopback", "the do-nothing C sender", 1.0),
        Case("P2", "bulk, the stack receives and the application reads every byte", "Gbit/s", "kernel-loopback",
             OFFLOAD, bulk("in"), "1.0 x kernel over loopback", "the do-nothing C sink", 1.0),
        Case("P3in", "bulk in, no offload", "Gbit/s", "kernel-veth-plain", PLAIN, bulk("in"),
             "1.5 x kernel over veth with offloads off", "2.0 x", 1.5),
        Case("P3out", "bulk out, no offload", "Gbit/s", "kernel-veth-plain", PLAIN, bulk("out"),
             "0.5 x kernel over veth with offloads off", "0.57 x", 0.5),
        Case("P4", "HTTP, keep-alive, 100 connections, small answers, asyncio", "answers/s", "kernel-python",
             (*SERVERS, "kernel-veth"), http, "0.7 x the same server on kernel sockets", "1.0 x", 0.7),
        Case("P5", "connect, one request, close", "connections/s", "kernel-veth", (*SERVERS, "kernel-python"),
             connects, "0.7 x the kernel over veth", "1.0 x", 0.7),
        Case("P6", "1-byte round trip, p50", "us", "kernel-veth", (*SERVERS, "kernel-python"),
             round_trips("services"), "1.3 x the kernel's p50, p99 under 1 ms", "1.0 x", 1.3, True),
        Case("P6busy", "1-byte round trip beside a CPU-bound Python thread, p50", "us", "kernel-python",
             ("ustack", "ustack-pure"), round_trips("busy"), "p99 under 6 ms", "", 0.0, True),
        Case("P11out", "64 flows, the stack sends: sum", "Gbit/s", "kernel-loopback", MANY,
             bulk("out", "many", 64), "0.8 x of P1's ratio, Jain 0.95", "kernel's own", 0.8),
        Case("P11in", "64 flows, the stack receives: sum", "Gbit/s", "kernel-loopback", MANY,
             bulk("in", "many", 64), "0.8 x of P2's ratio, Jain 0.95", "kernel's own", 0.8),
    )
}  # fmt: skip

PEER_ROUNDS = 2
"""Rounds that peers and the kernel's other forms take part in: they are the frame, not the picture."""


def compare(case: Case, rounds: int, conditions: Conditions, only: list[str], say: Callable[[str], None]) -> Result:
    """Runs a case: in every round the baseline stands before each of ours and around every two of the others."""
    result = Result(case.name, case.title, case.unit, case.baseline, case.bar, case.moonshot, case.target,
                    case.lower_is_better)  # fmt: skip
    baseline = roster.ALL[case.baseline]
    lines = [Line(name, roster.ALL[name].title, roster.ALL[name].kind) for name in case.subjects if name in only]
    samples: dict[str, list[stats.Sample]] = {line.subject: [] for line in lines}
    seen: dict[str, list[dict[str, float]]] = {line.subject: [] for line in (*lines, Line(case.baseline, "", ""))}
    for turn in range(rounds):
        try:
            _round(case, baseline, conditions, turn, lines, samples, seen, say)
        except NotMeasured as reason:
            for line in lines:
                line.reason = line.reason or f"no baseline: {reason}"
            break
    for line in lines:
        if samples[line.subject] and not line.reason:
            line.estimate = stats.estimate(samples[line.subject])
            line.notes = _medians(seen[line.subject])
    result.lines = [_baseline_line(case, baseline, samples, seen), *lines]
    return result


def _round(case: Case, baseline: Subject, conditions: Conditions, turn: int, lines: list[Line],
           samples: dict[str, list[stats.Sample]], seen: dict[str, list[dict[str, float]]],
           say: Callable[[str], None]) -> None:  # fmt: skip
    """Everybody once. Raises NotMeasured when the baseline cannot be measured."""
    before = _baseline(case, baseline, conditions, seen)
    waiting: list[tuple[Line, Figure]] = []
    for line in _order(lines, turn):
        if line.reason or (line.kind in ("peer", "kernel") and turn >= PEER_ROUNDS):
            continue
        try:
            waiting.append((line, case.measure(roster.ALL[line.subject], conditions)))
        except NotMeasured as reason:
            line.reason = str(reason)
            say(f"  {case.name} {line.subject}: {reason}")
            continue
        if line.kind != "peer" or len(waiting) == 2:
            before = _settle(case, baseline, conditions, before, waiting, samples, seen, say)
    if waiting:
        _settle(case, baseline, conditions, before, waiting, samples, seen, say)


def _order(lines: list[Line], turn: int) -> list[Line]:
    """Every second round backwards, so that nobody is always first."""
    return lines if turn % 2 == 0 else lines[::-1]


def _baseline(case: Case, subject: Subject, conditions: Conditions, seen: dict[str, list[dict[str, float]]]) -> Figure:
    figure = case.measure(subject, conditions)
    seen[subject.name].append({**figure.notes, "value": figure.value})
    return figure


def _settle(case: Case, baseline: Subject, conditions: Conditions, before: Figure,
            waiting: list[tuple[Line, Figure]], samples: dict[str, list[stats.Sample]],
            seen: dict[str, list[dict[str, float]]], say: Callable[[str], None]) -> Figure:  # fmt: skip
    """Measures the baseline again and divides what ran between the two by their mean; returns the later one."""
    try:
        after = _baseline(case, baseline, conditions, seen)
    except NotMeasured:
        after = before
    middle = stats.between(before.value, after.value)
    for line, figure in waiting:
        foreign = max(figure.foreign, before.foreign, after.foreign)
        samples[line.subject].append(stats.Sample(figure.value, middle, foreign))
        seen[line.subject].append(figure.notes)
        line.command = figure.command
        say(f"  {case.name} {line.subject}: {stats.figure(figure.value)} {case.unit},"
            f" {case.baseline} {stats.figure(middle)}: {stats.figure(figure.value / middle)}")  # fmt: skip
    waiting.clear()
    return after


def _medians(notes: list[dict[str, float]]) -> dict[str, float]:
    names = {name for note in notes for name in note if name != "value"}
    return {name: stats.median([note[name] for note in notes if name in note]) for name in sorted(names)}


def _baseline_line(case: Case, subject: Subject, samples: dict[str, list[stats.Sample]],
                   seen: dict[str, list[dict[str, float]]]) -> Line:  # fmt: skip
    """The baseline's own line: its ratio is 1, its bounds say how much it moved."""
    line = Line(subject.name, f"{subject.title} (baseline)", "baseline")
    values = [note["value"] for note in seen[subject.name]]
    if not values:
        line.reason = "not measured"
        return line
    middle = stats.median(values)
    foreign = max((sample.foreign for group in samples.values() for sample in group), default=0.0)
    spread = stats.estimate([stats.Sample(value, middle, 0.0) for value in values])
    line.estimate = replace(spread, noise=foreign)
    line.notes = _medians(seen[subject.name])
    return line
