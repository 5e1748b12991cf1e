"""The questions that Linux can be asked, too: what goes over the wire is the same, and the figures hold."""

from __future__ import annotations

import socket

import pytest

from tests.lab.reports import report_of
from ustack.device.namespace import Namespace
from ustack.lab.kernel import kernel_state
from ustack.lab.live import compare, disagreements, kernel_answer, side_by_side
from ustack.lab.question import Question, questions

SIDES = {"both": ("client", "server"), "client": ("client",), "server": ("server",), "": ()}
ROWS = [(one, side) for one in questions().values() for side in SIDES[one.kernel]]


@pytest.mark.kernel
@pytest.mark.tun
@pytest.mark.parametrize(("asked", "side"), ROWS, ids=[f"{one.id}-{side}" for one, side in ROWS])
def test_linux_does_the_same(asked: Question, side: str) -> None:
    ours, theirs = report_of(asked, asked.live), kernel_answer(asked, asked.live, side)
    assert not disagreements(ours, theirs), "\n".join(side_by_side(ours, theirs, side))


@pytest.mark.parametrize(("asked", "side"), ROWS, ids=[f"{one.id}-{side}" for one, side in ROWS])
def test_what_is_set_for_linux_holds_in_virtual_time(asked: Question, side: str) -> None:
    assert not report_of(asked, asked.live).wrong()


def test_a_missing_segment_is_marked() -> None:
    asked = questions()["B5"]
    ours, theirs = report_of(asked), report_of(asked, {"silence": "0.5"})
    found = disagreements(ours, theirs)
    assert found
    assert all(one.startswith("only ustack: ") for one in found)
    marked = [line for line in side_by_side(ours, theirs, "server") if line.startswith("≠")]
    assert len(marked) == len(found) == sum(not pair.agrees for pair in compare(ours, theirs))


@pytest.mark.kernel
def test_a_state_of_linux_is_looked_up() -> None:
    with Namespace(), socket.socket() as listener, socket.socket() as client:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        here, there = f"127.0.0.1:{port}", "127.0.0.1:4000"
        assert kernel_state(here, there) == "LISTEN"
        assert kernel_state(there, here) == "CLOSED"
        client.bind(("127.0.0.1", 4000))
        client.connect(listener.getsockname())
        served, _ = listener.accept()
        assert (kernel_state(here, there), kernel_state(there, here)) == ("ESTABLISHED", "ESTABLISHED")
        client.close()
        assert kernel_state(here, there) == "CLOSE_WAIT"
        served.close()
        assert (kernel_state(here, there), kernel_state(there, here)) == ("LISTEN", "TIME_WAIT")
