"""D2: the server's host dies, and the client sends."""

from __future__ import annotations

from itertools import pairwise

from ustack.lab import Lab, question
from ustack.lab.rules import resending_limit, timeouts


@question(
    "D2",
    "The host at the other end dies, and we send: when do we learn of it?",
    "Client and server are neighbours: a round trip takes 0.2 ms, so the retransmission timeout is 200 ms. The "
    "server's host loses its power. Then the client sends 100 bytes and waits for the answer. Tail loss probes are "
    "off (tcp_early_retrans = 0), so that only the timeout is seen.",
    link="delay=0.1ms",
    client={"tcp_early_retrans": 0},
    tries=("client.tcp_retries2=8", "delay=400ms", "client.tcp_rto_max_ms=10000", "client.tcp_early_retrans=3"),
    next=("D3", "D6", "D9"),
)
def host_dies_while_sending(lab: Lab) -> None:
    listener = lab.server.listen(80)
    client = lab.client.connect(lab.server, 80)
    listener.accept()
    lab.settle()
    rto = client.info()["rto"] / 1e6
    lab.kill(lab.server)
    client.sendall(bytes(100))
    with lab.error() as found:
        client.recv(100)
    ended = lab.now
    lab.figure("what recv() gets", found[0], "ETIMEDOUT")

    settings = lab.client.settings
    limit = resending_limit(settings)
    resends = [flight for flight in lab.flights(lab.client, text=True) if flight.why.startswith("the retransmission")]
    waits = timeouts(rto, settings, limit)
    gaps = [lab.instant(later) - lab.instant(sooner) for sooner, later in pairwise(resends)]
    lab.figure("resends", len(resends), len(waits) - 1)
    lab.figure("seconds between the resends", _listed(gaps), _listed(waits[1:-1]), rule="RFC 6298 section 5.5")
    lab.figure("from the first resend to ETIMEDOUT", ended - lab.instant(resends), sum(waits[1:]), "s",
               within=0.01, rule=f"tcp_retries2 = {settings.tcp_retries2}: at least {limit:.1f} s")  # fmt: skip

    lab.say(
        resends,
        "Nobody answers, and silence is all that TCP has to go by: when the retransmission timer expires, it sends "
        "the same bytes again, with the same sequence number.",
    )
    lab.say(
        resends[1:],
        "Each timeout is twice the one before (RFC 6298 section 5.5), from {rto:.3f} s here to at most {longest:.0f} "
        "s.",
        rto=rto,
        longest=settings.tcp_rto_max_ms / 1000,
    )
    lab.say(
        lab.outcome("ETIMEDOUT"),
        "tcp_retries2 = {retries} is not a count but a time: what so many doublings take when the first wait is 200 "
        "ms, {limit:.1f} s. The first expiry later than that ends the connection.",
        retries=settings.tcp_retries2,
        limit=limit,
    )
    lab.say_if(
        len(resends) < settings.tcp_retries2,
        "This path is slow, and its timeout begins with {rto:.2f} s: in the same time only {count} resends find room.",
        rto=rto,
        count=len(resends),
    )
    lab.say(
        lab.outcome("ETIMEDOUT"),
        "Only now does the application hear of it: its next call gets ETIMEDOUT. Until then send() would have gone on "
        "filling the buffer without an error.",
    )


def _listed(seconds: list[float]) -> str:
    return " ".join(f"{one:.1f}" for one in seconds)
