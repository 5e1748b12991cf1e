"""The machine under the figures: what it is, who else uses it, and which processors the two ends are put on."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Placement:
    """Which processors the client and the subject may use. Empty: wherever the scheduler likes."""

    name: str
    client: frozenset[int]
    subject: frozenset[int]


def placement(name: str) -> Placement:
    """`split` (a processor each, the default), `same` (both on one) or `free`. Raises ValueError for another name."""
    allowed = sorted(os.sched_getaffinity(0))
    if name == "free":
        return Placement(name, frozenset(), frozenset())
    if name == "same":
        return Placement(name, frozenset(allowed[:1]), frozenset(allowed[:1]))
    if name != "split":
        raise ValueError(f"placement is split, same or free, not {name!r}")
    other = next((cpu for cpu in allowed[1:] if cpu not in _siblings(allowed[0])), allowed[-1])
    return Placement(name, frozenset(allowed[:1]), frozenset({other}))


def _siblings(cpu: int) -> set[int]:
    """The processors that share a core with this one: not a second processor for our purpose."""
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    found: set[int] = set()
    with contextlib.suppress(OSError, ValueError):
        for part in path.read_text().strip().split(","):
            first, _, last = part.partition("-")
            found.update(range(int(first), int(last or first) + 1))
    return found


@dataclass
class Watch:
    """What others did while a figure was taken. `foreign` is their share of the processors in use."""

    seconds: float = 0.0
    foreign: float = 0.0


@contextlib.contextmanager
def watched(root: int | None = None) -> Iterator[Watch]:
    """Measures the processor time of processes that are not ours (not below `root`) and what the hypervisor stole."""
    root = os.getpid() if root is None else root
    watch = Watch()
    began = time.monotonic()
    before, stolen = foreign_seconds(root), stolen_seconds()
    try:
        yield watch
    finally:
        watch.seconds = time.monotonic() - began
        used = foreign_seconds(root) - before + stolen_seconds() - stolen
        processors = min(2, len(os.sched_getaffinity(0)))
        watch.foreign = min(1.0, max(0.0, used / (watch.seconds * processors))) if watch.seconds > 0 else 0.0


def foreign_seconds(root: int) -> float:
    """Processor seconds of all processes but the kernel's threads and those below `root` (reaped children included)."""
    parents: dict[int, int] = {}
    used: dict[int, int] = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
            parents[int(entry.name)] = int(fields[1])
            used[int(entry.name)] = sum(int(field) for field in fields[11:15])
    return sum(ticks for pid, ticks in used.items() if not _below(pid, {root, 2}, parents)) / TICKS


def _below(pid: int, roots: set[int], parents: dict[int, int]) -> bool:
    while pid > 0:
        if pid in roots:
            return True
        pid = parents.get(pid, 0)
    return False


def stolen_seconds() -> float:
    """Time the hypervisor gave to other machines, over all processors."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return int(fields[8]) / TICKS if len(fields) > 8 else 0.0


def processor_ns(pid: int) -> int:
    """Nanoseconds that a process has run, all its threads (schedstat: exact, where stat counts ticks)."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            total += int((task / "schedstat").read_text().split()[0])
    return total


def resident_bytes(pid: int) -> int:
    """Private and proportional memory of a process (Pss; where that is hidden, the resident set)."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)


def describe() -> dict[str, str]:
    """The facts that stand above the table."""
    model = "unknown"
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    facts = {
        "processor": f"{model}, {len(os.sched_getaffinity(0))} in use",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "load at the start": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }
    for name, command in (
        ("C compiler", ["cc", "--version"]),
        ("rustc", ["rustc", "--version"]),
        ("go", ["go", "version"]),
        ("wrk", ["wrk", "--version"]),
    ):
        facts[name] = first_line(command)
    return facts


def first_line(command: list[str]) -> str:
    """The first line that a program says of itself, or `not found`."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "not found"
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0].split(" Copyright")[0] if lines else "not found"
