"""C15: a SYN or a RST inside an established connection."""

from __future__ import annotations

from ustack.lab import Flight, Lab, question
from ustack.trace import Arrived, Moved
from ustack.wire.frame import Segment


@question(
    "C15",
    "Can somebody break a connection with a forged SYN or RST?",
    "A client and a server are connected. Somebody who knows the four-tuple, but can only guess the sequence number, "
    "sends segments to the server in the client's name: a SYN, a RST outside the window, a RST inside it, and at last "
    "a RST with exactly the next number.",
    kernel="server",
    options={"pause": "1"},
    tries=("pause=0.1", "server.tcp_invalid_ratelimit=5000", "delay=100ms"),
    next=("B2", "C9", "C14", "E3"),
)
def syn_or_rst_inside(lab: Lab) -> None:
    listener = lab.server.listen(80)
    client = lab.client.connect(lab.server, 80)
    served, _ = listener.accept()
    client.sendall(b"hello")
    lab.settle()
    lab.settle()
    served.read_all()
    real = lab.flights(lab.client, text=True)[-1]
    assert isinstance(real.frame, Segment)
    following = real.frame.seq + 5
    three_forged(lab, real, following)
    lab.figure("state of the server after three forged segments", served.state, "ESTABLISHED")
    client.sendall(b"still here")
    lab.settle()
    lab.figure("bytes that the connection still carries", len(served.read_all()), 10)

    forge(lab, real, "RST", following + 10)
    with lab.error() as found:
        served.recv(100)
    lab.figure("recv() after a RST with the exact number", found[0], "ECONNRESET")
    lab.say(
        lab.events(Moved, lab.server, before="ESTABLISHED", after="CLOSED") or lab.flights(lab.client, late=True)[-1],
        "Only a RST with exactly the next number ends the connection. A blind forger would have to try 2^32 numbers, "
        "where before RFC 5961 one in every window of {window:,} bytes was enough.",
        window=65536,
    )


def forge(lab: Lab, real: Flight, flags: str, seq: int) -> int:
    """Sends it in the name of the client, and waits. Returns how many segments the server answers."""
    before = len(lab.flights(lab.server))
    lab.link.forge(real, flags=flags, seq=seq, ack=0, options=b"")
    lab.settle()
    lab.pass_time(float(lab.option("pause")))
    return len(lab.flights(lab.server)) - before


def three_forged(lab: Lab, real: Flight, following: int) -> None:
    """A SYN, a RST outside the window, a RST inside; ``following``: the number that the server expects next."""
    answers = forge(lab, real, "SYN", following + 1000)
    lab.figure("answers to the SYN", answers, 1, rule="RFC 5961 section 4")
    lab.say(
        lab.events(Arrived, lab.server, drop="SYN_CHALLENGED"),
        "A SYN inside a connection changes nothing: the server answers with a challenge ACK. Were it a client that has "
        "started anew, the ACK would meet a socket in SYN_SENT, and its RST would have the right number.",
    )
    lab.figure("answers to the RST outside the window", forge(lab, real, "RST", following + 10_000_000), 0)
    lab.say(
        lab.events(Arrived, lab.server, drop="BEYOND_WINDOW"),
        "A RST whose number lies outside the window is dropped without a word.",
    )
    limit = lab.server.settings.tcp_invalid_ratelimit
    is_limited = 2000 * (float(lab.option("pause")) + 2 * lab.link.round_trip) < limit
    answers = forge(lab, real, "RST", following + 1000)
    lab.figure("answers to the RST inside the window", answers, 0 if is_limited else 1, rule="RFC 5961 section 3")
    lab.say(
        not is_limited and lab.events(Arrived, lab.server, drop="RST_CHALLENGED"),
        "A RST inside the window, but not with the next number, gets a challenge ACK too. A true peer that has "
        "forgotten the connection answers it with a RST that has exactly the right number; a forger never sees it.",
    )
    lab.say_if(
        is_limited and lab.events(Arrived, lab.server, drop="RST_CHALLENGED"),
        "A RST inside the window, but not with the next number, ends nothing either. This time not even a challenge "
        "ACK leaves: tcp_invalid_ratelimit = {limit} ms allows one in that time, so that nobody can make the server "
        "send many.",
        limit=limit,
    )
