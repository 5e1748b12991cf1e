"""B11: both ends open at once."""

from __future__ import annotations

from ustack.lab import Lab, question
from ustack.trace import Moved

PORT = 4000


@question(
    "B11",
    "What happens when both ends connect to each other at the same moment?",
    "Nobody listens. Two hosts, 10 ms apart, bind port 4000 and connect to port 4000 of each other at the same moment.",
    options={"gap": "0"},
    tries=("gap=0.005", "gap=0.05", "delay=100ms"),
    next=("B1", "B13", "C12"),
)
def both_open_at_once(lab: Lab) -> None:
    gap = float(lab.option("gap"))
    do_cross = gap < lab.link.round_trip / 2
    client = lab.client.start_connecting(lab.server, PORT, PORT)
    lab.pass_time(gap)
    server = lab.server.start_connecting(lab.client, PORT, PORT)
    lab.settle()
    steps = "SYN_SENT, SYN_RECEIVED, ESTABLISHED" if do_cross else "SYN_SENT, CLOSED"
    lab.figure("states of the client", lab.path(lab.client), steps)
    lab.figure("states of the server", lab.path(lab.server), steps)
    opening = len(lab.flights(has="SYN"))
    lab.figure("segments with SYN", opening, 4 if do_cross else 2, rule="RFC 9293 section 3.5, figure 7")
    if not do_cross:
        lab.say_if(
            lab.flights(has="RST"),
            "The first SYN came before the other end had begun to connect: nobody had the port, so a RST answers it. "
            "The second SYN meets the same fate.",
        )
        return
    lab.figure("sockets of client and server", f"{len(lab.client.states())}, {len(lab.server.states())}", "1, 1")
    lab.say(
        lab.flights(has="SYN", lacks="ACK")[:2],
        "Two SYNs are on their way at the same time, each from port 4000 to port 4000: the same four-tuple, seen from "
        "either end.",
    )
    lab.say(
        lab.events(Moved, before="SYN_SENT", after="SYN_RECEIVED"),
        "A SYN without an ACK comes where a SYN-ACK was expected: the end goes from SYN_SENT to SYN_RECEIVED and "
        "answers with a SYN-ACK, which carries its own SYN again.",
    )
    lab.say(
        lab.events(Moved, before="SYN_RECEIVED", after="ESTABLISHED"),
        "The ACK in it completes the handshake at both ends: four segments, one connection and not two, without any "
        "listening socket.",
    )
    client.sendall(b"from the client")
    server.sendall(b"from the server")
    lab.settle()
    texts = f"{client.read_all().decode()}, {server.read_all().decode()}"
    lab.figure("what both read", texts, "from the server, from the client")
    lab.say(
        lab.flights(text=True),
        "It is a connection like any other. It is rare, since both must know the other's port beforehand: programs "
        "that want to pass two NAT boxes do it on purpose (TCP hole punching).",
    )
