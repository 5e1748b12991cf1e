"""Every question of the lab: its figures hold, its answer rests on what was seen, and what it suggests to try works."""

from __future__ import annotations

import pytest

from tests.lab.reports import report_of
from ustack.lab.ladder import WIDTH, draw, text
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
def test_what_to_try_changes_the_outcome(asked: Question, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, _, value = change.partition("=")
    missing = _untranslated(monkeypatch)
    report = answer(asked, {name: value})
    assert not report.wrong()
    assert not missing
    assert text(report)[4:] != text(report_of(asked))[4:]


@EACH
def test_what_to_ask_next_exists(asked: Question) -> None:
    assert asked.next
    assert not [one for one in asked.next if one != asked.id and len(one) not in (2, 3)]


@EACH
def test_it_is_translated(asked: Question, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sentence that a run shows has its Chinese."""
    missing = _untranslated(monkeypatch)
    answer(asked)
    assert not missing


def _untranslated(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by each sentence that is shown from now on and has no Chinese."""
    sentences = Catalogue(FOLDER / "zh").sentences
    missing: list[str] = []

    def noted(text: str) -> str:
        if not sentences.get(text):
            missing.append(text)
        return text

    for module in ("world", "findings", "side"):
        monkeypatch.setattr(f"ustack.lab.{module}.translate", noted)
    return missing


def test_a_fold_of_the_ladder_keeps_what_was_not_written_down() -> None:
    lines = draw(report_of(ALL["C11"]))
    assert [line for line in lines if "119 clients, 1 requests each" in line]
    assert [line for line in lines if "120 clients, 3 requests each" in line]


def test_no_yes_or_no_is_written_in_python() -> None:
    shown = [figure.text(value) for one in ALL.values() for figure in report_of(one).figures
             for value in (figure.seen, figure.expected)]  # fmt: skip
    assert not {"True", "False", "None"} & set(shown)
    assert "yes" in shown


def test_calls_are_shown_by_the_names_of_the_manual() -> None:
    calls = [note.event.what() for one in ("C13", "E1", "F3") for note in report_of(ALL[one]).notes]
    assert "shutdown(SHUT_WR)" in calls
    assert "setsockopt(SOL_SOCKET, SO_RCVBUFFORCE, 1073741824)" in calls
    assert "setsockopt(IPPROTO_TCP, TCP_CONGESTION, 'reno')" in calls
