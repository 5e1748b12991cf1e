"""Congestion control compared: what a run measures, which runs a command line asks for, and what is written."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ustack.cli.command import main
from ustack.cli.complaint import Complaint
from ustack.congestion import CongestionControl
from ustack.sweep import command, grid, picture
from ustack.sweep.race import Case, Result, control_of, load, run
from ustack.units import MILLISECOND, SECOND

MINE = '''\
from ustack.congestion import CongestionControl


class Mine(CongestionControl):
    """Never more than twenty segments."""

    name = "mine"

    def on_ack(self, sample):
        self.cwnd = 20 * self.mss
'''


def case(*controls: str, **changes: Any) -> Case:
    fields: dict[str, Any] = {
        "rate": 10_000_000, "delay": 20 * MILLISECOND, "loss": 0.0, "buffer": 50, "duration": 3 * SECOND, **changes,
    }  # fmt: skip
    return Case(controls, **fields)


@pytest.fixture(scope="module")
def results() -> list[Result]:
    return [run(case("reno", keeps=True)), run(case("bbr", keeps=True)), run(case("reno", "bbr", keeps=True))]


def test_one_flow_fills_the_bottleneck(results: list[Result]) -> None:
    for result in results[:2]:
        assert 0.85 < result.used < 1448 / 1500
        assert result.jain == 1.0
        assert result.flows[0].goodput == pytest.approx(result.used * 10_000_000)


def test_reno_fills_the_queue_and_bbr_does_not(results: list[Result]) -> None:
    reno, bbr, _ = results
    assert reno.queue_mean > 1.5 * bbr.queue_mean
    assert reno.flows[0].rtt_mean > bbr.flows[0].rtt_mean >= 40 * MILLISECOND
    assert reno.flows[0].rtt_max <= (40 + 51 * 1.2 + 5) * MILLISECOND  # the path, and a full queue
    assert max(value for _, value in reno.queue) <= 51


def test_a_full_queue_drops_and_drops_are_resent(results: list[Result]) -> None:
    reno = results[0]
    assert reno.dropped > 0
    assert reno.flows[0].resent >= reno.dropped


def test_two_share_one_bottleneck(results: list[Result]) -> None:
    shared = results[2]
    assert [flow.control for flow in shared.flows] == ["reno", "bbr"]
    goodputs = [flow.goodput for flow in shared.flows]
    assert sum(goodputs) == pytest.approx(shared.used * 10_000_000)
    assert shared.jain == pytest.approx(sum(goodputs) ** 2 / (2 * sum(one * one for one in goodputs)))


def test_the_same_case_is_the_same_run() -> None:
    assert next(grid.rows([run(case("cubic", loss=0.01, duration=SECOND))]) for _ in range(2)) == grid.rows(
        [run(case("cubic", loss=0.01, duration=SECOND))]
    )
    other = grid.rows([run(case("cubic", loss=0.01, duration=SECOND, seed=1))])
    assert other != grid.rows([run(case("cubic", loss=0.01, duration=SECOND))])


def test_a_class_of_ones_own_decides() -> None:
    mine = run(case("my.py:Mine", sources=(("my.py:Mine", MINE),), buffer=1000, keeps=True))
    assert mine.flows[0].resent == 0
    assert mine.flows[0].goodput == pytest.approx(20 * 1448 * 8 / 0.0412, rel=0.1)  # twenty segments a round trip
    story = mine.flows[0].story
    assert story is not None
    assert max(value for _, value in story.cwnd.points) == 20 * 1448


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = (", "cannot be loaded: SyntaxError"),
        ("import nosuch_module", "cannot be loaded: ModuleNotFoundError"),
        ("Mine = 3", "has no class Mine"),
        ("class Mine: pass", "has no class Mine that is a ustack.congestion.CongestionControl"),
    ],
)
def test_a_class_that_is_none(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        load("my.py:Mine", text)


def test_names() -> None:
    assert issubclass(control_of("reno", ()), CongestionControl)
    with pytest.raises(ValueError, match=r"FILE\.py:CLASS"):
        control_of("nosuch", ())


def test_every_one_alone_and_every_pair() -> None:
    assert grid.line_up(["a", "b"], [2]) == [("a",), ("b",), ("a", "a"), ("a", "b"), ("b", "b")]
    assert grid.line_up(["a", "b"], [1]) == [("a",), ("b",)]
    assert grid.line_up(["a", "b"], [4])[3] == ("a", "b", "a", "b")


def test_the_table_on_the_terminal_and_as_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x.csv"
    words = "lab cc --control reno,bbr --seconds 1 --buffer 20,40 --jobs 1 --table"
    assert main([*words.split(), str(out)]) == 0
    said = capsys.readouterr().out
    assert "10 Mbit/s, 20 ms each way, 20 packets of buffer" in said
    assert "fairness" in said
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * (1 + 1 + 2 + 2 + 2)
    assert list(rows[0]) == grid.columns()
    assert {(row["control"], row["against"]) for row in rows} == {
        ("reno", ""), ("bbr", ""), ("reno", "reno"), ("reno", "bbr"), ("bbr", "reno"), ("bbr", "bbr"),
    }  # fmt: skip


def test_pictures_over_time_and_over_conditions(tmp_path: Path, results: list[Result]) -> None:
    picture.write(results, str(tmp_path / "time.svg"))
    text = (tmp_path / "time.svg").read_text()
    for words in ("Queue of the bottleneck", "Against each other", "reno + bbr", "fairness 0."):
        assert words in text
    more = [run(case("reno", duration=SECOND, buffer=buffer)) for buffer in (10, 40)]
    picture.write(more, str(tmp_path / "grid.svg"))
    text = (tmp_path / "grid.svg").read_text()
    assert "share of the rate (%)" in text
    assert "10 pkts" in text


def test_all_cores_give_what_one_gives() -> None:
    cases = [case(name, duration=SECOND, sources=(("my.py:Mine", MINE),)) for name in ("reno", "my.py:Mine")]
    assert grid.rows(grid.run_all(cases, 2, "", print)) == grid.rows(grid.run_all(cases, 1, "", print))


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Modules that cannot be imported."""
    missing: set[str] = set()
    real = importlib.import_module

    def find(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] in missing:
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", find)
    return missing


