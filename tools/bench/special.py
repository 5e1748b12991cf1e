"""The rows that are no simple pair of programs: memory, many connections, emulated links, floods, workers."""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tools.bench import machine, roster, run, stats
from tools.bench.cases import Line, Result
from tools.bench.netns import CLIENT_ADDRESS, REPOSITORY
from tools.bench.run import Conditions, NotMeasured, Running

Say = Callable[[str], None]
HOLDER = 15_000
"""Connections that one holding client has: below the limit of descriptors that most machines allow."""


@dataclass(frozen=True)
class Special:
    """A case with a way of its own."""

    name: str
    title: str
    run: Callable[[int, Conditions, Say], Result]


class Holders:
    """Client processes that keep connections open, each from an address of its own."""

    def __init__(self, live: Running) -> None:
        self.live = live
        self.processes: list[subprocess.Popen[str]] = []
        self.held = 0

    def hold(self, total: int, conditions: Conditions) -> None:
        """Opens connections until `total` stand. Raises NotMeasured when they do not."""
        while self.held < total:
            self._one(min(HOLDER, total - self.held), conditions)

    def _one(self, count: int, conditions: Conditions) -> None:
        place = self.live.bed
        own = f"10.9.1.{len(self.processes) + 1}"
        place.client.run("ip", "address", "add", f"{own}/32", "dev", place.device)
        words = run.client_words("hold", place.address, conditions, "--count", str(count), "--bind", own)
        process = subprocess.Popen(
            place.client.command(*words, cpus=machine.placement(conditions.placement).client),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY,
        )  # fmt: skip
        self.processes.append(process)
        answer = self._answer(process, 300)
        self.held += answer["held"]
        if answer["held"] < count:
            raise NotMeasured(f"only {self.held} connections stand: {_last_error(process)}")

    def _answer(self, process: subprocess.Popen[str], seconds: float) -> dict[str, int]:
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], seconds)[0]:
            raise NotMeasured(f"a holding client said nothing for {seconds:.0f} s")
        line = process.stdout.readline()
        if not line:
            raise NotMeasured(f"a holding client died: {_last_error(process)}")
        answer: dict[str, int] = json.loads(line)
        return answer

    def ping(self, count: int) -> float:
        """Round trips over all connections, scattered; the median of the clients' medians in microseconds."""
        middles = []
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write(f"ping {max(1, count // len(self.processes))}\n")
            process.stdin.flush()
            middles.append(self._answer(process, 120)["p50_ns"] / 1e3)
        return stats.median(middles)

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()


def _last_error(process: subprocess.Popen[str]) -> str:
    """What a client complained of; it has ended, or is ended now."""
    process.kill()
    _, errors = process.communicate()
    return (errors.strip().splitlines() or ["it did not say why"])[-1]


@contextlib.contextmanager
def holding(live: Running) -> Iterator[Holders]:
    """Holders that are gone when the block ends."""
    holders = Holders(live)
    try:
        yield holders
    finally:
        holders.close()


def _result(name: str, title: str, unit: str, baseline: str, bar: str, moonshot: str, target: float) -> Result:
    return Result(name, title, unit, baseline, bar, moonshot, target, lower_is_better=name in ("P7", "P8"))


# P7 ------------------------------------------------------------------------------------------------

BAR_KIB = 6.0


def memory(rounds: int, conditions: Conditions, say: Say) -> Result:
    """KiB of the subject's process for each idle ESTABLISHED connection, its Socket object included."""
    result = _result("P7", "memory per idle ESTABLISHED connection", "KiB", "the bar of 6 KiB",
                     "6 KiB, 100 000 of them in one process", "3 KiB", 1.0)  # fmt: skip
    for name, count in (("ustack", 10_000), ("ustack", 100_000), ("ustack-pure", 10_000), ("kernel-python", 10_000)):
        subject = roster.ALL[name]
        said = f"{subject.title}: {count} connections"
        said += " (the process only: the kernel's own memory is not in it)" if subject.kind == "kernel" else ""
        line = Line(name, said, subject.kind)
        result.lines.append(line)
        samples = []
        for _ in range(min(rounds, 2) if count <= 10_000 else 1):
            try:
                samples.append(_memory_once(subject, count, conditions))
            except NotMeasured as reason:
                line.reason = str(reason)
                break
            say(f"  P7 {name} {count}: {samples[-1].value:.2f} KiB")
        if samples:
            line.estimate = stats.estimate(samples)
    return result


