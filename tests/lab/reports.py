"""What came of a question, run once for all tests of a session (of one process of it) that look at the same run."""

from __future__ import annotations

from collections.abc import Mapping

from ustack.lab import language
from ustack.lab.question import Question
from ustack.lab.report import Report
from ustack.lab.world import answer

_REPORTS: dict[tuple[str, tuple[tuple[str, str], ...], str], Report] = {}


def report_of(asked: Question, changes: Mapping[str, str] | None = None) -> Report:
    """The report of a question that comes with ustack, with ``changes``, in the language in use: to be read only."""
    key = asked.id, tuple(sorted((changes or {}).items())), language.chosen()
    if key not in _REPORTS:
        _REPORTS[key] = answer(asked, changes)
    return _REPORTS[key]
