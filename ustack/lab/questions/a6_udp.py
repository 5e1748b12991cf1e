"""A6: UDP beside TCP."""

from __future__ import annotations

import socket

from ustack.lab import Lab, LabSocket, Side, question
from ustack.wire.frame import Datagram, IcmpMessage

GREETINGS = (b"one", b"two", b"three")


@question(
    "A6",
    "What does UDP do otherwise than TCP?",
    "A server has bound port 53 of UDP; a printer in the same network, too. The client sends three datagrams, of which "
    "the network loses one, then one to a port that nobody has, and at last one to everybody in the network.",
    kernel="both",
    options={"lost": "2"},
    tries=("lost=0", "lost=1", "duplicate=30%"),
    next=("A1", "A4", "A5", "B10"),
)
def udp(lab: Lab) -> None:
    printer = lab.add("printer", "10.0.0.3")
    lab.join(lab.client, printer, "delay=10ms")
    server = bound(lab.server)
    other = bound(printer)
    lost = int(lab.option("lost"))
    if lost:
        lab.link.lose(lab.client, kind=Datagram, nth=lost)

    client = lab.client.socket(kind=socket.SOCK_DGRAM)
    for text in GREETINGS:
        client.sendto(text, (lab.server.address, 53))
    lab.settle()
    came = read_datagrams(server)
    sent = lab.packets(Datagram, lab.client)
    arrived = [len(flight.arrivals) for flight in sent]
    expected = [text.decode() for text, times in zip(GREETINGS, arrived, strict=True) for _ in range(times)]
    read = lab.figure("datagrams that the server reads, each whole", ", ".join(came), ", ".join(expected))
    lab.say(
        sent[0],
        "There is no handshake and no connection: the first packet is the first datagram, and neither side has a "
        "state.",
    )
    lab.say(
        read.holds,
        "Boundaries are kept: each recvfrom() returns one whole datagram, never a part of two. One of no bytes would "
        "be a datagram, too; TCP's stream has no such thing.",
    )
    lab.say(
        [flight for flight in sent if flight.is_lost],
        "A lost datagram stays lost: nobody acknowledges, no timer runs, and no call says so. Whoever needs it must "
        "ask again, or use TCP.",
    )
    lab.say_if(any(times > 1 for times in arrived), "One that comes twice is read twice: it has no number.")
    refused(lab, client)

    caller = lab.client.socket(kind=socket.SOCK_DGRAM)
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    caller.sendto(b"hello all", ("10.0.0.255", 53))
    lab.settle()
    heard = [name for name, by in (("server", server), ("printer", other)) if "hello all" in read_datagrams(by)]
    everybody = lab.figure("hosts that read one datagram sent to 10.0.0.255", ", ".join(heard), "server, printer")
    lab.say(
        everybody.holds,
        "One datagram may be for many, by broadcast or multicast, and one socket may talk to any number of peers. A "
        "TCP connection has two ends.",
    )


def refused(lab: Lab, client: LabSocket) -> None:
    """A datagram to a port that nobody has."""
    client.connect((lab.server.address, 9))
    client.settimeout(1)
    client.send(b"anybody?")
    lab.settle()
    with lab.error() as found:
        client.recv(100)
    told = any(flight.arrivals for flight in lab.packets(IcmpMessage, lab.server))
    lab.figure(
        "recv() after a datagram to a port that nobody has",
        found[0],
        "ECONNREFUSED" if told else "timed out",
        rule="RFC 1122 section 4.1.3.3",
    )
    lab.say(
        lab.packets(IcmpMessage, lab.server),
        "A port that nobody has answers with ICMP port unreachable, where TCP would send RST. A socket that is "
        "connected gets it as ECONNREFUSED of its next call; one that is not is not told (on Linux only with "
        "IP_RECVERR).",
    )


def bound(side: Side) -> LabSocket:
    """A socket of UDP on port 53."""
    made = side.socket(kind=socket.SOCK_DGRAM)
    made.bind(("", 53))
    return made


def read_datagrams(of: LabSocket) -> list[str]:
    """All that wait, as text."""
    found = []
    while data := of.read_all():
        found.append(data.decode())
    return found
