"""D8: a heartbeat of the application."""

from __future__ import annotations

from ustack.lab import Lab, question
from ustack.lab.rules import resending_limit, timeouts
from ustack.trace import Moved

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: timeout=15\r\n\r\nok"


@question(
    "D8",
    "Why do applications have a heartbeat of their own?",
    "A client has asked an HTTP server for a page, and the connection stays open for the next request. The client's "
    "host loses its power. The server waits for a request for 15 s at most (keep_alive), then it closes. With "
    "fault=hang the client's program only hangs: its host is well.",
    options={"keep_alive": "15", "fault": "dead"},
    tries=("keep_alive=5", "fault=hang", "server.tcp_orphan_retries=3"),
    next=("D3", "D9", "C3"),
)
def heartbeat(lab: Lab) -> None:
    listener = lab.server.listen(80)
    client = lab.client.connect(lab.server, 80)
    served, _ = listener.accept()
    client.sendall(REQUEST)
    served.recv(1000)
    served.sendall(ANSWER)
    client.recv(1000)
    lab.settle()
    is_dead = lab.option("fault") == "dead"
    if is_dead:
        lab.kill(lab.client)
    asked = lab.now
    rto = served.info()["rto"] / 1e6
    served.settimeout(float(lab.option("keep_alive")))
    with lab.error() as found:
        served.recv(1000)
    noticed = lab.now - asked
    served.close()
    lab.run_until(lambda: not lab.server.states()[1:], 3600)
    gone = lab.now - asked

    settings = lab.server.settings
    lab.figure("how recv() ends", found[0], "timed out")
    lab.figure(
        "the server notices after",
        noticed,
        float(lab.option("keep_alive")),
        "s",
        rule=f"SO_KEEPALIVE: {_keepalive(lab):,} s",
    )
    if is_dead:
        retries = settings.tcp_orphan_retries or 8
        least = resending_limit(settings, retries)
        resent = [fin for fin in lab.flights(lab.server, has="FIN") if fin.why.startswith("the retransmission")]
        lab.figure("from the first timeout of the FIN to its end", lab.now - lab.instant(resent),
                   sum(timeouts(rto, settings, least)[1:]), "s", within=0.01,
                   rule=f"tcp_orphan_retries, 0 is 8: at least {least:.1f} s")  # fmt: skip

    _explain(lab, noticed, gone - noticed)


def _explain(lab: Lab, noticed: float, tried: float) -> None:
    lab.say(
        lab.outcome("timed out"),
        "TCP has no opinion on how long a request may take: recv() would wait for ever, and SO_KEEPALIVE finds out "
        "after {keepalive:,} s. A timeout of the application's own finds out after {noticed:.0f} s.",
        keepalive=_keepalive(lab),
        noticed=noticed,
    )
    lab.say(
        lab.first(Moved, lab.server, after="FIN_WAIT_1"),
        "The server closes the connection: its program is done with it at once, whatever the client does. The rest is "
        "the work of its TCP.",
    )
    lab.say_if(
        lab.flights(lab.server, has="FIN")[1:],
        "Nobody acknowledges the FIN. It is resent with doubling timeouts, but the socket is an orphan now: "
        "tcp_orphan_retries bounds it (0 means 8), and after {tried:.0f} s nothing is left.",
        tried=tried,
    )
    lab.say_if(
        lab.first(Moved, lab.server, after="FIN_WAIT_2"),
        "The client's host acknowledges the FIN, as it would have answered every keepalive probe: TCP is well, only "
        "the program hangs. No option of TCP can notice that, a heartbeat does.",
    )
    lab.say_if(
        lab.first(Moved, lab.server, after="FIN_WAIT_2"),
        "Its own FIN never comes, so the server's FIN_WAIT_2 ends after tcp_fin_timeout = {seconds} s.",
        seconds=lab.server.settings.tcp_fin_timeout,
    )
    lab.say(
        lab.outcome("timed out"),
        "So a heartbeat tests what matters: the whole way from program to program, in the time that this application "
        "can bear. Through proxies and NAT it also reaches the true other end, and keeps their tables from forgetting.",
    )


def _keepalive(lab: Lab) -> int:
    settings = lab.server.settings
    return settings.tcp_keepalive_time + settings.tcp_keepalive_probes * settings.tcp_keepalive_intvl
