"""``ustack lab cc``: which congestion control is better here, and which one takes the bandwidth of which?"""

from __future__ import annotations

import argparse
import csv
import importlib
import itertools
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table

from ustack.cli.complaint import Complaint, about_file
from ustack.cli.text import rate_text
from ustack.cli.values import shown, whole
from ustack.device.impairment import parse_impairment
from ustack.plot.draw import check_target
from ustack.sweep import grid, picture
from ustack.sweep.race import Case, FlowResult, Result, control_of
from ustack.units import SECOND

NAME = "cc"
MOST_RUNS = 20_000
_WIDTH = 110
_MOST_LINES = 4
"""Flows of a run that have a line of their own."""
_DEFAULTS: dict[str, Any] = {
    "control": "reno,cubic,bbr", "loss": "0", "rate": "10Mbit", "delay": "20ms", "buffer": "50", "flows": "2",
    "seconds": "20", "seeds": "1", "jobs": -1, "table": None, "on": "",
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``cc``; each is a list, and every combination is run."""
    group = parser.add_argument_group(
        "ustack lab cc", "compares congestion control over a bottleneck in virtual time; a list: every combination"
    )
    for name, text in (
        ("control", "algorithms, and classes of your own: reno,cubic,bbr,my.py:Mine"),
        ("rate", "of the bottleneck: 10Mbit,100Mbit"),
        ("delay", "one way: 20ms,100ms"),
        ("loss", "of packets, apart from the queue: 0,1%%"),
        ("buffer", "packets that may wait: 50,500"),
        ("flows", "that share the bottleneck: 1 (each alone only), 2,8"),
        ("seconds", "of virtual time"),
        ("seeds", "so many runs of each, with other random numbers"),
    ):
        group.add_argument(f"--{name}", metavar="LIST" if name not in ("seconds", "seeds") else "N",
                           help=f"{text} ({_DEFAULTS[name]})")  # fmt: skip
    group.add_argument("--jobs", type=whole(1, 1024, "number of processes"), metavar="N", help="processes (all cores)")
    group.add_argument("--table", metavar="FILE", help="every flow of every run, as .csv or .parquet")
    group.add_argument("--on", metavar="dask://HOST:PORT", help="run on a Dask cluster")


def check_unused(options: argparse.Namespace) -> None:
    """Raises Complaint when an option of ``cc`` was given to something else."""
    for name in _DEFAULTS:
        if getattr(options, name, None) is not None:
            raise Complaint(f"--{name} is an option of ustack lab cc.", 2)


def run(options: argparse.Namespace) -> int:
    """Runs all, prints the table, writes what was asked for."""
    chosen: dict[str, Any] = {name: getattr(options, name) or default for name, default in _DEFAULTS.items()}
    _check_files(chosen["table"], options.plot)
    cases = _cases(chosen, options.plot)
    console = Console(highlight=False, soft_wrap=True)
    console.width = max(console.width, _WIDTH)
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    results = grid.run_all(cases, chosen["jobs"], chosen["on"], lambda text: errors.print(text, markup=False))
    _print(console, results)
    if chosen["table"]:
        write_table(results, chosen["table"])
        console.print(f"{chosen['table']}: {sum(len(result.flows) for result in results)} rows", markup=False)
    if options.plot:
        picture.write(results, options.plot)
        console.print(options.plot, markup=False)
    return 0


def _check_files(table: str | None, plot: str | None) -> None:
    if plot:
        check_target(plot)
    if not table:
        return
    if Path(table).suffix not in (".csv", ".parquet"):
        raise Complaint(f"{shown(table)}: a table is a file that ends in .csv or .parquet.", 2)
    if Path(table).suffix == ".parquet":
        _parquet()


def _parquet() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise Complaint("Parquet needs pyarrow: pip install pyarrow brings it; .csv needs nothing.", 2) from None


def _cases(chosen: dict[str, Any], plot: str | None) -> list[Case]:
    """Every combination. Raises Complaint."""
    controls = _words(chosen["control"], "control")
    sources = tuple((name, _source(name)) for name in controls if ":" in name)
    try:
        for name in controls:
            control_of(name, sources)
        rates = [parse_impairment(f"rate={word}").rate for word in _words(chosen["rate"], "rate")]
        delays = [parse_impairment(f"delay={word}").delay for word in _words(chosen["delay"], "delay")]
        losses = [parse_impairment(f"loss={word}").loss for word in _words(chosen["loss"], "loss")]
    except ValueError as error:
        raise Complaint(f"{error}.", 2) from None
    if min(rates) <= 0:
        raise Complaint("--rate must be more than 0.", 2)
    buffers = _numbers(chosen["buffer"], "buffer", (1, 10**6))
    flows = _numbers(chosen["flows"], "flows", (1, 64))
    (seconds,) = _numbers(chosen["seconds"], "seconds", (1, 86400))[:1]
    (seeds,) = _numbers(chosen["seeds"], "seeds", (1, 10_000))[:1]
    places = list(itertools.product(rates, delays, losses, buffers))
    lines = grid.line_up(controls, flows)
    count = len(places) * len(lines) * seeds
    if count > MOST_RUNS:
        raise Complaint(f"that would be {count} runs: at most {MOST_RUNS}.", 2)
    keeps = bool(plot) and len(places) == 1 and seeds == 1
    return [
        Case(line, rate, delay, loss, buffer, seconds * SECOND, seed, sources, keeps)
        for rate, delay, loss, buffer in places
        for line in lines
        for seed in range(seeds)
    ]


def _source(name: str) -> str:
    path = name.rpartition(":")[0]
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise about_file(path, error) from None
    except ValueError:
        raise Complaint(f"{shown(path)} is no text in UTF-8.", 2) from None


def _words(text: str, name: str) -> list[str]:
    words = list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if not words:
        raise Complaint(f"--{name} is empty.", 2)
    return words


def _numbers(text: str, name: str, between: tuple[int, int]) -> list[int]:
    try:
        return [whole(*between, f"value of --{name}")(word) for word in _words(text, name)]
    except argparse.ArgumentTypeError as error:
        raise Complaint(f"{error}.", 2) from None


def write_table(results: Sequence[Result], path: str) -> None:
    """CSV or Parquet. Raises Complaint."""
    names, rows = grid.columns(), grid.rows(results)
    try:
        if path.endswith(".parquet"):
            arrow, parquet = _parquet()
            parquet.write_table(arrow.table({name: [row[at] for row in rows] for at, name in enumerate(names)}), path)
            return
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(names)
            writer.writerows(rows)
    except OSError as error:
        raise about_file(path, error) from None


def _print(console: Console, results: Sequence[Result]) -> None:
    """One table for each set of conditions: a line for each flow, and what they share on the first."""

    def place(result: Result) -> str:
        return picture.conditions(result.case)

    for heading, found in itertools.groupby(results, key=place):
        console.print(f"\n{heading}", style="bold", markup=False)
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("", no_wrap=True)
        for name in ("goodput", "resent", "mean RTT", "most RTT", "of the rate", "queue", "dropped", "fairness"):
            table.add_column(name, justify="right", no_wrap=True)
        for result in found:
            for row in _rows(result):
                table.add_row(*row)
        console.print(table)


def _rows(result: Result) -> list[list[str]]:
    """Of one run. Many flows of one algorithm are one line: their means."""
    alone = result.case.is_alone()
    shared = [
        f"{result.used * 100:.0f}%",
        f"{result.queue_mean:.1f}",
        str(result.dropped),
        "" if alone else f"{result.jain:.2f}",
    ]
    rows = []
    flows = result.flows
    groups = [[flow] for flow in flows] if len(flows) <= _MOST_LINES else _by_control(flows)
    for index, group in enumerate(groups):
        name = group[0].control.rpartition(":")[2]
        many = f" (mean of {len(group)})" if len(group) > 1 else ""
        sign = "" if alone else "┌ " if index == 0 else "└ " if index == len(groups) - 1 else "│ "
        rows.append([
            f"{sign}{name}{many}",
            rate_text(round(fmean(flow.goodput for flow in group)), 8 * SECOND),
            f"{fmean(flow.resent for flow in group):.0f}",
            f"{fmean(flow.rtt_mean for flow in group) / 1e6:.0f} ms",
            f"{max(flow.rtt_max for flow in group) / 1e6:.0f} ms",
            *(shared if index == 0 else [""] * len(shared)),
        ])  # fmt: skip
    return rows


def _by_control(flows: Sequence[FlowResult]) -> list[list[FlowResult]]:
    names = list(dict.fromkeys(flow.control for flow in flows))
    return [[flow for flow in flows if flow.control == name] for name in names]