def _memory_once(subject: roster.Subject, count: int, conditions: Conditions) -> stats.Sample:
    with run.serving(subject, conditions, "idle") as live, holding(live) as holders:
        holders.hold(100, conditions)
        _settle(live)
        before = machine.resident_bytes(live.pid)
        holders.hold(count + 100, conditions)
        _settle(live)
        used = (machine.resident_bytes(live.pid) - before) / count / 1024
    return stats.Sample(used, BAR_KIB)


def _settle(live: Running) -> None:
    """Waits, 10 s at most, until the subject has nothing left to do."""
    last = machine.processor_ns(live.pid)
    for _ in range(50):
        time.sleep(0.2)
        now = machine.processor_ns(live.pid)
        if now - last < 2_000_000:
            return
        last = now


# P8 ------------------------------------------------------------------------------------------------

PINGS = 4_000
COUNTS = (10, 1_000, 100_000)


def crowd(rounds: int, conditions: Conditions, say: Say) -> Result:
    """Processor time of the subject for one small segment in and one out, with more and more connections open."""
    result = _result("P8", "cost of a 1-byte round trip with many connections open", "us of processor",
                     "itself with 10 connections", "grows under 1.3 x", "flat", 1.3)  # fmt: skip
    for name in ("ustack", "ustack-pure", "kernel-python"):
        subject = roster.ALL[name]
        costs: dict[int, list[float]] = {}
        reason = ""
        foreign = 0.0
        for _ in range(min(rounds, 3)):
            try:
                foreign = max(foreign, _crowd_once(subject, conditions, costs))
            except NotMeasured as said:
                reason = str(said)
                break
        for count in COUNTS:
            line = Line(name, f"{subject.title}: {count} connections", subject.kind, reason=reason or "not reached")
            if costs.get(count) and costs.get(10):
                pairs = zip(costs[count], costs[10], strict=False)
                line.estimate = stats.estimate([stats.Sample(now, first, foreign) for now, first in pairs])
                say(f"  P8 {name} {count}: {line.estimate.value:.1f} us")
            result.lines.append(line)
    return result


