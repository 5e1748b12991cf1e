"""The heap of a SYN queue's deadlines, against a walk through the table."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ustack.tcp.agreed import Agreed
from ustack.tcp.emit import NO_SOCKET
from ustack.tcp.flow import Flow
from ustack.tcp.requests import Request, RequestTimes

STEPS = st.lists(
    st.tuples(st.sampled_from(["come", "go", "later", "due"]), st.integers(0, 9), st.integers(0, 5)), max_size=200
)


@given(STEPS)
def test_who_is_due_is_found_and_nobody_is_forgotten(steps: list[tuple[str, int, int]]) -> None:
    waiting: dict[bytes, Request] = {}
    times = RequestTimes(waiting)
    now = 1
    for step, number, wait in steps:
        key = bytes([number]).rjust(36)
        request = waiting.get(key)
        if step == "come" and request is None:
            request = waiting[key] = Request(Flow(key, NO_SOCKET), 0, 0, Agreed(), 0)
            request.deadline = now + wait
            times.watch(request)
        elif step == "go":
            waiting.pop(key, None)
        elif step == "later" and request is not None:
            request.deadline += wait
        elif step == "due":
            now += wait
            due = {request.key for request in waiting.values() if request.deadline <= now}
            found = []
            while (request := times.take_due(now)) is not None:
                found.append(request.key)
                request.deadline = now + 1 + number
                times.watch(request)
            assert sorted(found) == sorted(due)
        earliest = min((request.deadline for request in waiting.values()), default=0)
        assert 0 <= times.earliest() <= earliest
        assert (times.earliest() == 0) == (earliest == 0)
        assert len(times._heap) <= 2 * 10 + 65
