"""C9: close() with SO_LINGER {1, 0}."""

from __future__ import annotations

import socket
import struct

from ustack.lab import Lab, question
from ustack.trace import Moved


@question(
    "C9",
    "What does SO_LINGER {1, 0} do?",
    "A client sends 5 bytes, sets SO_LINGER to {on, 0 seconds} and calls close().",
    kernel="both",
    options={"linger": "0"},
    tries=("linger=off", "linger=5", "delay=100ms"),
    next=("C1", "C6", "C11", "D5"),
)
def so_linger_zero(lab: Lab) -> None:
    linger = lab.option("linger")
    listener = lab.server.listen(80)
    client = lab.client.connect(lab.server, 80)
    served, _ = listener.accept()
    client.sendall(b"hello")
    lab.settle()
    if linger != "off":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, int(linger)))
    began = lab.now
    client.close()
    took = lab.now - began
    lab.settle()
    heard = served.read_all()
    with lab.error() as found:
        end = served.recv(100)
        found.append("ECONNRESET" if end else "end of stream")
    is_reset = linger == "0"
    lab.figure("bytes that the server reads before the end", len(heard), 5)
    lab.figure("what the server reads then", found[0], "ECONNRESET" if is_reset else "end of stream")
    lab.figure("RSTs of the client", len(lab.flights(lab.client, has="RST")), 1 if is_reset else 0)
    lab.figure("FINs of the client", len(lab.flights(lab.client, has="FIN")), 0 if is_reset else 1)
    lab.say(
        lab.flights(lab.client, has="RST"),
        "close() sends a RST instead of a FIN, and returns at once: the connection is aborted.",
    )
    lab.say(
        lab.events(Moved, lab.client, before="ESTABLISHED", after="CLOSED"),
        "The client goes from ESTABLISHED to CLOSED in one step. It has no TIME_WAIT: nothing holds its port, and "
        "nothing protects the next connection from old segments.",
    )
    lab.say(
        is_reset and lab.events(Moved, lab.server, after="CLOSED"),
        "The server's program gets ECONNRESET where it expects the end of the stream: it cannot tell whether the "
        "client has said all. What was unsent would have been thrown away.",
    )
    served.close()
    lab.settle()
    lab.figure("connections of the client in TIME_WAIT", lab.client.states().count("TIME_WAIT"), 0 if is_reset else 1)
    lab.say_if(
        not is_reset and lab.flights(lab.client, has="FIN"),
        "This close() sends a FIN: the stream has an orderly end, and the client stays in TIME_WAIT afterwards.",
    )
    waits = linger not in ("0", "off")
    done = lab.first(Moved, lab.client, before="FIN_WAIT_1")
    lab.figure("close() takes", took, lab.instant(done) - began if waits else 0.0, "s", within=0.001)
    lab.say_if(
        waits and lab.flights(lab.client, has="FIN"),
        "With a time above 0 close() waits until everything is acknowledged, at most so many seconds.",
    )
