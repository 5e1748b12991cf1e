"""`make profile CASE=P2`: where the subject's time goes, by layer and by function, and a flame graph.

perf samples the subject's processor time with whole stacks (DWARF, as CPython is built without frame pointers); the
time it was not on a processor is told apart as waiting. Where perf may not run, or the floors are interpreted and
perf would only see the interpreter, the subject samples its own Python frames instead.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tools.bench import build, flame, layers, machine, netns, roster, run
from tools.bench.run import HTTP, Conditions, NotMeasured, Running

FREQUENCY = 499
"""Samples a second: no divisor of the timers' 1000 or 250."""

CASES = {
    "P1": ("ustack", "services", "out"),
    "P2": ("ustack", "services", "in"),
    "P3in": ("ustack-plain", "services", "in"),
    "P3out": ("ustack-plain", "services", "out"),
    "P4": ("ustack", "http", "wrk"),
    "P5": ("ustack", "services", "connects"),
    "P6": ("ustack", "services", "rr"),
    "P11in": ("ustack", "many", "in64"),
    "P11out": ("ustack", "many", "out64"),
}


def client(mode: str, address: str, conditions: Conditions) -> list[str]:
    """The command of the other end, for longer than the sampling."""
    if mode == "wrk":
        return ["wrk", "-t1", "-c100", f"-d{round(conditions.seconds)}s", f"http://{address}:{HTTP}/"]
    flows = ("--flows", "64") if mode.endswith("64") else ()
    return run.client_words(mode.removesuffix("64"), address, conditions, *flows)


def switches(pid: int) -> int:
    """Times that the process gave up its processor to wait, all threads."""
    count = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                count += int(line.split()[1])
    return count


def by_perf(live: Running, seconds: float) -> list[list[layers.Frame]]:
    """Stacks of the processor time of the next seconds. Raises NotMeasured where perf cannot."""
    perf = shutil.which("perf")
    if perf is None:
        raise NotMeasured("perf is not installed (Debian: linux-perf)")
    with tempfile.TemporaryDirectory() as folder:
        data = f"{folder}/perf.data"
        record = [perf, "record", "-q", "-e", "cpu-clock", "-F", str(FREQUENCY), "--call-graph", "dwarf,16384",
                  "-p", str(live.pid), "-o", data, "--", "sleep", str(seconds)]  # fmt: skip
        done = subprocess.run(record, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotMeasured(f"perf: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
        script = [perf, "script", "-i", data, "-F", "comm,tid,ip,sym,dso"]
        text = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    stacks = layers.parse(text)
    if not stacks:
        raise NotMeasured("perf saw nothing")
    return stacks


def profile(case: str, seconds: float, form: str) -> str:
    """Runs the case with sampling; returns the table and writes the picture beside it."""
    name, role, mode = CASES[case]
    subject = roster.ALL[name if form == "compiled" else name.replace("ustack", "ustack-pure")]
    conditions = Conditions(seconds + 5.0)  # the client lives on while perf writes what it has
    inner = form == "pure" or shutil.which("perf") is None
    folded = build.OUTPUT / f"profile-{case}.folded"
    extra = ("--sample", str(folded)) if inner else ()
    with run.serving(subject, conditions, role, extra=extra) as live:
        cpus = machine.placement(conditions.placement).client
        other = subprocess.Popen(
            live.bed.client.command(*client(mode, live.bed.address, conditions), cpus=cpus), stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        time.sleep(1.0)
        used, waits, began = machine.processor_ns(live.pid), switches(live.pid), time.monotonic()
        if inner:
            time.sleep(seconds)
            stacks = []
        else:
            stacks = by_perf(live, seconds)
        wall = time.monotonic() - began if inner else seconds
        busy = (machine.processor_ns(live.pid) - used) / 1e9 / (time.monotonic() - began)
        waits = round((switches(live.pid) - waits) / (time.monotonic() - began))
        said, _ = other.communicate()
    if inner:
        return _of_frames(case, folded, busy, wall)
    return _of_stacks(case, subject.title, stacks, busy, waits, said)


def _of_stacks(case: str, title: str, stacks: list[list[layers.Frame]], busy: float, waits: int, said: str) -> str:
    total = len(stacks)
    by_layer = Counter(layers.layer(stack) for stack in stacks)
    own: Counter[tuple[str, str]] = Counter()
    inclusive: Counter[str] = Counter()
    folded: Counter[tuple[str, ...]] = Counter()
    for stack in stacks:
        at = layers.layer(stack)
        own[(at, stack[0].label())] += 1
        inclusive.update({frame.label() for frame in stack if frame.layer() in (layers.FLOORS, layers.CORE)})
        boxes = [f"{frame.layer()}|{frame.label()}" for frame in reversed(stack)]
        boxes[-1] = f"{at}|{stack[0].label()}"
        folded[tuple(boxes)] += 1
    lines = [f"{case}: {title}", f"  client: {said.strip()[:200]}", "",
             f"  the process was on a processor {busy:.0%} of the time and waited {max(0.0, 1 - busy):.0%};"
             f" it gave it up {waits} times a second",
             f"  {total} samples of processor time:", ""]  # fmt: skip
    lines += [f"  {count / total:6.1%}  {name}" for name, count in by_layer.most_common()]
    lines += ["", "  by function, alone:"]
    lines += [f"  {count / total:6.1%}  {name:58.58}  {at}" for (at, name), count in own.most_common(22)]
    lines += ["", "  ustack's own functions, with what they call:"]
    lines += [f"  {count / total:6.1%}  {name}" for name, count in inclusive.most_common(24)]
    weights = {stack: float(count) for stack, count in folded.items()}
    picture = build.OUTPUT / f"profile-{case}.svg"
    picture.write_text(flame.render(weights, f"{case}: {title}, processor time by stack", layers.COLOURS))
    return "\n".join([*lines, "", f"  picture: {picture}"])


def _of_frames(case: str, path: Path, busy: float, wall: float) -> str:
    """From the stacks of Python frames that the subject collected itself (a line each, `a;b;c count`)."""
    folded: Counter[tuple[str, ...]] = Counter()
    for line in path.read_text().splitlines():
        named, _, times = line.rpartition(" ")
        folded[tuple(named.split(";"))] += int(times)
    total = sum(folded.values()) or 1
    own = Counter[str]()
    for stack, count in folded.items():
        own[stack[-1]] += count
    lines = [f"{case}: Python frames as the subject saw them, {wall:.0f} s, on a processor {busy:.0%} of it", ""]
    lines += [f"  {count / total:6.1%}  {name}" for name, count in own.most_common(30)]
    picture = build.OUTPUT / f"profile-{case}.svg"
    picture.write_text(flame.render({key: float(count) for key, count in folded.items()}, f"{case}: Python frames", {}))
    return "\n".join([*lines, "", f"  picture: {picture}"])


def main() -> int:
    """CASE, SECONDS and FORM (compiled, pure) come from the environment or the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.profile", description=__doc__)
    parser.add_argument("--case", default=os.environ.get("CASE") or "P2", choices=list(CASES))
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("SECONDS") or 3))
    parser.add_argument("--form", default=os.environ.get("FORM") or "compiled", choices=["compiled", "pure"])
    options = parser.parse_args()
    netns.enter_user_namespace("tools.bench.profile")
    build.client()
    for reason in build.forms():
        print(reason)
    try:
        text = profile(options.case, options.seconds, options.form)
    except NotMeasured as reason:
        print(f"no profile: {reason}")
        return 1
    print(text)
    (build.OUTPUT / f"profile-{options.case}.txt").write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
