"""C10: thousands of connections in CLOSE_WAIT."""

from __future__ import annotations

from ustack.lab import Lab, LabSocket, question
from ustack.trace import Moved


@question(
    "C10",
    "Why are there thousands of connections in CLOSE_WAIT, and what helps?",
    "1000 clients come, one every 10 s, and close. The server's program accepts them and forgets to close. An hour "
    "later somebody looks.",
    kernel="server",
    options={"clients": "1000", "every": "10", "later": "3600", "closes": "no"},
    live={"clients": "30", "every": "0", "later": "0.5"},
    tries=("closes=yes", "clients=50", "client.tcp_fin_timeout=36000"),
    next=("C1", "C3", "C11", "F1"),
)
def close_wait(lab: Lab) -> None:
    clients, closes = int(lab.option("clients")), lab.option("closes") == "yes"
    listener = lab.server.listen(80)
    began = lab.now
    served = [visit(lab, listener)]
    with lab.unseen("{count} clients more come and go in the same way; an hour passes", count=clients - 1):
        served += [visit(lab, listener) for _ in range(clients - 1)]
        lab.pass_time(float(lab.option("later")))
    stuck = lab.server.states().count("CLOSE_WAIT")
    lab.figure("connections of the server in CLOSE_WAIT", stuck, 0 if closes else clients)
    lines = lab.show_listing(lab.server, most=4)
    lab.say_if(
        closes and lab.events(Moved, lab.server, after="LAST_ACK"),
        "The program closes each connection when it reads the end of the stream: none is left.",
    )
    if stuck:
        explain(lab, stuck, next(line for line in lines if line.startswith("CLOSE-WAIT")), lab.now - began)
        served[0].close()
        lab.settle()
        lab.figure("after one close()", lab.server.states().count("CLOSE_WAIT"), clients - 1)
        lab.say(
            lab.flights(lab.client, has="RST"),
            "close() is what helps, and the end of the process, which closes all: the FIN leaves. Here the client does "
            "not know the connection any more and answers with a RST, which ends it as well.",
        )


def visit(lab: Lab, listener: LabSocket) -> LabSocket:
    """A client comes and closes. Returns the server's socket."""
    client = lab.client.connect(lab.server, 80)
    served: LabSocket = listener.accept()[0]
    client.close()
    lab.settle()
    if lab.option("closes") == "yes":
        served.close()
        lab.settle()
    lab.pass_time(float(lab.option("every")))
    return served


def explain(lab: Lab, stuck: int, oldest: str, age: float) -> None:
    """What CLOSE_WAIT is, and whose. ``oldest``: a line of the listing."""
    lab.say(
        lab.first(Moved, lab.server, after="CLOSE_WAIT"),
        "The client's FIN is acknowledged by the server's TCP on its own. What comes next is for the program: "
        "CLOSE_WAIT is the wait for its close().",
    )
    lab.say(
        stuck,
        "TCP has no timer for CLOSE_WAIT: the program may still want to send. All {stuck:,} are there, however long "
        "one waits, each with its descriptor and its memory, until the program has no descriptors left.",
        stuck=stuck,
    )
    lab.say_if(
        not lab.client.states(),
        "The other side has long gone: its FIN_WAIT_2 ended after tcp_fin_timeout = {length} s. Many CLOSE_WAIT that "
        "stay are the fault of the program on the side where they are seen, not of the peer or the network.",
        length=lab.client.settings.tcp_fin_timeout,
    )
    if " for " in oldest:
        seconds = float(oldest.partition(" for ")[2].rstrip(" s"))
        lab.figure("age of the oldest, from the listing", seconds, age, "s", within=1.0)
        lab.say(
            seconds,
            "The listing says which sockets they are and since when: the oldest, of {peer}, has been waiting for "
            "{age:,.0f} s. Look for the code that handled that client then.",
            peer=oldest.split()[4],
            age=seconds,
        )
