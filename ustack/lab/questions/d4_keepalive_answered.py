"""D4: keepalive, and the other end is well."""

from __future__ import annotations

import socket

from ustack.lab import Flight, Lab, question


@question(
    "D4",
    "What does keepalive do when the other end is well?",
    "A client has set SO_KEEPALIVE. Both ends are well, and silent. An hour after the first probe the server sends a "
    "line; then nobody says anything again.",
    kernel="both",
    live={"client.tcp_keepalive_time": "2", "client.tcp_keepalive_intvl": "1", "speaks_after": "0.5"},
    options={"speaks_after": "3600"},
    tries=("client.tcp_keepalive_time=1800", "speaks_after=7000"),
    next=("D3", "D5", "D8"),
)
def keepalive_is_answered(lab: Lab) -> None:
    listener = lab.server.listen(80)
    client = lab.client.connect(lab.server, 80)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    served, _ = listener.accept()
    idle = lab.client.settings.tcp_keepalive_time
    lab.pass_time(idle + 1)
    first = _probes(lab)
    lab.pass_time(float(lab.option("speaks_after")))
    served.sendall(b"are you there?\n")
    lab.settle()
    spoke = lab.instant(lab.flights(lab.server, text=True))
    came = lab.flights(lab.server, text=True)[0].arrivals[0] / 1e9
    client.recv(100)
    lab.pass_time(idle + 1)

    last = _probes(lab)[-1]
    answers = [flight for flight in lab.flights(lab.server) if first and flight.at >= first[0].arrivals[0]]
    handshake = lab.flights(lab.server, has="SYN ACK")[0]
    lab.figure("from the last sign of life to the first probe", lab.instant(first) - handshake.arrivals[0] / 1e9, idle,
               "s", rule="tcp_keepalive_time")  # fmt: skip
    lab.figure("from the server's line to the next probe", lab.instant(last) - came, idle, "s")
    lab.figure("probes that carry text", len([one for one in _probes(lab) if "(0)" not in one.text]), 0)
    lab.figure("state after all that", client.state, "ESTABLISHED")

    lab.say(
        first,
        "After {idle:,} s of silence the client sends a probe: no text, and as its sequence number the one before the "
        "next (SND.NXT - 1), which the server has acknowledged long ago.",
        idle=idle,
    )
    lab.say(
        answers,
        "For the server this is an old segment outside its window, and the rule for such is to answer with an ACK "
        "(RFC 9293 section 3.10.7.4): it needs no support for keepalive, and its program notices nothing.",
    )
    lab.say(
        answers,
        "The answer proves that host, TCP and path are alive, and so it starts the clock anew. It says nothing about "
        "the program: one that hangs is answered for just the same.",
    )
    lab.say(
        came > spoke,
        "Text does that as well: the server's line puts the next probe off until {idle:,} s after it came. On a "
        "connection that is used no probe is ever sent.",
        idle=idle,
    )


def _probes(lab: Lab) -> list[Flight]:
    return [flight for flight in lab.flights(lab.client) if flight.text.startswith(". 0:0(0)")]
