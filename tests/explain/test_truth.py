"""What explain says of resends, beside what the sender's own decision trace says: it may know less, never otherwise."""

from __future__ import annotations

import contextlib

import pytest

from tests.explain.captures import play, seen_at
from ustack.explain import resends
from ustack.explain.reading import read
from ustack.lab.report import Flight
from ustack.lab.world import Lab

SIZE = 200_000
COMPATIBLE = {
    resends.FAST: {"fast"},
    resends.TIMER: {"timer"},
    resends.EITHER: {"timer", "probe"},
    resends.AFTER_TIMER: {"timer", "fast"},
    resends.TAIL: {"probe"},
}
"""What explain may say, and what it may have been."""


def upload(lab: Lab) -> None:
    listener = lab.server.listen()
    client = lab.client.connect(lab.server)
    served, _ = listener.accept()
    client.setblocking(False)
    sent = 0
    for _ in range(100_000):
        with contextlib.suppress(BlockingIOError):
            sent += client.send(bytes(min(65536, SIZE - sent)))
        served.read_all()
        if sent == SIZE:
            break
        lab.pass_time(0.01)
    client.close()
    lab.run_until(lambda: "CLOSE_WAIT" in lab.server.states(), 300)
    served.read_all()
    served.close()
    lab.pass_time(5)


def truth(flight: Flight) -> str:
    """fast, timer or probe, of a flight that its sender's trace calls resent."""
    why = flight.why.lower()
    if "probe" in why:
        return "probe"
    return "timer" if "timer" in why or "rto" in why else "fast"


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("link", ["loss=2%,delay=20ms", "loss=8%,delay=5ms", "delay=30ms,rate=10Mbit,limit=20"])
def test_the_cause_of_each_resend(seed: int, link: str) -> None:
    changes = dict(word.split("=") for word in link.split(","))
    lab = play(upload, seed=str(seed), **changes)
    records = seen_at(lab, "client")
    flow = read(records).flows[0]
    flights = {flight.packet: flight for flight in lab.report.flights if flight.sender == "client"}
    packets = {record.number: record.packet for record in records}
    for cause in resends.judge(flow, 0):
        flight = flights[packets[cause.seen.number]]
        if cause.name in COMPATIBLE:
            assert truth(flight) in COMPATIBLE[cause.name], (cause, flight.why)
