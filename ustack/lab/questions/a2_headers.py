"""A2: what is in the headers."""

from __future__ import annotations

import socket

from ustack.lab import Lab, question
from ustack.wire.frame import Datagram

HELLO = b"hello"


@question(
    "A2",
    "What is in the headers of TCP and UDP, and why does each have another kind of length?",
    "A client connects by TCP and sends five bytes; then it sends the same five bytes in a datagram of UDP. The "
    "headers of the SYN, of the segment with text and of the datagram are taken apart.",
    tries=("tcp_timestamps=0", "tcp_sack=0", "tcp_window_scaling=0"),
    next=("A3", "A4", "A6"),
)
def headers(lab: Lab) -> None:
    lab.server.listen(80)
    receiver = lab.server.socket(kind=socket.SOCK_DGRAM)
    receiver.bind(("", 53))
    client = lab.client.connect(lab.server, 80)
    client.sendall(HELLO)
    asker = lab.client.socket(kind=socket.SOCK_DGRAM)
    asker.sendto(HELLO, (lab.server.address, 53))
    receiver.recvfrom(1500)
    lab.settle()

    syn = lab.flights(lab.client, has="SYN")[0]
    segment = lab.flights(lab.client, text=True)[0]
    datagram = lab.packets(Datagram, lab.client)[0]
    in_syn = {field.name: field.value for field in lab.show_header(syn)}
    in_segment = {field.name: field.value for field in lab.show_header(segment)}
    in_datagram = {field.name: field.value for field in lab.show_header(datagram, "UDP")}

    ours, theirs = lab.client.settings, lab.server.settings
    options = 4 + (12 if ours.tcp_timestamps else 4 if ours.tcp_sack else 0) + (4 if ours.tcp_window_scaling else 0)
    syn_length = int(in_syn["data offset"]) * 4
    lab.figure("bytes of the SYN's TCP header", syn_length, 20 + options, rule="RFC 9293 section 3.1")
    length = int(in_segment["data offset"]) * 4
    both_tell_time = ours.tcp_timestamps and theirs.tcp_timestamps
    lab.figure("bytes of the TCP header before text", length, 32 if both_tell_time else 20, rule="RFC 7323 section 3.2")
    text = len(segment.packet) - 20 - length
    lab.figure("bytes of text: the packet without both headers", text, len(HELLO))
    lab.figure("the UDP header's length field", int(in_datagram["length"]), 8 + len(HELLO), rule="RFC 768")

    lab.say(
        syn,
        "TCP's header is 20 bytes and the options: {syn} bytes in this SYN, {length} before text. So it must say where "
        "the text begins: the data offset counts words of 4 bytes, 15 of them at most.",
        syn=syn_length,
        length=length,
    )
    lab.say(
        segment,
        "Where the text ends TCP does not say: the IP packet is {packet} bytes long, and {packet} - 20 - {length} = "
        "{text}. A stream has no messages, so there is no message whose length could be told.",
        packet=len(segment.packet),
        length=length,
        text=text,
    )
    lab.say(
        datagram,
        "UDP's header is always 8 bytes, so nobody needs to say where the data begins. Its length says how long this "
        "one message is, {length} bytes with the header, and is summed into the checksum.",
        length=in_datagram["length"],
    )
    lab.say(
        datagram,
        "Two ports, a length, a checksum: that is all of UDP. Without a sequence number nothing can be missed or put "
        "in order, without an acknowledgment nothing can be sent again, without a window nobody can say stop.",
    )
    lab.say(
        segment,
        "Neither header has an address: those stand in IP's header. Both checksums cover them all the same, so that a "
        "packet that went to the wrong host is refused.",
    )
