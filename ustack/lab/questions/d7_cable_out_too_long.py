"""D7: the cable is out too long."""

from __future__ import annotations

from ustack.lab import Lab, question
from ustack.lab.rules import resending_limit, timeouts
from ustack.trace import Arrived


@question(
    "D7",
    "The cable is out too long: what happens when it is back?",
    "A client is connected to a server. The cable is pulled out; the client sends a line. After 20 minutes (out) the "
    "cable is back. Then the server, which has waited all the time, sends a line too.",
    options={"out": "1200"},
    tries=("out=60", "client.tcp_retries2=5", "client.tcp_retries2=16"),
    next=("D6", "D2", "D5"),
)
def cable_out_too_long(lab: Lab) -> None:
    listener = lab.server.listen(80)
    client = lab.client.connect(lab.server, 80)
    served, _ = listener.accept()
    lab.settle()
    settings = lab.client.settings
    out = float(lab.option("out"))
    limit = resending_limit(settings)
    rto = client.info()["rto"] / 1e6
    patience = rto + sum(timeouts(rto, settings, limit))  # the tail loss probe takes the first turn
    gives_up = patience < out

    lab.link.cut()
    pulled = lab.now
    client.sendall(b"hello?\n")
    client.settimeout(out)
    with lab.error() as found:
        client.recv(100)
    ended = lab.now
    lab.pass_time(out - (lab.now - pulled))
    lab.figure("what recv() gets at the client", found[0], "ETIMEDOUT" if gives_up else "timed out")
    if gives_up:
        lab.figure("how long the client has tried", ended - pulled, patience, "s", within=0.01,
                   rule=f"tcp_retries2: {limit:.1f} s and the rest of the last timeout")  # fmt: skip
    lab.figure("state of the server all the while", served.state, "ESTABLISHED")
    lab.link.heal()
    served.sendall(b"good morning\n")
    try:
        got = f"{len(served.recv(100))} bytes"
    except ConnectionResetError:
        got = "ECONNRESET"
    lab.figure("what recv() gets at the server", got, "ECONNRESET" if gives_up else "7 bytes")

    _explain(lab, limit, gives_up)


def _explain(lab: Lab, limit: float, gives_up: bool) -> None:
    lab.say_if(
        lab.outcome("ETIMEDOUT", lab.client),
        "The client was the one with something to send, so it was the one to notice. Its resends went unanswered, and "
        "with the first timeout after {limit:.1f} s (tcp_retries2 = {retries}) its connection was gone and the "
        "application got ETIMEDOUT.",
        limit=limit,
        retries=lab.client.settings.tcp_retries2,
    )
    lab.say(
        gives_up and lab.flights(lab.server, text=True),
        "The server had nothing to send, and so nothing to miss: for it the connection was ESTABLISHED all the time. "
        "Nobody could tell it: the client's TCP gives up without a segment.",
    )
    lab.say_if(
        lab.first(Arrived, lab.client, drop="NO_SOCKET"),
        "When the cable is back, the server's line finds a host that knows of no such connection, and is answered "
        "with a RST: the server gets ECONNRESET.",
    )
    lab.say_if(
        lab.outcome("ECONNRESET", lab.server),
        "Had the server said nothing, it would have kept its half of the connection for ever: that is what "
        "SO_KEEPALIVE is for.",
    )
    lab.say_if(
        not gives_up and lab.flights(lab.server, text=True),
        "The server had nothing to send, and so nothing to miss: for it the connection was ESTABLISHED all the time.",
    )
    lab.say_if(
        not gives_up,
        "The client had not yet given up, since resending may go on for {limit:.1f} s: so the next resend repaired "
        "everything.",
        limit=limit,
    )
    lab.say_if(
        not gives_up,
        "The server's line got through at once, and the client's with its next timeout; its recv() had only reached "
        "the time-out of its own that this question gives it.",
    )
