"""Many runs: which ones a command line asks for, and all cores, or a Dask cluster, to do them."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from ustack.cli.complaint import Complaint
from ustack.sweep.race import Case, Result, run

Runner = Callable[[Sequence[Case]], list[Result]]


def line_up(controls: Sequence[str], flows: Sequence[int]) -> list[tuple[str, ...]]:
    """The flows of each run: every algorithm alone, and every pair of them, equal ones too, with so many flows."""
    found: list[tuple[str, ...]] = [(name,) for name in controls]
    for count in flows:
        if count > 1:
            for one, other in itertools.combinations_with_replacement(controls, 2):
                found.append(tuple((one, other)[index % 2] for index in range(count)))
    return list(dict.fromkeys(found))


def run_all(cases: Sequence[Case], jobs: int, cluster: str, say: Callable[[str], object]) -> list[Result]:
    """The results in the order of the cases. Raises Complaint."""
    try:
        if cluster:
            return _on_dask(cases, cluster)
        if jobs == 1 or len(cases) == 1:
            return [run(case) for case in cases]
        try:
            joblib: Any = importlib.import_module("joblib")
        except ImportError:
            say("one core only: joblib is missing (pip install 'ustack[sweep]' brings it).")
            return [run(case) for case in cases]
        return list(joblib.Parallel(n_jobs=jobs)(joblib.delayed(run)(case) for case in cases))
    except ValueError as error:
        raise Complaint(f"{error}.", 2) from None


def _on_dask(cases: Sequence[Case], cluster: str) -> list[Result]:
    try:
        distributed: Any = importlib.import_module("dask.distributed")
    except ImportError:
        raise Complaint("--on needs Dask: pip install 'dask[distributed]' brings it.", 2) from None
    address = cluster.replace("dask://", "tcp://", 1)
    try:
        with distributed.Client(address, timeout=10) as client:
            return list(client.gather(client.map(run, cases, pure=False)))
    except (OSError, TimeoutError) as error:
        raise Complaint(f"no Dask scheduler answers at {cluster}: {error}.", 1) from None


def columns() -> list[str]:
    """Of the table: one row for each flow of each run."""
    return [
        "run", "flow", "control", "against", "flows", "rate_bit_s", "delay_ms", "loss", "buffer_packets", "seconds",
        "seed", "goodput_bit_s", "resent_segments", "rtt_mean_ms", "rtt_max_ms", "jain", "used", "dropped_packets",
        "queue_mean_packets",
    ]  # fmt: skip


def rows(results: Sequence[Result]) -> list[list[object]]:
    """The values of the columns."""
    found: list[list[object]] = []
    for number, result in enumerate(results, 1):
        case = result.case
        for index, flow in enumerate(result.flows, 1):
            others = case.controls[: index - 1] + case.controls[index:]
            found.append([
                number, index, flow.control, " ".join(others), len(case.controls), case.rate, case.delay / 1e6,
                case.loss,
                case.buffer, case.duration / 1e9, case.seed, round(flow.goodput), flow.resent,
                round(flow.rtt_mean / 1e6, 3), round(flow.rtt_max / 1e6, 3), round(result.jain, 4),
                round(result.used, 4), result.dropped, round(result.queue_mean, 2),
            ])  # fmt: skip
    return found
