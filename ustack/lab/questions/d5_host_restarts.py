"""D5: the server's host dies and restarts."""

from __future__ import annotations

import socket

from ustack.lab import Lab, question
from ustack.trace import Arrived


@question(
    "D5",
    "The host at the other end dies and starts again: what becomes of the connection?",
    "A client is connected to a server. The server's host loses its power, is up again after a minute, and the server "
    "program is started too. The client has noticed nothing, and sends a line. With by=probe it says nothing, but has "
    "set SO_KEEPALIVE.",
    kernel="client",
    live={"down": "0.2"},
    options={"by": "data", "down": "60"},
    tries=("by=probe", "down=5"),
    next=("D3", "D7", "B10"),
)
def host_restarts(lab: Lab) -> None:
    listener = lab.server.listen(80)
    client = lab.client.connect(lab.server, 80)
    listener.accept()
    lab.settle()
    probing = lab.option("by") == "probe"
    if probing:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    lab.kill(lab.server)
    lab.pass_time(float(lab.option("down")))
    lab.restart(lab.server)
    lab.server.listen(80)
    lab.figure("state of the client while the server starts", client.state, "ESTABLISHED")
    if not probing:
        client.sendall(b"are you still there?\n")
    with lab.error() as found:
        client.recv(100)

    asked = lab.flights(lab.client)[-1]
    reset = lab.flights(lab.server, has="RST")
    lab.figure("what recv() gets", found[0], "ECONNRESET")
    lab.figure("from the client's segment to ECONNRESET", lab.now - lab.instant(asked), 0.02, "s", within=0.001)
    lab.figure("sequence number of the RST, counted from the server's ISN", reset[0].text.split(":")[0], "R 1",
               rule="RFC 9293 section 3.10.7.2: the ACK field of the segment")  # fmt: skip

    lab.say(
        asked,
        "A connection exists in the memory of its two ends only. The server's memory of it is gone, the client's is "
        "not, and neither knows: such a connection is called half-open (RFC 9293 section 3.5.1).",
    )
    lab.say(
        lab.first(Arrived, lab.server, drop="LISTEN_ACK"),
        "The next segment uncovers it. The server listens on that port, but this is no SYN, and it knows of no "
        "connection: an ACK that belongs to nothing is answered with a RST.",
    )
    lab.say(
        reset,
        "The RST takes its sequence number from the segment's ACK field, so it is exactly what the client expects "
        "next: only such a RST ends a connection at once (RFC 5961 section 3.2).",
    )
    lab.say(
        lab.outcome("ECONNRESET"),
        "The client's socket is closed at once, and the application gets ECONNRESET. Whatever the server had not yet "
        "done with the bytes sent before is unknown: only the application can say what to repeat.",
    )
    lab.say_if(
        asked if probing else None,
        "Here it was the keepalive probe that found out, tcp_keepalive_time = {idle:,} s after the last segment: a "
        "host that has restarted is found by the first probe, one that is dead only by the last.",
        idle=lab.client.settings.tcp_keepalive_time,
    )
