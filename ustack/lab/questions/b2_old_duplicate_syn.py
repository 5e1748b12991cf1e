"""B2: an old duplicate SYN arrives first."""

from __future__ import annotations

import socket
import struct

from ustack.lab import Lab, question
from ustack.trace import Moved

PORT = 40000


@question(
    "B2",
    "What happens when an old SYN arrives before the new one?",
    "A client was connected from port 40000. Later it connects from the same port again; its new SYN is slow, and a "
    "copy of the old one, which some router had kept, overtakes it.",
    kernel="server",
    live={"pause": "1"},
    shows=("ISN",),
    options={"pause": "120", "slow": "0.5"},
    tries=("slow=1", "slow=0.021", "delay=20ms"),
    next=("B13", "B9", "C6"),
)
def old_duplicate_syn(lab: Lab) -> None:
    listener = lab.server.listen(80)
    kept = lab.link.keep(lab.client, has="SYN", nth=1)
    visit = lab.client.start_connecting(lab.server, 80, PORT)
    visit.silent.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    lab.settle()
    listener.accept()
    visit.close()  # by RST, so that the port is free at once
    lab.pass_time(float(lab.option("pause")))

    lab.link.hold(lab.client, by=float(lab.option("slow")), has="SYN", nth=1)
    began = len(lab.report.flights)
    client = lab.client.start_connecting(lab.server, 80, PORT)
    lab.link.replay(lab.client, kept.packets[0])
    lab.run_until(lambda: client.state != "SYN_SENT", 30)
    lab.settle()
    seen = lab.report.flights[began:]
    old = [flight for flight in seen if flight.late][:1]
    answers = [flight for flight in seen if flight.sender == "server"]
    resets = [flight for flight in seen if flight.sender == "client" and flight.text.startswith("R ")]
    lab.figure("RSTs that the client sends", len(resets), 1, rule="RFC 9293 section 3.5, figure 8")
    served = listener.accept()[0]
    client.sendall(b"hello")
    lab.settle()
    lab.figure("bytes that the new connection delivers", len(served.read_all()), 5)
    lab.pass_time(float(lab.option("slow")))
    lab.say(
        old,
        "The server cannot see that this SYN is old: it answers with a SYN-ACK, and keeps half a connection in "
        "SYN_RECEIVED.",
    )
    lab.say(
        resets and answers,
        "The client can: the SYN-ACK acknowledges a number that its new SYN does not have. It answers with a RST, and "
        "stays in SYN_SENT.",
    )
    lab.say(
        resets,
        "The RST puts the server back into LISTEN, as if nothing had been: no application has heard of it.",
    )
    lab.say(
        lab.events(Moved, lab.client, after="ESTABLISHED")[1:],
        "Then the new SYN comes, and wins. That is what the third step is for: it asks the client whether it meant "
        "this SYN.",
    )
    lab.say_if(
        [flight for flight in seen if flight.why.startswith("no answer came") and not flight.late],
        "Linux does not wait a second for the answer to its new SYN: 2 ms after the RST it sends it again. Whichever "
        "of the two comes first opens the connection.",
    )
