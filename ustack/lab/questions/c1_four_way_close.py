"""C1: how a connection ends."""

from __future__ import annotations

from ustack.lab import Lab, LabSocket, question
from ustack.trace import Moved, TimerEvent


@question(
    "C1",
    "How does a connection end, and why does that take four segments?",
    "A client and a server are connected, 10 ms apart. The client sends a word and closes. The server's program reads "
    "the end of the stream, thinks for a while, and closes too. Then a second connection: there the server's program "
    "closes at once.",
    kernel="both",
    options={"think": "0.5", "wait": "yes"},
    live={"wait": "no"},
    tries=("think=0", "client.tcp_timewait_length=30", "delay=100ms"),
    next=("C3", "C5", "C6", "C12", "C13"),
)
def four_way_close(lab: Lab) -> None:
    listener = lab.server.listen(80)

    began = visit(lab, listener, float(lab.option("think")))
    segments = [flight for flight in lab.flights() if lab.instant(flight) >= began]
    is_four = len(segments) == 4
    lab.figure("segments of the first close", len(segments), 4 if float(lab.option("think")) else 3)
    between = "FIN_WAIT_2, " if is_four else ""
    lab.figure("states of the client", lab.path(lab.client, since=began), f"FIN_WAIT_1, {between}TIME_WAIT")
    lab.figure("states of the server", lab.path(lab.server, since=began), "CLOSE_WAIT, LAST_ACK, CLOSED")
    lab.say(
        lab.flights(lab.client, has="FIN")[:1],
        "close() sends a FIN: the client will send no more, and waits for its acknowledgement in FIN_WAIT_1.",
    )
    lab.say(
        lab.events(Moved, lab.server, after="CLOSE_WAIT"),
        "The server's TCP acknowledges the FIN and is in CLOSE_WAIT; the program reads the end of the stream. Only "
        "this direction is closed: the other one stays open until the server's program closes as well.",
    )
    lab.say_if(
        is_four and segments[2],
        "That is why there are four segments: the ACK of the first FIN cannot wait until a program decides to close. "
        "The server's FIN comes later, from LAST_ACK, and is acknowledged on its own.",
    )

    second = visit(lab, listener, 0.0)
    segments = [flight for flight in lab.flights() if lab.instant(flight) >= second]
    lab.figure("segments of the second close", len(segments), 3)
    lab.say(
        segments[1],
        "When the server's program closes at once, its FIN carries the ACK of the client's FIN: three segments, and "
        "the client goes from FIN_WAIT_1 straight to TIME_WAIT.",
    )

    if lab.option("wait") == "yes":
        the_wait(lab)


def visit(lab: Lab, listener: LabSocket, think: float) -> float:
    """A client comes and closes; the server's program closes ``think`` seconds later. When the closing began."""
    client = lab.client.connect(lab.server, 80)
    served, _ = listener.accept()
    client.sendall(b"bye")
    lab.settle()
    assert served.recv(100) == b"bye"
    began = lab.now
    client.close()
    assert served.recv(100) == b""
    lab.pass_time(think)
    served.close()
    lab.settle()
    lab.settle()
    return began


def the_wait(lab: Lab) -> None:
    """The client's TIME_WAIT ends."""
    lab.pass_time(lab.client.settings.tcp_timewait_length)
    waits = lab.events(Moved, lab.client, before="TIME_WAIT", after="CLOSED")
    ports = lab.events(TimerEvent, lab.client, timer="TIME-WAIT timer", action="set")
    lasted = lab.instant(waits[0]) - lab.instant(ports[0]) if waits else 0.0
    lab.figure("TIME_WAIT lasts", lasted, lab.client.settings.tcp_timewait_length, "s", rule="2 MSL")
    lab.say(
        waits,
        "The client, which closed first, stays in TIME_WAIT for {length} s; the server is done as soon as the last "
        "ACK has come.",
        length=lab.client.settings.tcp_timewait_length,
    )
