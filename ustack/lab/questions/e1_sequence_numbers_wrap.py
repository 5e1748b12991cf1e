"""E1: sequence numbers wrap, and a delayed duplicate of the first turn comes back."""

from __future__ import annotations

import socket

from ustack.lab import Flight, Lab, question
from ustack.trace import Arrived

SO_RCVBUFFORCE = 33
GB, TURN, WINDOW = 1 << 30, 1 << 32, 1 << 30
FIRST, LAST, SECOND = b"pay 100 to Ann\n", b"end of turn 1\n", b"pay 999 to Bob\n"


def leap(lab: Lab, size: int) -> None:
    """The client sends ``size`` bytes and all is acknowledged, at the link's rate. That is not simulated byte by byte:
    the variables of both ends move on by ``size``, and the clock by the time that it takes.
    """
    (client,) = lab.place(lab.client).stack.tcp.connections.values()
    (server,) = lab.place(lab.server).stack.tcp.connections.values()
    for name in ("iss", "snd_una", "snd_nxt"):
        setattr(client.sender, name, getattr(client.sender, name) + size)
    for name in ("irs", "rcv_nxt", "rcv_wup", "last_ack_sent"):
        setattr(server.receiver, name, getattr(server.receiver, name) + size)
    server.receiver.rcv_ssthresh = server.receiver.window_clamp  # the window has grown to its full size
    lab.pass_time(size * 8 / (float(lab.option("Mbit/s")) * 1e6))


@question(
    "E1",
    "Sequence numbers have 32 bits: what protects a transfer when they wrap?",
    "A client sends 6 GB at 1 Gbit/s through a window of 1 GB. A router keeps a copy of the very first text and "
    "delivers it when the sequence numbers have made a whole turn. Three short texts are sent in full; of the "
    "gigabytes between them only the numbers and the time pass.",
    options={"Mbit/s": "1000"},
    tries=("tcp_timestamps=0", "Mbit/s=10000"),
    next=("E2", "E3", "C6"),
    shows=("TS",),
)
def sequence_numbers_wrap(lab: Lab) -> None:
    listener = lab.server.listen(80)
    listener.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, WINDOW)
    client = lab.client.connect(lab.server, 80)
    served, _ = listener.accept()
    client.sendall(FIRST)
    served.recv(1000)
    lab.settle()
    old = lab.flights(lab.client, text=True)[0]
    leap(lab, TURN - len(FIRST) - len(LAST))
    client.sendall(LAST)
    served.recv(1000)
    lab.settle()
    turn = lab.now - lab.instant(old)

    lab.link.replay(lab.client, old.packet)
    lab.settle()
    client.sendall(SECOND)
    heard = served.recv(1000)
    lab.settle()
    new = lab.flights(lab.client, text=True)[-1]
    leap(lab, 6 * GB - TURN - len(SECOND))

    window = int(lab.flights(lab.server)[-1].text.split(" win ")[1].split(" ")[0])
    lab.figure("window that the server offers", window << 14, WINDOW, "bytes", within=1 << 20)
    lab.figure("sequence number of the text 4 GB later", _number(new), _number(old))
    lab.figure("time of one turn", turn, TURN * 8 / (float(lab.option("Mbit/s")) * 1e6), "s", within=0.2)
    both = lab.client.settings.tcp_timestamps and lab.server.settings.tcp_timestamps
    lab.figure("what the server reads next", heard.decode().strip(), (SECOND if both else FIRST).decode().strip())

    _explain(lab, turn)


def _explain(lab: Lab, turn: float) -> None:
    texts = lab.flights(lab.client, text=True)
    lab.say(
        texts[2:],
        "After 2^32 bytes the numbers begin again: at {rate} Mbit/s one turn takes {turn:.1f} s, far less than the "
        "two minutes for which a segment may live in the network (RFC 9293 section 3.4.2). So one number names two "
        "bytes.",
        rate=lab.option("Mbit/s"),
        turn=turn,
    )
    lab.say(
        lab.flights(lab.client, late=True),
        "The router's copy is a correct segment: it has the right ports, a right checksum, and exactly the sequence "
        "number that the server waits for now. A window of 1 GB is a quarter of all numbers: of copies that come at "
        "any time, one in four would fall into it.",
    )
    lab.say_if(
        lab.first(Arrived, lab.server, drop="PAWS"),
        "But it has an old timestamp, {turn:.1f} s behind what the server has seen since (TS.Recent). PAWS, "
        "Protection Against Wrapped Sequences (RFC 7323 section 5), drops it and answers with an ACK.",
        turn=turn,
    )
    lab.say_if(
        lab.first(Arrived, lab.server, drop="PAWS"),
        "In effect the timestamp makes the sequence number longer: it tells the turns apart. The right text comes "
        "next, and is taken.",
    )
    lab.say_if(
        lab.first(Arrived, lab.server, drop="OLD_DATA"),
        "Without timestamps nothing is wrong with the copy: the server takes it, and the application reads the text "
        "of the first turn in the place of the second.",
    )
    lab.say_if(
        lab.first(Arrived, lab.server, drop="OLD_DATA"),
        "The right text comes a moment later, looks like a duplicate, and is dropped. The client is told that all has "
        "arrived: nobody ever learns of it.",
    )


def _number(flight: Flight) -> str:
    return flight.text.split(" ")[1].split(":")[0]
