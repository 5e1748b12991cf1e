"""C2: the first FIN is lost, once or for good."""

from __future__ import annotations

from itertools import pairwise

from ustack.lab import Lab, question
from ustack.trace import Moved, TimerEvent


@question(
    "C2",
    "What happens when the first FIN is lost?",
    "A client and a server are connected, 10 ms apart. The client's program calls close(), and the network loses "
    "the FIN, each time that it is sent. Long after, the server sends something.",
    options={"lost": "100"},
    tries=("lost=1", "client.tcp_orphan_retries=2", "delay=150ms"),
    next=("C3", "C4", "D2"),
)
def first_fin_lost(lab: Lab) -> None:
    listener = lab.server.listen(80)
    client = lab.client.connect(lab.server, 80)
    served, _ = listener.accept()
    lab.settle()
    rto, rtt = client.info()["rto"] / 1e6, client.info()["rtt"] / 1e6
    lost = int(lab.option("lost"))
    lab.link.lose(lab.client, has="FIN", nth=1, count=lost)
    client.close()
    lab.pass_time(600)
    fins = lab.flights(lab.client, has="FIN")
    ends = lab.first(Moved, lab.client, after="CLOSED")
    retries = lab.client.settings.tcp_orphan_retries or 8
    lasts, waits = patience(rto, rtt, retries)
    times = [lab.instant(fin) for fin in fins]
    lab.figure("FINs that the client sends", len(fins), min(lost, len(waits)) + 1)
    lab.figure(
        "seconds between them",
        ", ".join(f"{later - sooner:.2f}" for sooner, later in pairwise(times)),
        ", ".join(f"{wait:.2f}" for wait in waits[:lost]),
        rule="RFC 6298 section 5.5",
    )
    lab.say(
        fins[:1],
        "The client's program is done as soon as close() returns. Its TCP is in FIN_WAIT_1 and keeps the FIN, which "
        "takes a sequence number, until it is acknowledged.",
    )
    lab.say(
        lab.first(TimerEvent, lab.client, timer="tail loss probe timer", action="fired"),
        "The first resend is a tail loss probe, which waits no longer than the RTO of {rto:.0f} ms. What comes after "
        "it waits for the retransmission timer, whose time doubles at each step.",
        rto=rto * 1000,
    )
    if lost < len(fins):
        lab.say_if(fins[-1], "The FIN that is not lost is answered as if nothing had happened: FIN_WAIT_2.")
        return
    lab.figure("from the first timeout to the end", lab.instant(ends) - times[2], lasts, "s", within=0.001)
    lab.say(
        ends,
        "Nobody holds the socket: it is an orphan, and tcp_orphan_retries = {retries} (0 means 8) bounds it. As with "
        "tcp_retries2 that is a time, here {limit:.1f} s from the first timeout on: what doublings from 200 ms would "
        "take. The first timeout after that is the last: FIN_WAIT_1 ends, without TIME_WAIT.",
        retries=lab.client.settings.tcp_orphan_retries,
        limit=limit_of(retries),
    )
    lab.figure("state of the server meanwhile", served.state, "ESTABLISHED")
    served.send(b"still there?")
    lab.settle()
    with lab.error() as found:
        served.recv(100)
    lab.figure("what the server's recv() gets", found[0], "ECONNRESET")
    lab.say(
        lab.flights(lab.client, has="RST"),
        "The server never heard of it: it stays ESTABLISHED until it sends something, and gets a RST.",
    )


def limit_of(retries: int) -> float:
    """Seconds that an orphan's resends may take: as many doublings from 200 ms."""
    return ((2 << retries) - 1) * 0.2


def patience(rto: float, rtt: float, retries: int) -> tuple[float, list[float]]:
    """Seconds from the first timeout to the end; and the wait before each resend: of the probe, then of the RTO."""
    waits, elapsed, wait = [min(rto, 2 * rtt + 0.2), rto], 0.0, 2 * rto
    while elapsed + wait < limit_of(retries):
        waits.append(wait)
        elapsed, wait = elapsed + wait, wait * 2
    return elapsed + wait, waits
