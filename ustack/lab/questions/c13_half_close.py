"""C13: one direction ends, the other goes on."""

from __future__ import annotations

import socket

from ustack.lab import Lab, question
from ustack.trace import Moved

REQUEST = b"sort these lines\n"


@question(
    "C13",
    "Can one direction of a connection end while the other goes on?",
    "A client sends a request and calls shutdown(SHUT_WR): it has said all. The server reads to the end of the stream, "
    "works for three seconds, and only then sends 1,000 bytes of answer.",
    kernel="both",
    options={"size": "1000", "end": "shutdown"},
    tries=("end=close", "size=5000", "delay=100ms"),
    next=("C1", "C3", "C10"),
)
def half_close(lab: Lab) -> None:
    size, has_closed = int(lab.option("size")), lab.option("end") == "close"
    listener = lab.server.listen(80)
    client = lab.client.connect(lab.server, 80)
    served, _ = listener.accept()
    client.sendall(REQUEST)
    lab.settle()
    if has_closed:
        client.close()
    else:
        client.shutdown(socket.SHUT_WR)
    assert served.recv(100) == REQUEST
    assert served.recv(100) == b""
    lab.say(
        lab.flights(lab.client, has="FIN"),
        "{call} sends a FIN after the last byte. The server's program reads the whole request and then the end of the "
        "stream: it knows that no more will come.",
        call="close()" if has_closed else "shutdown(SHUT_WR)",
    )
    lab.pass_time(3)
    lab.figure("states of client and server", f"{lab.client.states()[0]}, {served.state}", "FIN_WAIT_2, CLOSE_WAIT")
    lab.say(
        not has_closed and lab.events(Moved, lab.client, after="FIN_WAIT_2"),
        "One direction is closed, the other is not: the client is in FIN_WAIT_2, the server in CLOSE_WAIT, and both "
        "may stay there as long as the server has something to say.",
    )
    served.sendall(b"x" * size)
    lab.settle()
    if has_closed:
        lab.figure("RSTs of the client", int(bool(lab.flights(lab.client, has="RST"))), 1)
        lab.say_if(
            lab.events(Moved, lab.client, after="FIN_WAIT_2"),
            "The states are those of a half close, FIN_WAIT_2 and CLOSE_WAIT, but nobody holds the client's socket: it "
            "waits for the server's FIN for at most tcp_fin_timeout = {timeout} s.",
            timeout=lab.client.settings.tcp_fin_timeout,
        )
        lab.say_if(
            lab.flights(lab.client, has="RST"),
            "close() is more than a half close: nobody could read the answer any more, so its first bytes get a RST.",
        )
        return
    with lab.error() as found:
        client.send(b"one thing more")
    lab.figure("a send() of the client", found[0], "EPIPE")
    answer = client.recv(65536)
    while len(answer) < size:
        answer += client.recv(65536)
    served.close()
    lab.settle()
    lab.figure("bytes of the answer after the client's FIN", len(answer), size)
    lab.say(
        lab.flights(lab.server, text=True),
        "Text flows to the client after its own FIN, and the client acknowledges it as usual. Only its sending has "
        "ended: send() gets EPIPE.",
    )
    lab.say(
        lab.events(Moved, lab.client, after="TIME_WAIT"),
        "The server's FIN ends the other direction; the client, which closed first, is in TIME_WAIT.",
    )
