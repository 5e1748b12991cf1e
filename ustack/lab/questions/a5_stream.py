"""A5: has a stream messages?"""

from __future__ import annotations

import socket

from ustack.lab import Lab, LabSocket, question

MESSAGES = (b"one", b"two", b"three")


@question(
    "A5",
    "Three sends: does the other side get three messages?",
    "The client calls send() three times, and the server reads when all has come. The client does it again, and the "
    "server reads four bytes at a time. The third time each message has its length before it.",
    options={"nodelay": "0", "read_size": "4"},
    tries=("nodelay=1", "read_size=1", "read_size=100"),
    next=("A1", "A6", "F2"),
)
def stream(lab: Lab) -> None:
    listener = lab.server.listen(80)
    client = lab.client.connect(lab.server, 80)
    nodelay = int(lab.option("nodelay"))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, nodelay)
    served, _ = listener.accept()
    whole = b"".join(MESSAGES)

    for message in MESSAGES:
        client.sendall(message)
    lab.pass_time(1)
    at_once = served.recv(100)
    together = lab.figure("one recv(100) after three sends", at_once.decode(), whole.decode())
    lab.say(
        together.holds,
        "No: three sends came out as one piece, {text}. TCP delivers bytes in order, and keeps no mark where a send "
        "ended.",
        text=at_once.decode(),
    )
    segments = lab.flights(lab.client, text=True)
    lab.figure("segments that the three sends took", len(segments), 3 if nodelay else 2)
    lab.say(
        len(segments) < len(MESSAGES) and segments[1],
        "Segments are no messages either: the first send left at once, the others had to wait for its ACK and left "
        "together (Nagle, RFC 9293 section 3.7.4).",
    )
    lab.say_if(
        nodelay and segments,
        "With TCP_NODELAY each send became a segment of its own, and still they were read as one piece: what a segment "
        "was nobody can see at the other end.",
    )

    size = int(lab.option("read_size"))
    for message in MESSAGES:
        client.sendall(message)
    lab.pass_time(1)
    pieces = [served.recv(size)]
    while sum(map(len, pieces)) < len(whole):
        pieces.append(served.recv(size))
    many = lab.figure("calls of recv() that the next three sends need", len(pieces), -(-len(whole) // size))
    lab.say(
        many,
        "How much a recv() returns depends on what has come and on how much it asks for. Calls of recv({size}) for the "
        "same eleven bytes: {count}.",
        count=len(pieces),
        size=size,
    )

    for message in MESSAGES:
        send_message(client, message)
    lab.pass_time(1)
    framed = [receive_message(served) for _ in MESSAGES]
    own = lab.figure("messages with their length before them", b", ".join(framed).decode(), "one, two, three")
    lab.say(
        own.holds,
        "So an application needs a framing of its own: a length before each message, as here, or a mark behind it, as "
        "the empty line behind HTTP's header. And it must be ready to read a part of one.",
    )


def send_message(to: LabSocket, message: bytes) -> None:
    """Two bytes of length, then the message."""
    to.sendall(len(message).to_bytes(2, "big") + message)


def receive_message(of: LabSocket) -> bytes:
    """The next message, whole."""
    return receive_exactly(of, int.from_bytes(receive_exactly(of, 2), "big"))


def receive_exactly(of: LabSocket, count: int) -> bytes:
    """So many bytes, in however many pieces they come."""
    found = b""
    while len(found) < count:
        piece = of.recv(count - len(found))
        if not piece:
            raise EOFError("the stream ended within a message")
        found += piece
    return found
