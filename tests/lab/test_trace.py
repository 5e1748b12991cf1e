"""The decision trace: what a handshake, a loss and a close leave in it, and that it costs nothing when nobody looks."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.lab.reports import report_of
from tests.scenarios.two_hosts import TwoHosts
from ustack.lab.question import questions
from ustack.lab.world import answer
from ustack.trace import Arrived, Event, Marked, Moved, Queued, Sent, Stepped, TimerEvent, Watch

Traced = Callable[[TwoHosts], list[Event]]


@pytest.fixture
def traced() -> Traced:
    """Watches the server's and the client's stack; the events of both, in order."""

    def watch(hosts: TwoHosts) -> list[Event]:
        events: list[Event] = []
        for place in (hosts.near, hosts.far):
            place.stack.observer = Watch(place.stack, events.append)
        return events

    return watch


@pytest.fixture
def lab_reports() -> Callable[[str], list[tuple[str, str]]]:
    """The changes of state in the run of a question of the lab, each with its reason."""

    def moves(name: str) -> list[tuple[str, str]]:
        notes = report_of(questions()[name]).notes
        return [(note.event.what(), note.event.why) for note in notes if isinstance(note.event, Moved)]

    return moves


def test_handshake(traced: Traced) -> None:
    hosts = TwoHosts("delay=10ms")
    events = traced(hosts)
    listener = hosts.listen()
    client = hosts.connect()
    served = hosts.accept(listener)
    moves = [f"{one.before} {one.after}" for one in events if isinstance(one, Moved)]
    assert moves == ["CLOSED SYN_SENT", "LISTEN SYN_RECEIVED", "SYN_SENT ESTABLISHED", "SYN_RECEIVED ESTABLISHED"]
    queues = [f"{one.queue} {one.length}" for one in events if isinstance(one, Queued)]
    assert queues == ["SYN queue 1", "SYN queue 0", "accept queue 1", "accept queue 0"]
    assert all(one.why and one.source for one in events if isinstance(one, Sent | Moved))
    for one in (client, served, listener):
        one.close()


def test_a_loss_is_marked_and_resent_with_its_reason(traced: Traced) -> None:
    hosts = TwoHosts("delay=10ms")
    listener, lost = hosts.listen(), []

    def third_text(sender: str, segment: object) -> bool:
        if sender == "client" and getattr(segment, "payload_length", 0):
            lost.append(segment)
        return len(lost) == 3 and lost[-1] is segment

    hosts.spoil = third_text
    client = hosts.connect()
    served = hosts.accept(listener)
    events = traced(hosts)
    client.sendall(bytes(14480))
    hosts.pass_time(1)
    marked = [one for one in events if isinstance(one, Marked)]
    states = [one.action for one in marked if "->" in one.action]
    assert states == ["Open -> Recovery", "Recovery -> Open"]
    assert any(one.action == "lost" and "RFC 8985" in one.source for one in marked)
    resent = [one for one in events if isinstance(one, Sent) and one.rule == "resent"]
    assert [one.why for one in resent] == ["it counts as lost: fast retransmit"]
    for one in (client, served, listener):
        one.close()


def test_a_refused_segment_names_its_rule(traced: Traced) -> None:
    hosts = TwoHosts("delay=10ms")
    events = traced(hosts)
    with pytest.raises(ConnectionRefusedError):
        hosts.connect()
    arrived = [one for one in events if isinstance(one, Arrived)]
    assert (arrived[0].drop, arrived[0].source) == ("NO_SOCKET", "RFC 9293 section 3.10.7.1")
    assert [one.rule for one in events if isinstance(one, Sent)] == ["syn", "rst"]


def test_timers_say_how_long_and_why(traced: Traced) -> None:
    hosts = TwoHosts("delay=10ms", client=None)
    hosts.spoil = lambda sender, segment: sender == "client"
    events = traced(hosts)
    late = hosts.keep(hosts.client.socket())
    late.settimeout(5)
    with pytest.raises(TimeoutError):
        late.connect(("10.0.0.2", 80))
    timers = [one for one in events if isinstance(one, TimerEvent)]
    assert [f"{one.timer} {one.action}" for one in timers][:3] == [
        "retransmission timer set",
        "retransmission timer fired",
        "retransmission timer set",
    ]
    assert timers[0].due - timers[0].at == 1_000_000_000
    assert "1 s" in timers[0].why
    hosts.close()


def test_every_event_becomes_json(traced: Traced) -> None:
    hosts = TwoHosts("delay=10ms")
    events = traced(hosts)
    listener = hosts.listen()
    client = hosts.connect()
    kinds = {json.loads(json.dumps(one.as_dict()))["kind"] for one in events}
    assert {"sent", "arrived", "state", "timer", "queue", "variable"} <= kinds
    for one in (client, listener):
        one.close()


def test_a_time_that_changes_is_told_as_a_time() -> None:
    assert Stepped(0, "", "", "", "rto", 220_000_000, 440_000_000).what() == "rto 220 ms -> 440 ms"
    assert Stepped(0, "", "", "", "cwnd", 14480, 1448).what() == "cwnd 14480 -> 1448"


def test_a_reason_is_told_only_where_it_holds() -> None:
    """A1 has quick ACKs, a gap that is filled, probes that the RTO bounds, and reductions that end and are undone."""
    report = answer(questions()["A1"])
    events = [note.event for note in report.notes]
    cwnd = [one.why for one in events if isinstance(one, Stepped) and one.name == "cwnd"]
    assert "the reduction is complete: cwnd is ssthresh" in cwnd
    assert "the peer had it twice (D-SACK): the reduction is undone" in cwnd
    probes = [one for one in events if isinstance(one, TimerEvent) and "probe" in one.timer and one.due]
    assert {one.why.split(" ")[0] for one in probes if one.due - one.at > 250_000_000} == {"the"}, "the RTO, 301 ms"
    assert {one.why.split(":")[0] for one in probes if one.due - one.at < 250_000_000} == {"two round trips"}
    stopped = [one for one in events if isinstance(one, TimerEvent) and one.action == "stopped"]
    assert [one.why for one in stopped if one.timer == "reordering timer"] == ["all that was sent is acknowledged"]
    acks = {flight.why.split(":")[0] for flight in report.flights if flight.rule == "ack"}
    assert acks >= {
        "quick ACKs",
        "text is missing",
        "a gap is filled",
        "its text cannot be taken, or was here already",
    }


def test_a_reset_is_named_wherever_it_ends_something(lab_reports: Callable[[str], list[tuple[str, str]]]) -> None:
    """In TIME-WAIT, in LAST-ACK and in ESTABLISHED the RST is the reason, not a timer and not an ACK."""
    moves = {one: lab_reports(one) for one in ("C7", "C9", "C14")}
    assert ("LAST_ACK -> CLOSED", "the peer sent RST") in moves["C7"]
    assert ("ESTABLISHED -> CLOSED", "the peer sent RST") in moves["C9"]
    assert ("TIME_WAIT -> CLOSED", "the peer sent RST") in moves["C14"]
    assert ("TIME_WAIT -> SYN_RECEIVED", "a SYN that cannot be an old one begins a new connection") in moves["C14"]
    assert all(why for one in moves.values() for _, why in one)


def test_why_time_wait_is_skipped(lab_reports: Callable[[str], list[tuple[str, str]]]) -> None:
    (by_time,) = [why for what, why in lab_reports("C6") if "skipped" in why]
    by_number = {why for what, why in lab_reports("C8") if "skipped" in why}
    assert by_time.endswith("its time is 0")
    assert by_number == {"TIME-WAIT is skipped: as many as may wait do so already"}
