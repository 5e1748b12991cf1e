"""B10: nobody listens on the port."""

from __future__ import annotations

from ustack.lab import Lab, question
from ustack.trace import Moved


@question(
    "B10",
    "What happens when nobody listens on the port?",
    "A server listens on port 80. A client, 10 ms away, connects to port 81 of the same host.",
    kernel="server",
    options={"port": "81"},
    tries=("port=80", "delay=100ms"),
    next=("B3", "A6", "D5"),
)
def nobody_listens(lab: Lab) -> None:
    port = int(lab.option("port"))
    lab.server.listen(80)
    began = lab.now
    with lab.error() as found:
        lab.client.connect(lab.server, port)
    took = lab.now - began
    lab.figure("what connect() gets", found[0], "no error" if port == 80 else "ECONNREFUSED")
    lab.figure("connect() takes one round trip", took, lab.link.round_trip, "s", within=0.001)
    resets = lab.flights(lab.server, has="RST ACK")
    lab.figure("RSTs of the server", len(resets), 0 if port == 80 else 1, rule="RFC 9293 section 3.10.7.1")
    lab.figure("SYNs of the client", len(lab.flights(lab.client, has="SYN")), 1)
    lab.say(
        resets,
        "No socket has this port, so the SYN gets a RST. The TCP of the host sends it at once, no program is asked.",
    )
    lab.say(
        resets,
        "The RST acknowledges the SYN (ack 1): this shows the client that it answers its own SYN. In SYN_SENT a RST "
        "without the right ACK counts for nothing, so nobody can refuse the connection without having seen the SYN.",
    )
    lab.say(
        lab.first(Moved, lab.client, before="SYN_SENT", after="CLOSED"),
        "connect() fails with ECONNREFUSED after one round trip, and the SYN is not resent: an answer is an answer. "
        "Silence is another thing, from a dead host or a firewall that drops: then the SYN is resent until ETIMEDOUT.",
    )
    lab.say_if(
        lab.first(Moved, lab.client, after="ESTABLISHED"),
        "Somebody listens on port {port}: the handshake takes its three steps.",
        port=port,
    )
