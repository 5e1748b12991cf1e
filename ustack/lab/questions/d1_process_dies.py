"""D1: the server's process dies, its host lives."""

from __future__ import annotations

from ustack.lab import Lab, question
from ustack.trace import Moved


@question(
    "D1",
    "What happens to a connection when the server's process dies?",
    "A client is connected to a server. The server's process crashes or is killed, but its host lives on. The "
    "client's program sees the end of the stream, and closes too. With unread=1 the process dies before it has read "
    "what came.",
    kernel="both",
    options={"unread": "0", "close_after": "0.5"},
    tries=("unread=1", "close_after=70"),
    next=("D2", "C1", "C10"),
)
def process_dies(lab: Lab) -> None:
    listener = lab.server.listen(80)
    client = lab.client.connect(lab.server, 80)
    served, _ = listener.accept()
    client.sendall(b"hello\n")
    lab.settle()
    was_read = lab.option("unread") == "0"
    if was_read:
        served.recv(100)
    died = lab.now
    lab.server.exit()
    lab.settle()

    first = lab.flights(lab.server, has="FIN" if was_read else "RST")
    lab.figure("from the death of the process to the segment of its host", lab.instant(first) - died, 0, "s")
    try:
        got = f"{len(client.recv(100))} bytes"
    except ConnectionResetError:
        got = "ECONNRESET"
    lab.figure("what recv() gets at the client", got, "0 bytes" if was_read else "ECONNRESET")
    lab.pass_time(float(lab.option("close_after")))
    client.close()
    lab.settle()
    if was_read:
        closing = [flight for flight in lab.report.flights if flight.at >= first[0].at]
        lab.figure("segments of the close", len(closing), 4, rule="RFC 9293 section 3.6")

    _explain(lab, was_read)


def _explain(lab: Lab, was_read: bool) -> None:
    resets = lab.flights(lab.server, has="RST")
    lab.say(
        lab.flights(lab.server, has="FIN") or resets,
        "A process that is killed can say nothing, but TCP does not live in it: the host's system closes every "
        "descriptor that the process had, and speaks for it.",
    )
    lab.say_if(
        lab.first(Moved, lab.server, after="FIN_WAIT_1"),
        "So the server's TCP sends a FIN, as if the program had called close(). For the client this is an ordinary "
        "end of the stream: recv() returns 0 bytes, and nothing tells a crash from a farewell.",
    )
    lab.say_if(
        lab.first(Moved, lab.client, after="CLOSE_WAIT"),
        "The client is in CLOSE_WAIT until its own program calls close(); then its FIN follows.",
    )
    lab.say_if(
        lab.first(Moved, lab.server, after="TIME_WAIT"),
        "The last ACK completes the usual four steps. The server's side closed first, so TIME_WAIT is there: a server "
        "that is started again at once needs SO_REUSEADDR to bind its port.",
    )
    lab.say_if(
        resets if was_read else None,
        "But the client was late: nobody holds the server's socket any more, so its FIN_WAIT_2 lasted for "
        "tcp_fin_timeout only, and the client's FIN is answered with a RST.",
    )
    lab.say_if(
        None if was_read else resets,
        "Bytes that the client had sent were in the server's buffer, unread, and are lost with it: so the system "
        "sends a RST instead of a FIN (RFC 2525 section 2.17), and the client gets ECONNRESET.",
    )
    lab.say_if(
        None if was_read else resets,
        "A RST ends the connection for both at once: nothing answers it, and nobody waits in TIME_WAIT.",
    )
