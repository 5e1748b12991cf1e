"""B6: connected without accept()?"""

from __future__ import annotations

from ustack.lab import Lab, question


@question(
    "B6",
    "Does a connection need accept() to be established?",
    "A server listens and does nothing else. A client connects and sends ten bytes; two seconds later the server calls "
    "accept().",
    kernel="server",
    options={"accept_after": "2"},
    tries=("accept_after=0.5", "accept_after=60", "delay=100ms"),
    next=("B7", "B1", "F2"),
)
def without_accept(lab: Lab) -> None:
    listener = lab.server.listen(80)
    client = lab.client.connect(lab.server, 80)
    connected = lab.now
    client.sendall(b"0123456789")
    lab.settle()
    rows = lab.show_listing(lab.server)
    states = f"{client.state}, {lab.server.states()[-1]}"
    both = lab.figure("states of client and server before accept()", states, "ESTABLISHED, ESTABLISHED")
    waiting = lab.figure("connections that wait for accept(), in Recv-Q of the listener", int(rows[0].split()[1]), 1)
    lab.say(
        both.holds,
        "Yes, it is established without accept(): the handshake is the system's own doing, and connect() returned "
        "after {time:.0f} ms.",
        time=connected * 1000,
    )
    lab.say(
        waiting,
        "The connection waits in the accept queue. The listing shows how many wait there (Recv-Q of the listener) and "
        "how many may (Send-Q).",
    )
    lab.say(
        [flight for flight in lab.flights(lab.server) if flight.text.startswith(". 1:1(0) ack 11")],
        "Even text is received and acknowledged meanwhile: the connection has its buffer already. The client cannot "
        "tell whether anybody has accepted.",
    )
    lab.pass_time(float(lab.option("accept_after")) - lab.now)
    before = len(lab.report.flights)
    served, address = listener.accept()
    lab.figure("segments that accept() sends", len(lab.report.flights) - before, 0)
    lab.figure("bytes that are there at once", len(served.read_all()), 10)
    lab.say(
        address[0] == lab.client.address,
        "accept() only takes the oldest connection out of the queue and gives it a descriptor: no segment leaves, and "
        "it waits only when the queue is empty.",
    )
