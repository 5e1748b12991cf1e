"""Lines fit into a terminal, where a Chinese character takes two columns."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from ustack.lab.language import FOLDER, MARKS, Catalogue, wrapped

ENGLISH = (
    "The server's timer resends the SYN-ACK after 1 s, then 2 s, 4 s and so on (tcp_synack_retries = {retries} times)."
)


@pytest.mark.parametrize("text", [ENGLISH, Catalogue(FOLDER / "zh").gettext(ENGLISH)], ids=["en", "zh"])
@pytest.mark.parametrize("width", range(24, 60, 3))
def test_lines_fit_and_nothing_is_lost(text: str, width: int) -> None:
    lines = wrapped(text, width, "• ", "  ")
    assert max(cell_len(line) for line in lines) <= width
    assert "".join("".join(lines).split()) == "•" + "".join(text.split())
    assert not [line for line in lines if line.strip()[0] in MARKS]
    assert lines[0].startswith("• ")
    assert all(line.startswith("  ") for line in lines[1:])


def test_a_word_that_is_too_long_has_a_line_of_its_own() -> None:
    assert wrapped("a " + "b" * 30 + " c", 10) == ["a", "b" * 30, "c"]


def test_nothing_makes_no_line() -> None:
    assert wrapped("", 10) == []
