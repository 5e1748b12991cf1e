"""E3: a RST with an old timestamp is processed all the same."""

from __future__ import annotations

from ustack.lab import Lab, question
from ustack.trace import Arrived, Moved
from ustack.wire.frame import Segment


@question(
    "E3",
    "Does PAWS protect a connection from an old RST?",
    "A client and a server have exchanged two lines, ten seconds apart. Then three segments of the server's arrive "
    "that all have the timestamp of the first line: text, a RST somewhere in the window, and a RST with exactly the "
    "next sequence number.",
    kernel="client",
    options={"apart": "10"},
    live={"apart": "1.5"},
    tries=("tcp_timestamps=0", "apart=40"),
    next=("E1", "C15", "C7"),
    shows=("TS",),
)
def rst_and_paws(lab: Lab) -> None:
    listener = lab.server.listen(80)
    client = lab.client.connect(lab.server, 80)
    served, _ = listener.accept()
    served.sendall(b"one\n")
    lab.settle()
    old = lab.flights(lab.server, text=True)[0]
    lab.pass_time(float(lab.option("apart")))
    served.sendall(b"two\n")
    lab.settle()
    newest = lab.flights(lab.server, text=True)[1].frame
    assert isinstance(newest, Segment)
    following = newest.seq + newest.payload_length
    read = client.recv(100)

    lab.link.forge(old, seq=following, text=b"bad\n")
    lab.settle()
    lab.pass_time(1)
    read += client.read_all()
    with_timestamps = lab.client.settings.tcp_timestamps and lab.server.settings.tcp_timestamps
    expected = "one\ntwo\n" if with_timestamps else "one\ntwo\nbad\n"
    rule = "RFC 7323 section 5.3" if with_timestamps else ""
    lab.figure("what the client has read", repr(read.decode()), repr(expected), rule=rule)
    lab.link.forge(old, flags="RST", seq=following + 1000)
    lab.settle()
    lab.figure("state after the RST in the window", client.state, "ESTABLISHED", rule="RFC 5961 section 3.2")
    lab.link.forge(old, flags="RST", seq=following + (0 if with_timestamps else 4))
    lab.settle()
    with lab.error() as found:
        client.recv(100)
    lab.figure("after the RST with exactly the next number: recv() gets", found[0], "ECONNRESET")

    lab.say_if(
        lab.first(Arrived, lab.client, drop="PAWS"),
        "Text with a timestamp older than the newest one seen (TS.Recent) is refused by PAWS, although its sequence "
        "number is exactly right: it could be of an earlier turn of the numbers.",
    )
    lab.say_if(
        None if with_timestamps else lab.flights(lab.server, late=True)[0],
        "Without timestamps nothing tells the forged text from the server's: the client reads it.",
    )
    lab.say_if(
        lab.flights(lab.server, has="RST", late=True)[1] if with_timestamps else None,
        "A RST with the same old timestamp is taken: RFC 7323 section 5.2 exempts RST from PAWS. A host that has "
        "restarted may send timestamps that begin anew, or none, and its RST must still end what is left of the "
        "connection.",
    )
    lab.say(
        lab.first(Arrived, lab.client, drop="RST_CHALLENGED"),
        "What protects against an old or forged RST is its sequence number: one that is only somewhere in the window "
        "is answered with a challenge ACK (RFC 5961 section 3.2), and the connection goes on.",
    )
    lab.say(
        lab.first(Moved, lab.client, after="CLOSED"),
        "Only exactly RCV.NXT ends the connection. An old RST of the same connection has that number only if nothing "
        "was sent after it, or if the numbers have made a whole turn.",
    )