def test_without_joblib_one_core_does_it(without: set[str]) -> None:
    without.add("joblib")
    said: list[str] = []
    found = grid.run_all([case("reno", duration=SECOND), case("bbr", duration=SECOND)], -1, "", said.append)
    assert [result.case.controls for result in found] == [("reno",), ("bbr",)]
    assert "pip install 'ustack[sweep]'" in said[0]


@pytest.mark.parametrize(
    ("words", "missing", "sentence"),
    [
        ("--on dask://127.0.0.1:8786", "dask", "--on needs Dask"),
        ("--table x.parquet", "pyarrow", "Parquet needs pyarrow"),
        ("--plot x.svg", "matplotlib", "pictures need matplotlib"),
    ],
)
def test_what_is_missing_is_said_first(
    without: set[str], words: str, missing: str, sentence: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    without.add(missing)
    monkeypatch.setattr(grid, "run", lambda case: pytest.fail("this would have been run"))
    status: object = None
    try:
        status = main(["lab", "cc", *words.split()])
    except SystemExit as end:
        status = end.code
    assert status == 2
    assert sentence in capsys.readouterr().err


def test_a_cluster_gets_the_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    class Client:
        def __init__(self, address: str, timeout: int) -> None:
            seen.append(address)

        def __enter__(self) -> Client:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def map(self, function: Any, cases: Sequence[Case], pure: bool) -> list[Any]:
            return [function(one) for one in cases]

        def gather(self, found: list[Any]) -> list[Any]:
            return found

    fake = types.ModuleType("dask.distributed")
    fake.Client = Client  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dask", types.ModuleType("dask"))
    monkeypatch.setitem(sys.modules, "dask.distributed", fake)
    (result,) = grid.run_all([case("reno", duration=SECOND)], -1, "dask://head:8786", print)
    assert seen == ["tcp://head:8786"]
    assert result.used > 0.5


def test_parquet(tmp_path: Path, results: list[Result]) -> None:
    """Where pyarrow is, a table; else a sentence that says what is missing."""
    path = str(tmp_path / "x.parquet")
    if importlib.util.find_spec("pyarrow") is None:
        with pytest.raises(Complaint, match="pyarrow"):
            command.write_table(results, path)
        return
    parquet = importlib.import_module("pyarrow.parquet")
    command.write_table(results, path)
    table = parquet.read_table(path)
    assert table.column_names == grid.columns()
    assert table.num_rows == 4
