"""B7: the accept queue is full."""

from __future__ import annotations

from ustack.lab import Lab, LabSocket, question
from ustack.trace import Arrived


@question(
    "B7",
    "What happens when the accept queue is full?",
    "A server listens with a backlog of 2 and does not call accept(). Two clients connect; then two more at the same "
    "time, of which the queue holds one only. Two seconds later the server accepts one.",
    kernel="server",
    options={"backlog": "2"},
    tries=("backlog=4", "server.tcp_abort_on_overflow=1", "server.somaxconn=1"),
    next=("B6", "B8", "B5"),
)
def accept_queue_full(lab: Lab) -> None:
    most = min(int(lab.option("backlog")), lab.server.settings.somaxconn)
    listener = lab.server.listen(80, backlog=int(lab.option("backlog")))
    for _ in range(most):
        lab.client.connect(lab.server, 80)
    lab.settle()
    lab.client.start_connecting(lab.server, 80)
    last = lab.client.start_connecting(lab.server, 80)
    lab.pass_time(0.5)
    listening = lab.show_listing(lab.server)[0].split()
    shown = lab.figure("Recv-Q of the listener (ss -lnt): one more than may wait", int(listening[1]), most + 1)
    lab.figure("final ACKs that find the queue full (ListenOverflows)", lab.server.counters["ListenOverflows"], 1)
    dropped = lab.first(Arrived, lab.server, drop="ACCEPT_QUEUE_FULL")
    lab.say(
        shown.holds,
        "Recv-Q beyond Send-Q: the queue holds one connection more than listen() asked for, {most} + 1. The backlog is "
        "{backlog}, and somaxconn = {somaxconn} bounds it.",
        most=most,
        backlog=lab.option("backlog"),
        somaxconn=lab.server.settings.somaxconn,
    )
    if lab.server.settings.tcp_abort_on_overflow:
        aborted(lab, last)
    else:
        ignored(lab, listener, last)
    lab.say_if(
        dropped,
        "nstat counts it as ListenOverflows and ListenDrops: that, and Recv-Q beyond Send-Q, is how one finds a server "
        "that accepts too slowly.",
    )


def ignored(lab: Lab, listener: LabSocket, last: LabSocket) -> None:
    """The final ACK is dropped, as if the network had lost it."""
    states = f"{last.state}, {lab.server.states().count('SYN_RECEIVED')}"
    lab.figure("state of the last client, and half connections of the server", states, "ESTABLISHED, 1")
    lab.say(
        last.state == "ESTABLISHED",
        "The final ACK of the last client is dropped. The client knows nothing of it: it is ESTABLISHED, and connect() "
        "has returned; the server still is in SYN_RECEIVED.",
    )
    lab.pass_time(2)
    lab.say(
        lab.events(Arrived, lab.server, drop="ACCEPT_QUEUE_FULL")[1:],
        "The server's timer resends the SYN-ACK, and the client answers with another ACK, as to any SYN-ACK that it "
        "has seen before. While the queue is full, that is dropped as well.",
    )
    listener.accept()
    done = lab.run_until(lambda: "SYN_RECEIVED" not in lab.server.states(), 70)
    lab.figure("the last client gets in once accept() has made room", "yes" if done else "no", "yes")
    lab.say(
        done,
        "As soon as accept() has made room, the next ACK of the client completes the handshake, and nobody has lost "
        "more than time.",
    )


def aborted(lab: Lab, last: LabSocket) -> None:
    """With tcp_abort_on_overflow the final ACK is answered with a RST."""
    resets = lab.flights(lab.server, has="RST")
    lab.figure("RSTs of the server", len(resets), 1)
    last.settimeout(1)
    with lab.error() as found:
        last.recv(100)
    lab.figure("what the last client gets", found[0], "ECONNRESET")
    lab.say(
        resets,
        "With tcp_abort_on_overflow = 1 the final ACK is answered with a RST: the client, connected a moment ago, gets "
        "ECONNRESET, and cannot tell it from a server that crashed.",
    )
    lab.say(
        last.state == "CLOSED", "So the default is to drop it: the client tries again by itself, and often succeeds."
    )