def _crowd_once(subject: roster.Subject, conditions: Conditions, costs: dict[int, list[float]]) -> float:
    with run.serving(subject, conditions, "crowd") as live, holding(live) as holders, machine.watched() as watch:
        for count in COUNTS:
            holders.hold(count, conditions)
            _settle(live)
            holders.ping(PINGS // 4)  # warm caches
            before = machine.processor_ns(live.pid)
            holders.ping(PINGS)
            costs.setdefault(count, []).append((machine.processor_ns(live.pid) - before) / PINGS / 1e3)
    return watch.foreign


# P10 -----------------------------------------------------------------------------------------------


def flood(rounds: int, conditions: Conditions, say: Say) -> Result:
    """SYNs a second that a listener takes under cookies, and the share of real connects that work meanwhile."""
    result = _result("P10", "SYN flood: SYNs answered a second; connects within 3 s at half that", "SYNs/s",
                     "kernel-veth", "200 000 / s; 99 %", "1 000 000 / s", 0.0)  # fmt: skip
    for name in ("ustack", "ustack-plain", "ustack-pure", "kernel-veth"):
        subject = roster.ALL[name]
        line = Line(name, subject.title, subject.kind)
        result.lines.append(line)
        samples, shares = [], []
        for _ in range(min(rounds, 3)):
            try:
                rate, share, foreign = _flood_once(subject, conditions)
            except NotMeasured as reason:
                line.reason = str(reason)
                break
            samples.append(stats.Sample(rate, 200_000.0, foreign))
            shares.append(share)
            say(f"  P10 {name}: {rate:.0f} SYNs/s, {share:.1%} of connects")
        if samples:
            line.estimate = stats.estimate(samples)
            line.notes = {"connects that worked %": 100 * stats.median(shares)}
    return result


@contextlib.contextmanager
def _flooding(live: Running, conditions: Conditions, seconds: float, pace: int) -> Iterator[None]:
    """SYNs from the client's side while the block runs; a pace of 0 is as many as it can."""
    place = live.bed
    hardware = ("--hardware", place.hardware) if place.hardware else ()
    target = ("--device", place.device, "--count", str(pace), *hardware)
    words = run.client_words("flood", place.address, conditions, *target)
    words[words.index("--seconds") + 1] = str(seconds)
    flooder = subprocess.Popen(
        place.client.command(*words, cpus=machine.placement(conditions.placement).client),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        time.sleep(0.3)
        yield
    finally:
        flooder.terminate()
        flooder.communicate()


def _flood_once(subject: roster.Subject, conditions: Conditions) -> tuple[float, float, float]:
    """SYNs answered a second when more come than it can take; then the share of connects that work at half of that.

    At the full flood the device's queue throws most packets away before any stack sees them, those of the real
    clients too: what is left to judge there is the rate.
    """
    seconds = max(2.0, conditions.seconds)
    with run.serving(subject, conditions, "many" if subject.kind == "kernel" else "services") as live:
        place = live.bed
        if subject.kind == "kernel":
            place.subject.sysctl("net.ipv4.tcp_syncookies", "1")
            place.subject.run("ip", "route", "add", "10.64.0.0/10", "via", CLIENT_ADDRESS)
        with _flooding(live, conditions, seconds + 5, 0):
            before, began = place.client.counter(place.device, "rx_packets"), time.monotonic()
            time.sleep(seconds)
            answered = place.client.counter(place.device, "rx_packets") - before
            rate = answered / (time.monotonic() - began)
        time.sleep(0.5)
        with _flooding(live, conditions, seconds + 5, max(1, int(rate / 2))):
            reading = run.ask(live, Conditions(seconds, placement="free"), "connects")
    count, failed = reading.answer["count"], reading.answer["failed"]
    return rate, count / max(1, count + failed), reading.foreign


# P12 -----------------------------------------------------------------------------------------------


def workers(rounds: int, conditions: Conditions, say: Say) -> Result:
    """HTTP answers a second of two processes on two queues of one TUN device, against one process on one."""
    result = _result("P12", "HTTP: two processes on two TUN queues / one process", "answers/s", "one process",
                     "more than one process", "2 x", 1.0)  # fmt: skip
    subject = roster.ALL["ustack"]
    line = Line("ustack", subject.title, "ustack")
    result.lines.append(line)
    samples = []
    for _ in range(min(rounds, 3)):
        try:
            one, _ = _workers_once(subject, 1, conditions)
            two, foreign = _workers_once(subject, 2, conditions)
        except NotMeasured as reason:
            line.reason = str(reason)
            return result
        samples.append(stats.Sample(two, one, foreign))
        say(f"  P12: {two:.0f} of two, {one:.0f} of one: {two / one:.2f}")
    line.estimate = stats.estimate(samples)
    return result


def _workers_once(subject: roster.Subject, count: int, conditions: Conditions) -> tuple[float, float]:
    free = Conditions(conditions.seconds, placement="free")
    queues = 2  # of the device in both, so that only the processes differ
    extra = ("--multi-queue",)
    with contextlib.ExitStack() as stack:
        live = stack.enter_context(run.serving(subject, free, "http", extra=extra, queues=queues))
        for _ in range(count - 1):
            stack.enter_context(run.running(subject, live.bed, free, "http", extra))
        words = [
            "wrk",
            "-t1",
            "-c100",
            f"-d{max(2, round(conditions.seconds))}s",
            f"http://{live.bed.address}:{run.HTTP}/",
        ]
        reading = run.ask_program(live, free, words)
    for said in str(reading.answer.get("text", "")).splitlines():
        if said.startswith("Requests/sec:"):
            return float(said.split()[1]), reading.foreign
    raise NotMeasured("wrk got no answer")


def _links(rounds: int, conditions: Conditions, say: Say) -> Result:
    from tools.bench import links  # noqa: PLC0415  (links uses this module's result)

    return links.goodput(rounds, conditions, say)


CASES = {
    case.name: case
    for case in (
        Special("P7", "memory per idle ESTABLISHED connection", memory),
        Special("P8", "cost of a small segment with many connections open", crowd),
        Special("P9", "goodput over an emulated link, against the kernel with the same algorithm", _links),
        Special("P10", "SYN flood with real connects beside it", flood),
        Special("P12", "two processes on two queues", workers),
    )
}
