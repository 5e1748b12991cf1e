"""D6: the cable is pulled out, and put back in time."""

from __future__ import annotations

from ustack.lab import Lab, question

REQUEST = b"GET / HTTP/1.0\r\n\r\n"


@question(
    "D6",
    "The cable is pulled out for a while: does the connection survive?",
    "A client is connected to a server. Somebody pulls the cable out between them; the client sends its request into "
    "the void. After 20 s (out) the cable is back.",
    options={"out": "20"},
    tries=("out=0.1", "out=300", "client.tcp_rto_max_ms=5000"),
    next=("D7", "D2", "A1"),
)
def cable_back_in_time(lab: Lab) -> None:
    listener = lab.server.listen(80)
    client = lab.client.connect(lab.server, 80)
    served, _ = listener.accept()
    lab.settle()
    lab.link.cut()
    pulled = lab.now
    rto = client.info()["rto"] / 1e6
    client.sendall(REQUEST)
    lab.pass_time(float(lab.option("out")))
    silent = f"{client.state}, {served.state}"
    lab.figure("states of both while the cable is out", silent, "ESTABLISHED, ESTABLISHED")
    lab.link.heal()
    back = lab.now
    lab.figure("bytes that the server reads", len(served.recv(100)), len(REQUEST))
    served.sendall(b"here it is\n")
    client.recv(100)

    sent = lab.flights(lab.client, text=True)
    resends = [flight for flight in sent if flight.why.startswith("the retransmission")]
    if resends:
        last_wait = lab.instant(sent[-1]) - lab.instant(sent[-2])
        longest = lab.client.settings.tcp_rto_max_ms / 1000
        lab.figure("wait before the resend that arrives", last_wait, min(rto * 2 ** (len(resends) - 1), longest), "s",
                   within=0.01, rule="RFC 6298 section 5.5")  # fmt: skip
    lab.figure("copies of the request that arrive", len([flight for flight in sent if flight.arrivals]), 1)

    lab.say(
        sent[0],
        "A cable that is out changes nothing at either end: TCP does not look at the wire. A connection that is "
        "silent in the meantime does not notice at all.",
    )
    lab.say(
        [flight for flight in sent if flight.is_lost],
        "What is sent meanwhile is lost, and resent when the timer expires, each time after twice as long. Lost in "
        "these {out:.1f} s: {count}.",
        count=len([flight for flight in sent if flight.is_lost]),
        out=back - pulled,
    )
    lab.say(
        sent[-1:],
        "The first resend after the cable is back arrives, and the connection goes on where it was: no byte is "
        "missing, none comes twice.",
    )
    lab.say(
        sent[-1:],
        "But TCP does not see that the cable is back. It waits for its timer: here {waits:.1f} s of a working cable "
        "went by, and it can be nearly as long as the cable was out, up to tcp_rto_max_ms.",
        waits=lab.instant(sent[-1]) - back,
    )
