"""B5: the third ACK of the handshake is lost."""

from __future__ import annotations

from ustack.lab import Lab, question
from ustack.trace import Arrived, Moved

REQUEST = b"GET / HTTP/1.0\r\n\r\n"


@question(
    "B5",
    "What happens when the third ACK of the handshake is lost?",
    "A client connects over a link of 10 ms each way. The network loses the client's second segment, which is the "
    "third of the handshake, and the next ACK without text as well. The client says nothing for a while; then it sends "
    "its first bytes.",
    kernel="server",
    options={"silence": "2.5", "lost": "2"},
    tries=("lost=1", "silence=0.5", "server.tcp_synack_retries=0"),
    next=("B4", "B6", "B7"),
)
def third_ack_lost(lab: Lab) -> None:
    lab.link.lose(lab.client, lacks="SYN", text=False, nth=1, count=int(lab.option("lost")))
    listener = lab.server.listen(80)
    client = lab.client.connect(lab.server, 80)
    lab.settle()
    states = f"{client.state}, {lab.server.states()[-1]}"
    lab.figure("states of client and server after the loss", states, "ESTABLISHED, SYN_RECEIVED")
    lab.say(
        lab.first(Moved, lab.client, after="ESTABLISHED"),
        "The client is ESTABLISHED as soon as the SYN-ACK has come: connect() returns, and it knows nothing of the "
        "loss.",
    )
    lab.say(
        lab.flights(lab.client)[1],
        "The server still is in SYN_RECEIVED: an ACK alone takes no sequence number, so nobody ever resends it by "
        "itself.",
    )

    lab.pass_time(float(lab.option("silence")) - lab.now)
    lab.say(
        lab.flights(lab.server, has="SYN ACK")[1:],
        "The server's timer resends the SYN-ACK after 1 s, then 2 s, 4 s and so on (tcp_synack_retries = {retries} "
        "times).",
        retries=lab.server.settings.tcp_synack_retries,
    )
    repeated = lab.first(Arrived, lab.client, drop="SYN_CHALLENGED")
    waits = "SYN_RECEIVED" in lab.server.states()
    lab.say_if(
        None if waits else repeated,
        "The client answers the SYN-ACK that it has seen before with an ACK, and that completes the handshake.",
    )
    lab.say_if(
        repeated if waits else None,
        "The client answers the SYN-ACK that it has seen before with an ACK. That would complete the handshake, but "
        "here it is lost, too.",
    )

    client.sendall(REQUEST)
    lab.settle()
    if "ESTABLISHED" in lab.server.states():
        served, _ = listener.accept()
        lab.figure("bytes that the server reads", len(served.read_all()), len(REQUEST))
    lab.say(
        lab.first(Moved, lab.server, after="ESTABLISHED") if waits else None,
        "The client's first bytes complete the handshake as well: each of its segments carries the ACK.",
    )
    lab.say_if(
        lab.flights(lab.server, has="RST"),
        "The server had given up its half-open connection, so the client's first bytes are answered with a RST: only "
        "now does the client learn that there is no connection.",
    )
