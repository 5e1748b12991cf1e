"""A7: flow control."""

from __future__ import annotations

import socket

from ustack.lab import Flight, Lab, question
from ustack.lab.side import LabSocket
from ustack.trace import TimerEvent
from ustack.units import SECOND
from ustack.wire.frame import Segment

SIZE = 30_000
SIP = 500
"""Bytes that the server reads first: less than a segment, and less than half of its buffer."""


def sip(lab: Lab, served: LabSocket, before: int) -> None:
    """The application reads a little; ``before``: what the server had sent by then."""
    served.recv(SIP)
    lab.settle()
    told = len(lab.flights(lab.server)) - before
    silly = lab.figure("ACKs that announce the room for 500 bytes", told, 0, rule="RFC 9293 section 3.8.6.2.2")
    lab.say(
        silly.holds,
        "No silly windows: room for 500 bytes is not announced, or the stream would go on in crumbs. The receiver "
        "waits until a whole segment fits, or half of the buffer is free.",
    )


@question(
    "A7",
    "What happens when the receiver is slower than the sender?",
    "The server's buffer is small, and its application sleeps for some seconds while the client writes 30,000 bytes. "
    "Then it reads 500 bytes, and a moment later the rest. Another connection has Linux's usual buffer and a reader "
    "that is awake.",
    options={"rcvbuf": "8192", "sleep": "5"},
    tries=("rcvbuf=16384", "sleep=20", "tcp_window_scaling=0"),
    next=("A1", "D2", "F3"),
)
def flow_control(lab: Lab) -> None:
    listener = lab.server.listen(80)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, int(lab.option("rcvbuf")))
    client = lab.client.connect(lab.server, 80)
    served, _ = listener.accept()
    client.setblocking(False)
    written = client.send(bytes(SIZE))
    lab.settle()
    offered = window_of(lab.flights(lab.server, has="SYN")[0])
    segment = client.info()["snd_mss"]
    first = [flight for flight in lab.flights(lab.client, text=True) if flight.at == lab.flights(text=True)[0].at]
    sent = sum(len(flight.packet) for flight in first) - len(first) * (len(first[0].packet) - segment)
    fits = min(offered, lab.client.settings.tcp_init_cwnd * segment) // segment * segment
    lab.figure("bytes that the client sends before an ACK comes", sent, fits, rule="RFC 9293 section 3.8.6")
    lab.say(
        first,
        "The receiver's window says how many bytes may be on their way: {offered} in the SYN-ACK. Each ACK moves its "
        "left edge; its right edge moves no further than there is room in the buffer, and nobody reads.",
        offered=offered,
    )

    lab.pass_time(float(lab.option("sleep")))
    waits = [
        event.due - event.at
        for event in lab.events(TimerEvent, lab.client, timer="zero-window probe timer", action="set")
    ]
    rto = client.info()["rto"] / 1e6
    shown = ", ".join(f"{wait / SECOND:.3f}" for wait in waits)
    doubling = ", ".join(f"{rto * 2**number:.3f}" for number in range(len(waits)))
    lab.figure(
        "seconds to the next zero-window probe: RTO, doubled each time", shown, doubling, rule="RFC 9293 SHLD-30"
    )
    lab.say(
        [flight for flight in lab.flights(lab.server, lacks="SYN") if not window_of(flight)],
        "The buffer is full and the window 0: the client must stop. The ACK that opens it could be lost, and then both "
        "would wait for ever; so the client asks, first after RTO, then after twice as long each time.",
    )
    lab.say_if(
        bool(lab.server.counters["TCPACKSkippedSeq"] and waits),
        "Not every probe is answered: two answers to segments without text are at least tcp_invalid_ratelimit, "
        "{limit} ms, apart, so that two hosts never answer each other for ever.",
        limit=lab.server.settings.tcp_invalid_ratelimit,
    )

    before = len(lab.flights(lab.server))
    sip(lab, served, before)
    received = SIP
    while received < written:
        received += len(served.recv(65536))
    opened = [flight for flight in lab.flights(lab.server)[before:] if window_of(flight)]
    lab.figure("bytes that the server reads in all", received, written)
    lab.say(
        opened,
        "When the application reads the rest, the receiver says so by itself: one ACK with a window of {window} bytes, "
        "and the stream goes on.",
        window=window_of(opened[0]),
    )
    wide_window(lab)


def wide_window(lab: Lab) -> None:
    """A reader that is awake, and a buffer that may grow."""
    listener = lab.server.listen(81)
    client = lab.client.connect(lab.server, 81)
    served, _ = listener.accept()
    with lab.unseen("another connection: 2,000,000 bytes, read as they come"):
        for _ in range(20):
            client.sendall(bytes(100_000))
            lab.settle()
            served.read_all()
        lab.pass_time(1)
        served.read_all()
    window = client.info()["snd_wnd"]
    scaled = lab.client.settings.tcp_window_scaling and lab.server.settings.tcp_window_scaling
    beyond = lab.figure(
        "a window beyond 65,535 bytes", "yes" if window > 65535 else "no", "yes" if scaled else "no", rule="RFC 7323"
    )
    lab.say(
        beyond.holds and scaled,
        "The header's window field has 16 bits. Window scaling, agreed upon in both SYNs, counts it in units of 2^n "
        "bytes: the reader that is awake offers {window} bytes in the end.",
        window=window,
    )
    lab.say_if(not scaled, "Without window scaling no window is beyond 65,535 bytes, however long the path is.")


def window_of(flight: Flight) -> int:
    """The window field as it stands in the header: it is scaled where both SYNs had the option."""
    assert isinstance(flight.frame, Segment)
    return flight.frame.window
