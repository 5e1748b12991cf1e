"""A4: why TCP has an MSS when IP can fragment."""

from __future__ import annotations

import socket
from math import ceil

from ustack.lab import Lab, question
from ustack.wire.frame import Fragment, IcmpMessage

SIZE = 4000
IP, UDP, TCP, TIMESTAMPS = 20, 8, 20, 12
"""Bytes of the headers, and of the option in every segment with text."""


@question(
    "A4",
    "Why does TCP have an MSS when IP can fragment?",
    "The client sends packets of 1500 bytes at most (its MTU), the server of 1400. The client sends 4,000 bytes in one "
    "datagram of UDP, and the network loses one of its fragments. Then it sends 4,000 bytes by TCP, and one packet is "
    "lost again.",
    link="delay=50ms,rate=10mbit",
    kernel="both",
    live={"ipfrag_time": "1"},
    options={"client_mtu": "1500", "server_mtu": "1400", "lost": "2"},
    tries=("lost=0", "server_mtu=576", "client_mtu=9000", "ipfrag_time=5", "tcp_timestamps=0"),
    next=("A2", "A6", "A1"),
)
def mss_and_fragments(lab: Lab) -> None:
    lab.client.set_mtu(int(lab.option("client_mtu")))
    lab.server.set_mtu(int(lab.option("server_mtu")))
    by_udp(lab)
    by_tcp(lab)


def by_udp(lab: Lab) -> None:
    """One datagram, cut by IP."""
    mtu, lost = int(lab.option("client_mtu")), int(lab.option("lost"))
    if lost:
        lab.link.lose(lab.client, kind=Fragment, nth=lost)
    receiver = lab.server.socket(kind=socket.SOCK_DGRAM)
    receiver.bind(("", 53))
    sender = lab.client.socket(kind=socket.SOCK_DGRAM)
    sender.sendto(bytes(SIZE), (lab.server.address, 53))
    patience = lab.server.settings.ipfrag_time
    lab.pass_time(patience + 1)
    datagram = receiver.read_all()

    fragments = lab.packets(Fragment, lab.client)
    units = (mtu - IP) // 8 * 8
    expected = ceil((UDP + SIZE) / units) if mtu - IP < UDP + SIZE else 0
    lab.figure("fragments of the datagram", len(fragments), expected, rule="RFC 791 section 3.2")
    is_whole = not 0 < lost <= expected
    lab.figure("bytes of it that the server reads", len(datagram), SIZE if is_whole else 0)
    lab.say_if(
        fragments,
        "IP cuts the packet, which is longer than the MTU, into {count} fragments. Only the first one has UDP's "
        "header; the others are put together by their identification and offset.",
        count=len(fragments),
    )
    lab.say_if(
        [flight for flight in fragments if flight.is_lost],
        "IP resends nothing: with one fragment the whole datagram of {size} bytes is lost. The others wait for "
        "ipfrag_time, {time} s, and take memory.",
        size=SIZE,
        time=patience,
    )
    lab.say_if(
        [flight for flight in lab.packets(IcmpMessage, lab.server) if "time_exceeded" in flight.text],
        "Then the receiver drops them and tells the sender by ICMP, time exceeded: too late to be of use.",
    )
    lab.say_if(is_whole, "Nothing was lost here, so the datagram came whole.")


def by_tcp(lab: Lab) -> None:
    """The same bytes, cut by TCP."""
    mtus = [int(lab.option(name)) for name in ("client_mtu", "server_mtu")]
    listener = lab.server.listen(80)
    if lost := int(lab.option("lost")):
        lab.link.lose(lab.client, text=True, nth=lost)
    client = lab.client.connect(lab.server, 80)
    served, _ = listener.accept()
    client.sendall(bytes(SIZE))
    received = 0
    while received < SIZE:
        received += len(served.recv(65536))

    offers = [mtu - IP - TCP for mtu in mtus]
    told = [flight.text.partition("<mss ")[2].partition(",")[0] for flight in lab.flights(has="SYN")]
    lab.figure(
        "MSS in the SYN and in the SYN-ACK", ", ".join(told), f"{offers[0]}, {offers[1]}", rule="RFC 9293 section 3.7.1"
    )
    options = TIMESTAMPS if lab.client.settings.tcp_timestamps and lab.server.settings.tcp_timestamps else 0
    texts = lab.flights(lab.client, text=True)
    sizes = [len(flight.packet) - IP - TCP - options for flight in texts]
    lab.figure(
        "most text in a segment", max(sizes), min(min(offers) - options, SIZE), "bytes", rule="RFC 9293 section 3.7.1"
    )
    gone = sum(size for size, flight in zip(sizes, texts, strict=True) if flight.is_lost)
    again = lab.figure("bytes that TCP sends again: what was lost", sum(sizes) - SIZE, gone, "bytes")
    lab.say(
        lab.flights(has="SYN"),
        "TCP cuts for itself: each SYN tells its MSS, MTU - {headers}, and both sides use the smaller one, {mss} "
        "bytes, so that no packet has to be fragmented at either end.",
        headers=IP + TCP,
        mss=min(offers),
    )
    lab.say_if(
        [flight for flight in texts if flight.is_lost],
        "A lost segment is one packet with its own sequence number: TCP sends {again} bytes again, and not {size}.",
        again=round(float(again.seen)),
        size=SIZE,
    )
