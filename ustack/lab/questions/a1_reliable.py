"""A1: reliable over an unreliable network."""

from __future__ import annotations

from ustack.lab import Lab, LabSocket, question
from ustack.trace import Arrived, TimerEvent

PIECE = bytes(number % 251 for number in range(4344))
"""Three segments' text."""


@question(
    "A1",
    "How can TCP be reliable over a network that is not?",
    "A client sends three segments, four times. Of the first three one is lost; then one is overtaken by another; "
    "then one arrives twice; of the last three, one bit of the last is turned over on the way.",
    link="delay=50ms,rate=10mbit",
    kernel="both",
    live={"delay": "100ms"},
    tries=("loss=10%", "corrupt=10%", "tcp_sack=0"),
    next=("A5", "A6", "E1"),
)
def reliable(lab: Lab) -> None:
    listener = lab.server.listen(80)
    client = lab.client.connect(lab.server, 80)
    served, _ = listener.accept()
    send_over_a_bad_network(lab, client)
    received = bytearray()
    while data := served.recv(65536):
        received += data
    served.close()
    lab.settle()

    same = sum(one == other for one, other in zip(received, PIECE * 4, strict=False))
    exact = lab.figure("bytes that the server read as the client wrote them, in order", same, len(PIECE) * 4)
    spoilt = [flight for flight in lab.flights(lab.client) if flight.fate == "corrupted" and flight.arrivals]
    lab.figure(
        "segments that the server dropped for their checksum (nstat: TcpInCsumErrors)",
        lab.server.counters["TcpInCsumErrors"],
        sum(flight.drop in ("TCP_CHECKSUM", "") for flight in spoilt),
        rule="RFC 9293 MUST-3",
    )
    explain(lab)
    lab.say(
        spoilt,
        "A segment with a wrong checksum is dropped silently: no answer, only the counter moves. Nobody can tell whose "
        "it was, since the wrong bit may be in the port; to the client it is lost.",
    )
    timers = ("tail loss probe timer", "retransmission timer")
    fired = [one for one in lab.events(TimerEvent, lab.client, action="fired") if one.timer in timers]
    lab.say(
        [one for one in fired if spoilt and one.at > spoilt[-1].at],
        "Nothing came behind the last segment that could show the gap, so a timer of the client has to: first the tail "
        "loss probe, which sends the last segment again; the last resort is the retransmission timer, RTO.",
    )
    lab.say(exact.holds, "So the application reads exactly the bytes that were written, each once and in order.")


def send_over_a_bad_network(lab: Lab, client: LabSocket) -> None:
    """One trouble at a time."""
    lab.link.lose(lab.client, text=True, nth=1)
    client.sendall(PIECE)
    lab.pass_time(0.5)
    lab.link.hold(lab.client, by=0.002, text=True, nth=2)
    client.sendall(PIECE)
    lab.pass_time(0.5)
    lab.link.repeat(lab.client, by=0.35, text=True, nth=2)
    client.sendall(PIECE)
    lab.pass_time(0.5)
    lab.link.corrupt(lab.client, text=True, nth=3)
    client.sendall(PIECE)
    lab.pass_time(2)
    client.close()


def explain(lab: Lab) -> None:
    """What each trouble looks like."""
    again = [flight for flight in lab.flights(lab.client, text=True) if flight.rule == "resent"]
    lab.say(
        [flight for flight in again if "fast retransmit" in flight.why],
        "A lost segment shows itself by what comes behind it: the server's ACK repeats the number of the gap instead "
        "of moving on, and the client sends what is missing again, without waiting for RTO.",
    )
    lab.say_if(
        [flight for flight in again if "retransmission timer" in flight.why],
        "Where too few segments came behind the lost one, or that was lost once more, the client has to wait for RTO.",
    )
    lab.say(
        lab.first(Arrived, lab.server, why="it is kept out of order: what lies before it is missing"),
        "What comes too early is kept by its sequence number, and the application gets nothing of it before the gap "
        "is filled: order is made at the receiver.",
    )
    lab.say(
        [event for event in lab.events(Arrived, lab.server) if event.drop in ("OLD_DATA", "OLD_SEQUENCE")],
        "What comes twice is recognised by the same number: the copy is dropped, and an ACK says that it was there "
        "already.",
    )
