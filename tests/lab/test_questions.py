"""Every question of the lab: its figures hold, its answer rests on what was seen, and what it suggests to try works."""

from __future__ import annotations

import pytest

from tests.lab.reports import report_of
from ustack.lab.ladder import WIDTH, text
from ustack.lab.language import FOLDER, Catalogue
from ustack.lab.question import Question, questions
from ustack.lab.world import answer

ALL = questions()
EACH = pytest.mark.parametrize(
    "asked", [pytest.param(one, id=one.id, marks=pytest.mark.scenario(one.id)) for one in ALL.values()]
)
TRIES = [(one, change) for one in ALL.values() for change in one.tries]


@EACH
def test_figures_hold(asked: Question) -> None:
    report = report_of(asked)
    assert report.figures
    assert not report.wrong()
    assert 3 <= len(report.sentences) <= 6


@EACH
def test_runs_are_the_same(asked: Question) -> None:
    assert text(answer(asked)) == text(report_of(asked))


@EACH
def test_every_line_fits(asked: Question) -> None:
    assert not [line for line in text(report_of(asked)) if len(line) > WIDTH and " " in line[WIDTH:]]


@pytest.mark.parametrize(("asked", "change"), TRIES, ids=[f"{one.id}-{change}" for one, change in TRIES])
def test_what_to_try_changes_the_outcome(asked: Question, change: str) -> None:
    name, _, value = change.partition("=")
    report = answer(asked, {name: value})
    assert not report.wrong()
    assert text(report)[4:] != text(report_of(asked))[4:]


@EACH
def test_what_to_ask_next_exists(asked: Question) -> None:
    assert asked.next
    assert not [one for one in asked.next if one != asked.id and len(one) not in (2, 3)]


@EACH
def test_it_is_translated(asked: Question, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sentence that a run shows has its Chinese."""
    sentences = Catalogue(FOLDER / "zh").sentences
    missing: list[str] = []
    for module in ("world", "findings", "side"):
        monkeypatch.setattr(f"ustack.lab.{module}.translate", lambda text: missing.append(text) or text)
    answer(asked)
    assert not [one for one in missing if not sentences.get(one)]
