"""What a question's function may ask of the lab, and how the ladder shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from ustack.lab import Lab, question
from ustack.lab.ladder import text
from ustack.lab.question import REGISTRY
from ustack.lab.world import answer
from ustack.trace import Moved, TimerEvent

Ask = Callable[[Callable[[Lab], None]], list[str]]


@pytest.fixture
def ask() -> Iterator[Ask]:
    """Runs a function as a question of its own and returns what is drawn."""

    def run(function: Callable[[Lab], None]) -> list[str]:
        return text(answer(question("X1", "What?", "Two hosts.", next=("X1",))(function)))

    yield run
    REGISTRY.pop("X1", None)


def line_with(lines: list[str], words: str) -> str:
    (found,) = [line for line in lines if words in line]
    return found


def test_time_wait_has_a_timer_and_its_end_is_drawn(ask: Ask) -> None:
    def close_both(lab: Lab) -> None:
        listener = lab.server.listen()
        client = lab.client.connect(lab.server)
        served, _ = listener.accept()
        client.close()
        lab.settle()
        served.close()
        lab.pass_time(70)
        timers = lab.events(TimerEvent, lab.client, timer="TIME-WAIT timer")
        assert [one.what() for one in timers] == ["TIME-WAIT timer set in 60 s", "TIME-WAIT timer fired"]
        assert timers[1].at - timers[0].at == 60_000_000_000
        assert lab.first(Moved, lab.client, before="TIME_WAIT", after="CLOSED") is not None

    lines = ask(close_both)
    assert "2 MSL have passed" in line_with(lines, "TIME-WAIT timer fired")
    assert line_with(lines, "TIME_WAIT -> CLOSED")
    assert not [line for line in lines if "CLOSE_WAIT -> LAST_ACK" in line]  # the FIN's arrow says that


def test_a_copy_that_comes_late_has_an_arrow_of_its_own(ask: Ask) -> None:
    def repeat(lab: Lab) -> None:
        lab.link.repeat(lab.client, by=5, nth=1, text=True)
        listener = lab.server.listen()
        client = lab.client.connect(lab.server)
        served, _ = listener.accept()
        client.sendall(b"once")
        lab.pass_time(6)
        assert served.read_all() == b"once"
        assert len(lab.flights(lab.client, text=True)) == 1
        (copy,) = lab.flights(lab.client, text=True, late=True)
        assert copy.drop == "OLD_DATA"

    assert line_with(ask(repeat), "(late, dropped: OLD_DATA)").lstrip().startswith("5.0")


def test_what_is_not_written_down_is_one_line(ask: Ask) -> None:
    def many(lab: Lab) -> None:
        listener = lab.server.listen()
        with lab.unseen("{count} clients come and stay", count=20):
            for _ in range(20):
                lab.client.connect(lab.server)
                listener.accept()
        before = len(lab.report.notes)
        lab.settle()
        assert len(lab.report.notes) == before  # nothing of it is told afterwards
        lab.client.connect(lab.server)
        assert lab.server.states().count("ESTABLISHED") == 20

    lines = ask(many)
    assert "60 segments" in line_with(lines, "20 clients come and stay")
    assert len([line for line in lines if "SYN_SENT ──" in line]) == 1


def test_what_crosses_on_the_way_changes_the_state_when_it_comes(ask: Ask) -> None:
    def close_both_at_once(lab: Lab) -> None:
        listener = lab.server.listen()
        client = lab.client.connect(lab.server)
        served, _ = listener.accept()
        client.close()
        served.close()
        lab.settle()

    lines = ask(close_both_at_once)
    assert line_with(lines, "FIN_WAIT_1 ── F.").rstrip().endswith("▶ │")
    assert "our FIN is acknowledged" in line_with(lines, "CLOSING -> TIME_WAIT")


def test_time_wait_that_is_skipped_says_so(ask: Ask) -> None:
    def close_without(lab: Lab) -> None:
        listener = lab.server.listen()
        lab.client.sysctl(tcp_timewait_length=0)
        client = lab.client.connect(lab.server)
        served, _ = listener.accept()
        client.close()
        lab.settle()
        served.close()
        lab.settle()
        assert lab.path(lab.client) == "SYN_SENT, ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, TIME_WAIT, CLOSED"

    lines = ask(close_without)
    assert line_with(lines, "sysctl -w tcp_timewait_length=0")
    assert "TIME-WAIT is skipped" in line_with(lines, "TIME_WAIT -> CLOSED")


def test_a_forged_segment_is_no_segment_of_its_sender(ask: Ask) -> None:
    def forge(lab: Lab) -> None:
        lab.link.keep(lab.client, text=True)
        listener = lab.server.listen()
        client = lab.client.connect(lab.server)
        served, _ = listener.accept()
        kept = lab.link.keep(lab.client, text=True)
        client.sendall(b"x")
        lab.settle()
        (real,) = lab.flights(lab.client, text=True)
        assert kept.packets == [real.packet]
        lab.link.forge(real, text=b"y", seq=real.frame.seq + 1)
        lab.settle()
        assert served.read_all() == b"xy"
        assert lab.flights(lab.client, text=True) == [real]
        with pytest.raises(TypeError):
            lab.link.forge(real, colour="red")

    assert line_with(ask(forge), "(forged)")
