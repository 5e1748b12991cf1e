"""D9: TCP_USER_TIMEOUT."""

from __future__ import annotations

import socket

from ustack.lab import Lab, question
from ustack.lab.rules import resending_limit, timeouts
from ustack.trace import TimerEvent

KEEPIDLE, KEEPINTVL = 10, 5


@question(
    "D9",
    "How can an application bound the time until TCP gives up?",
    "A client has two connections to a server, and has set TCP_USER_TIMEOUT to 30 s on both. Then the server's host "
    "dies. On one connection the client sends a line; on the other it says nothing, but has SO_KEEPALIVE with "
    "TCP_KEEPIDLE 10 s and TCP_KEEPINTVL 5 s. Tail loss probes are off.",
    client={"tcp_early_retrans": 0},
    options={"TCP_USER_TIMEOUT": "30000"},
    tries=("TCP_USER_TIMEOUT=5000", "TCP_USER_TIMEOUT=120000", "TCP_USER_TIMEOUT=0"),
    next=("D2", "D3", "D8"),
)
def user_timeout(lab: Lab) -> None:
    listener = lab.server.listen(80)
    sending = lab.client.connect(lab.server, 80)
    silent = lab.client.connect(lab.server, 80)
    heard = lab.now
    for one in (sending, silent):
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(lab.option("TCP_USER_TIMEOUT")))
    silent.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPIDLE)
    silent.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPINTVL)
    silent.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listener.accept()
    listener.accept()
    lab.settle()
    rto = sending.info()["rto"] / 1e6
    lab.kill(lab.server)
    sending.sendall(b"hello?\n")
    lab.run_until(lambda: sending.state == silent.state == "CLOSED", 3600)
    labels = "what recv() gets where text was out", "what recv() gets where all is silent"
    for one, label in zip((sending, silent), labels, strict=True):
        with lab.error() as found:
            one.recv(100)
        lab.figure(label, found[0], "ETIMEDOUT")

    settings = lab.client.settings
    limit = int(lab.option("TCP_USER_TIMEOUT")) / 1000
    resends = lab.flights(lab.client, text=True)[1:]
    ended = lab.events(TimerEvent, lab.client, timer="retransmission timer", action="fired")[-1]
    model = resending_limit(settings)
    lab.figure("with text out: from the first resend to the end", lab.instant(ended) - lab.instant(resends),
               limit or sum(timeouts(rto, settings, model)[1:]), "s", within=0.01,
               rule="RFC 5482" if limit else f"tcp_retries2: at least {model:.1f} s")  # fmt: skip
    probes = max(1, -(-(limit - KEEPIDLE) // KEEPINTVL)) if limit else settings.tcp_keepalive_probes
    reset = lab.flights(lab.client, has="RST")
    lab.figure("silent: from the last segment that came to the end", lab.instant(reset) - heard,
               KEEPIDLE + probes * KEEPINTVL, "s", within=0.01,
               rule=f"{KEEPIDLE} + {probes:.0f} x {KEEPINTVL} s")  # fmt: skip

    _explain(lab, limit, model)


def _explain(lab: Lab, limit: float, model: float) -> None:
    ended = lab.events(TimerEvent, lab.client, timer="retransmission timer", action="fired")[-1]
    reset = lab.flights(lab.client, has="RST")
    lab.say(
        lab.flights(lab.client, text=True)[1:],
        "By default resending goes on for {model:.1f} s (tcp_retries2). That is too long for many applications, and "
        "it is a setting of the whole host.",
        model=model,
    )
    lab.say_if(
        ended if limit else None,
        "TCP_USER_TIMEOUT is one socket's own limit: {limit:g} s after the first resend the connection ends with "
        "ETIMEDOUT. Linux shortens the last wait, so that this is not late.",
        limit=limit,
    )
    lab.say_if(
        reset if limit else None,
        "It bounds keepalive too, instead of the number of probes. When a probe is due, one has been sent before, and "
        "the peer has been silent for {limit:g} s or longer, the connection ends.",
        limit=limit,
    )
    lab.say_if(
        None if limit else reset,
        "0 means that the option is not set: then the host's settings decide, tcp_retries2 for the one connection and "
        "tcp_keepalive_probes = {probes} for the other.",
        probes=lab.client.settings.tcp_keepalive_probes,
    )
    lab.say(
        reset,
        "Without SO_KEEPALIVE the silent connection would still last for ever: the option says how long to wait for "
        "an answer, and where nothing is asked, no answer is missing.",
    )
