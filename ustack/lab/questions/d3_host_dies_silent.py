"""D3: the server's host dies, and nobody sends anything."""

from __future__ import annotations

import socket

from ustack.lab import Lab, question

MONTH = 30 * 86400


@question(
    "D3",
    "The host at the other end dies, and nobody sends: do we ever notice?",
    "A client has two connections to a server and nothing to say on either; on one of them it has set SO_KEEPALIVE. "
    "The server's host loses its power, and a month passes. TCP_KEEPIDLE, TCP_KEEPINTVL and TCP_KEEPCNT set the "
    "socket's own times (0: those of the host).",
    options={"TCP_KEEPIDLE": "0", "TCP_KEEPINTVL": "0", "TCP_KEEPCNT": "0"},
    tries=("TCP_KEEPIDLE=60", "TCP_KEEPINTVL=10", "TCP_KEEPCNT=3", "client.tcp_keepalive_time=600",
           "client.tcp_keepalive_intvl=30", "client.tcp_keepalive_probes=5"),
    next=("D4", "D8", "D9"),
)  # fmt: skip
def host_dies_in_silence(lab: Lab) -> None:
    listener = lab.server.listen(80)
    plain = lab.client.connect(lab.server, 80)
    watched = lab.client.connect(lab.server, 80)
    heard = lab.now
    watched.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT"):
        if lab.option(name) != "0":
            watched.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), int(lab.option(name)))
    listener.accept()
    listener.accept()
    lab.settle()
    lab.kill(lab.server)
    died = lab.now
    with lab.error() as found:
        watched.recv(100)
    ended = lab.now
    lab.pass_time(MONTH)

    settings = lab.client.settings
    idle = int(lab.option("TCP_KEEPIDLE")) or settings.tcp_keepalive_time
    interval = int(lab.option("TCP_KEEPINTVL")) or settings.tcp_keepalive_intvl
    count = int(lab.option("TCP_KEEPCNT")) or settings.tcp_keepalive_probes
    probes = [flight for flight in lab.flights(lab.client) if lab.instant(flight) > died and flight.rule == "probe"]
    lab.figure("probes without an answer", len(probes), count, rule="tcp_keepalive_probes, TCP_KEEPCNT")
    lab.figure("from the last segment that came to ETIMEDOUT", ended - heard, idle + count * interval, "s",
               rule=f"{idle} + {count} x {interval} s")  # fmt: skip
    lab.figure("what recv() gets with SO_KEEPALIVE", found[0], "ETIMEDOUT")
    lab.figure("state of the other connection after a month", plain.state, "ESTABLISHED")

    lab.say(
        plain.state == "ESTABLISHED",
        "A TCP connection is two memories of it and nothing in between: when nobody sends, nothing is missed. The "
        "connection without SO_KEEPALIVE is ESTABLISHED a month later, and would be so for ever.",
    )
    lab.say(
        probes,
        "With SO_KEEPALIVE the client asks after {idle} s of silence (tcp_keepalive_time): an ACK with a sequence "
        "number that the peer has already, so that a living one must answer (RFC 9293 section 3.8.4).",
        idle=idle,
    )
    lab.say(
        probes[1:],
        "Without an answer it asks again every {interval} s (tcp_keepalive_intvl), {count} times in all "
        "(tcp_keepalive_probes).",
        interval=interval,
        count=count,
    )
    lab.say(
        lab.flights(lab.client, has="RST"),
        "{interval} s after the last probe it gives up: a RST to whom it may concern, and ETIMEDOUT for the "
        "application, {total:,} s after the last sign of life{spoken}.",
        interval=interval,
        total=idle + count * interval,
        spoken=" (2 h 11 min 15 s)" if idle + count * interval == 7875 else "",
    )
