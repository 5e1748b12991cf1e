"""F2: the eight steps of a TCP server and client."""

from __future__ import annotations

from ustack.lab import Lab, question
from ustack.trace import Called, Moved, Queued

REQUEST, ANSWER = b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\nhello\n"


@question(
    "F2",
    "Which calls does it take to serve and to be served, and what does each of them do?",
    "A server and a client with the eight calls of every textbook: socket, bind, listen and accept; socket, connect, "
    "send, recv and close. With accept_after=1 the server is busy for a second before it calls accept().",
    kernel="both",
    options={"backlog": "5", "accept_after": "0"},
    tries=("accept_after=1", "backlog=1", "delay=100ms"),
    next=("B1", "B6", "C1"),
    shows=("socket", "bind"),
)
def eight_steps(lab: Lab) -> None:
    listener = lab.server.socket()
    listener.bind(("", 80))
    unbound = lab.server.states()
    listener.listen(int(lab.option("backlog")))
    listening = lab.server.states()

    client = lab.client.socket()
    client.connect((lab.server.address, 80))
    lab.settle()
    before = lab.server.states()
    lab.pass_time(float(lab.option("accept_after")))
    served, peer = listener.accept()
    client.sendall(REQUEST)
    asked = served.recv(1000)
    served.sendall(ANSWER)
    answer = client.recv(1000)
    lab.settle()
    served.close()
    lab.settle()
    end = client.recv(1000)
    client.close()
    lab.settle()
    listener.close()

    lab.figure("sockets of TCP at the server before listen(), and after", f"{len(unbound)}, {len(listening)}", "0, 1")
    lab.figure("state after listen()", listening[0], "LISTEN")
    lab.figure("states at the server before accept()", ", ".join(before), "LISTEN, ESTABLISHED", rule="two sockets")
    lab.figure("the peer that accept() names", f"{peer[0]}", lab.client.address)
    lab.figure("bytes of the request, bytes of the answer", f"{len(asked)}, {len(answer)}",
               f"{len(REQUEST)}, {len(ANSWER)}")  # fmt: skip
    lab.figure("what recv() returns at the end", len(end), 0, "bytes")
    _explain(lab)


def _explain(lab: Lab) -> None:
    lab.say(
        lab.first(Called, lab.server, name="socket()"),
        "socket() only makes a descriptor, bind() gives it the address and port, and listen() makes a listener of it: "
        "state LISTEN, with two queues, one for half-open and one for complete connections. No segment leaves.",
    )
    lab.say(
        lab.first(Moved, lab.client, after="SYN_SENT"),
        "connect() chooses a port, sends the SYN, and returns when the SYN-ACK has come: the client is ESTABLISHED.",
    )
    lab.say(
        lab.first(Queued, lab.server, queue="accept queue"),
        "The server's system answers by itself: the connection waits in the SYN queue, and from the third ACK on in "
        "the accept queue. accept() sends nothing; it takes the first from the queue and returns a second socket.",
    )
    lab.say(
        lab.first(Moved, lab.server, after="ESTABLISHED"),
        "So there are two sockets: the listener, which has no peer and stays in LISTEN, and the connected one with the "
        "four-tuple. Both have the server's port 80.",
    )
    lab.say(
        lab.flights(lab.client, text=True),
        "send() copies into the send buffer and returns; recv() waits for text and takes what is there. Segments leave "
        "when windows let them, not call by call.",
    )
    lab.say(
        lab.flights(has="FIN"),
        "close() sends a FIN behind all that was written; for the other end recv() returns 0 bytes. When both have "
        "closed, the side that closed first waits in TIME_WAIT; the listener was never part of it.",
    )
