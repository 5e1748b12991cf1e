"""P9: goodput over an emulated link. The subject and the kernel send at the same time, each over a link of its own
with the same seed, so that both lose the same share and what disturbs the machine disturbs both.

    client (kernel, reads) -- link.c -- a forwarding namespace -- TUN: ustack, or veth: the kernel
"""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tools.bench import build, machine, netns, roster, run, stats
from tools.bench.cases import Line, Result
from tools.bench.netns import CLIENT_ADDRESS, DEVICE, REPOSITORY, SUBJECT_ADDRESS, Bed, Link, Namespace
from tools.bench.run import Conditions, NotMeasured, Running

SECONDS = 5.0
WARM_UP = 1.5
RATE_MBIT, DELAY_MS, QUEUE = 100, 20, 400
"""The link: each way 20 ms (40 ms there and back); the queue holds 400 packets, 1.2 times what is in flight."""


@dataclass(frozen=True)
class Weather:
    """What the link does to packets on the way with the data."""

    name: str
    loss: float = 0.0
    reorder: float = 0.0


WEATHERS = (
    Weather("no loss"),
    Weather("0.1 % loss", loss=0.1),
    Weather("1 % loss", loss=1.0),
    Weather("3 % loss", loss=3.0),
    Weather("1 % late by 3 ms", reorder=1.0),
)
ALGORITHMS = ("cubic", "bbr")


@contextlib.contextmanager
def emulated(subject: roster.Subject, weather: Weather, seed: int) -> Iterator[Bed]:
    """Three or four namespaces in a row, and the program that is the link."""
    with contextlib.ExitStack() as stack:

        def fresh() -> Namespace:
            namespace = Namespace()
            stack.callback(namespace.close)
            return namespace

        client, middle = fresh(), fresh()
        middle.sysctl("net.ipv4.ip_forward", "1")
        far = middle
        if subject.kind == "kernel":
            far = fresh()
            middle.run("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
            middle.run("ip", "link", "set", "v1", "netns", str(far.pid))
            _up(middle, "v0", f"{CLIENT_ADDRESS}/16")
            _up(far, "v1", f"{SUBJECT_ADDRESS}/16")
            far.run("ip", "route", "add", "default", "via", CLIENT_ADDRESS)
        else:
            flags = ["vnet_hdr"] if subject.link is Link.TUN_OFFLOAD else []
            middle.run("ip", "tuntap", "add", "dev", DEVICE, "mode", "tun", *flags)
            _up(middle, DEVICE, f"{CLIENT_ADDRESS}/16")
        for namespace, device, address in ((middle, "l0", "10.8.0.1/24"), (client, "l1", "10.8.0.2/24")):
            namespace.run("ip", "tuntap", "add", "dev", device, "mode", "tun")
            _up(namespace, device, address)
        client.run("ip", "route", "add", "default", "via", "10.8.0.1")
        stack.enter_context(_wire(middle, client, weather, seed))
        yield Bed(subject.link, client, far, SUBJECT_ADDRESS, DEVICE)


def _up(namespace: Namespace, device: str, address: str) -> None:
    namespace.run("ip", "link", "set", device, "txqueuelen", str(netns.QUEUE_LENGTH), "up")
    namespace.run("ip", "address", "add", address, "dev", device)


@contextlib.contextmanager
def _wire(left: Namespace, right: Namespace, weather: Weather, seed: int) -> Iterator[None]:
    words = [
        str(build.link()), "l0", f"/proc/{right.pid}/ns/net", "l1", "--rate", str(RATE_MBIT), "--delay", str(DELAY_MS),
        "--loss", str(weather.loss), "--reorder", str(weather.reorder), "--limit", str(QUEUE), "--seed", str(seed),
    ]  # fmt: skip
    process = subprocess.Popen(left.command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        if not select.select([process.stdout], [], [], 10)[0] or "ready" not in process.stdout.readline():
            raise NotMeasured("the emulated link did not start")
        yield
    finally:
        process.terminate()
        process.communicate()


def goodput(rounds: int, conditions: Conditions, say: Callable[[str], None]) -> Result:
    """Every weather with every algorithm."""
    result = Result("P9", f"goodput over {RATE_MBIT} Mbit/s, {2 * DELAY_MS} ms there and back", "Mbit/s",
                    "the kernel with the same algorithm", "0.95 x the kernel's", "1.0 x", 0.95,
                    lower_is_better=False)  # fmt: skip
    for algorithm in ALGORITHMS:
        for weather in WEATHERS:
            line = Line("ustack", f"ustack, {algorithm}, {weather.name}", "ustack")
            result.lines.append(line)
            samples = []
            for turn in range(min(rounds, 2)):
                try:
                    samples.append(_once(algorithm, weather, turn + 1, conditions))
                except NotMeasured as reason:
                    line.reason = str(reason)
                    break
                say(f"  P9 {line.title}: {samples[-1].value:.1f} Mbit/s, kernel {samples[-1].baseline:.1f}")
            if samples and not line.reason:
                line.estimate = stats.estimate(samples)
                line.notes = {"kernel Mbit/s": line.estimate.baseline}
    return result


def _once(algorithm: str, weather: Weather, seed: int, conditions: Conditions) -> stats.Sample:
    with contextlib.ExitStack() as stack:
        lives = []
        for name in ("ustack", "kernel-veth"):
            subject = roster.ALL[name]
            reason = subject.missing("services")
            if reason:
                raise NotMeasured(reason)
            try:
                place = stack.enter_context(emulated(subject, weather, seed))
            except OSError as error:
                raise NotMeasured(f"no emulated link here: {error}") from None
            free = replace(conditions, placement="free")
            extra = ("--congestion", algorithm)
            lives.append(stack.enter_context(run.running(subject, place, free, "services", extra)))
        with machine.watched() as watch:
            ours, kernels = _both(lives, conditions)
    return stats.Sample(ours * 1000, kernels * 1000, watch.foreign)


def _both(lives: list[Running], conditions: Conditions) -> list[float]:
    """Gbit/s of both clients, which read at the same time."""
    clients = []
    for live in lives:
        words = run.client_words("out", live.bed.address, conditions)
        words[words.index("--seconds") + 1] = str(SECONDS)
        words[words.index("--warm-up") + 1] = str(WARM_UP)
        clients.append(
            subprocess.Popen(live.bed.client.command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             cwd=REPOSITORY)
        )  # fmt: skip
    figures = []
    for live, process in zip(lives, clients, strict=True):
        try:
            said, errors = process.communicate(timeout=SECONDS + WARM_UP + 30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise NotMeasured("the client did not end") from None
        if process.returncode:
            why = (errors.strip().splitlines() or ["no message"])[-1]
            raise NotMeasured(why if live.process.poll() is None else f"the subject died: {live.complaint()}")
        figures.append(float(json.loads(said)["gbit"]))
    return figures
