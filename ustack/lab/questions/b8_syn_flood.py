"""B8: the SYN queue is full: a SYN flood."""

from __future__ import annotations

from ustack.lab import Lab, LabSocket, question
from ustack.wire import ipv4
from ustack.wire.address import parse_address
from ustack.wire.tcp import SYN, TcpHeader, build_segment

MSS_1460 = b"\x02\x04\x05\xb4"


@question(
    "B8",
    "What does a SYN flood do to a server, and what do SYN cookies change?",
    "1,000 SYNs come in one instant, each from another address that will never answer. Then a real client connects; "
    "its link takes packets of 1340 bytes.",
    link="delay=20ms",
    options={"flood": "1000", "backlog": "128"},
    tries=("server.tcp_syncookies=0", "server.tcp_syncookies=2", "client.tcp_timestamps=0", "backlog=2000"),
    next=("B7", "B4", "B9"),
)
def syn_flood(lab: Lab) -> None:
    settings, counters = lab.server.settings, lab.server.counters
    count, backlog = int(lab.option("flood")), min(int(lab.option("backlog")), lab.server.settings.somaxconn)
    listener = lab.server.listen(80, backlog=int(lab.option("backlog")))
    lab.client.set_mtu(1340)
    with lab.unseen("{count} SYNs come, each from another address", count=count):
        for number in range(count):
            lab.place(lab.server).receive([forged_syn(number)])
    waiting = lab.server.states().count("SYN_RECEIVED")
    room = backlog + 1
    if not settings.tcp_syncookies:  # a quarter of tcp_max_syn_backlog is kept for known peers
        room = min(room, settings.tcp_max_syn_backlog - (settings.tcp_max_syn_backlog >> 2) + 1)
    kept = 0 if settings.tcp_syncookies == 2 else min(count, room)
    lab.figure("half connections that the server keeps", waiting, kept, rule="listen(2), tcp_max_syn_backlog")
    beyond = count - kept
    cookies = beyond if settings.tcp_syncookies else 0
    lab.figure("SYNs answered with a cookie (SyncookiesSent)", counters["SyncookiesSent"], cookies)
    lab.figure("SYNs dropped (ListenDrops)", counters["ListenDrops"], beyond - cookies)
    lab.say_if(
        float(waiting) if kept else None,
        "Each SYN costs the server a half connection, until the third ACK comes or its SYN-ACKs are used up, 63 s by "
        "default (tcp_synack_retries). The SYN queue holds {room} here: listen()'s backlog and one, or without cookies "
        "three quarters of tcp_max_syn_backlog and one, if that is less.",
        room=room,
    )
    began = lab.now
    client = lab.client.connect(lab.server, 80)
    took = lab.now - began
    if settings.tcp_syncookies:
        with_cookies(lab, client, listener, took)
    else:
        without_cookies(lab, took, bool(beyond))


def with_cookies(lab: Lab, client: LabSocket, listener: LabSocket, took: float) -> None:
    """The client gets in at once."""
    lab.figure("seconds that the real client's connect() takes", took, lab.link.round_trip, "s", within=0.001)
    client.sendall(b"hello")
    lab.settle()
    came = lab.server.counters["SyncookiesRecv"]
    served, _ = listener.accept()
    info = served.info()
    stamps = lab.client.settings.tcp_timestamps and lab.server.settings.tcp_timestamps
    options = 12 if stamps else 0
    lab.figure("MSS that the server has for it", info["snd_mss"] + options, 1300, rule="RFC 4987 section 3.6")
    scale = 10 if stamps or not came else 0
    lab.figure("window scale that it has", info["snd_wscale"], scale, rule="Linux cookie_init_timestamp")
    lab.say_if(
        came and lab.flights(lab.server, has="SYN ACK"),
        "Beyond that the server keeps nothing: its ISN is a cookie, a keyed hash over the four-tuple with the time and "
        "one of four MSS. The third ACK brings it back, and only then is there a connection.",
    )
    lab.say_if(
        came and stamps and lab.flights(lab.client, has="ACK"),
        "A cookie has room for the MSS only ({mss} here). Window scale and SACK come back in the client's timestamp "
        "echo, in its lowest bits.",
        mss=info["snd_mss"] + options,
    )
    lab.say_if(
        came and not stamps,
        "Without timestamps nothing carries window scale and SACK through a cookie: the connection has to do without.",
    )
    lab.say(
        lab.flights(lab.client, has="ACK"),
        "So the real client gets in within one round trip, in the middle of the flood.",
    )
    lab.say_if(not came, "This queue was long enough: no cookie was needed for the real client.")


def without_cookies(lab: Lab, took: float, was_full: bool) -> None:
    """The client gets in when the flood's half connections are forgotten."""
    forgotten = sum(2.0**number for number in range(lab.server.settings.tcp_synack_retries + 1))
    settings = lab.client.settings
    linear, doublings = settings.tcp_syn_linear_timeouts, settings.tcp_syn_retries
    waits = [1.0] * linear + [2.0**number for number in range(doublings)]
    times = [sum(waits[:number]) for number in range(len(waits) + 1)]
    at = min((one for one in times if one + lab.link.round_trip / 2 >= forgotten), default=0.0) if was_full else 0.0
    lab.figure(
        "seconds that the real client's connect() takes", took, at + lab.link.round_trip, "s", within=0.001,
        rule="tcp_synack_retries",
    )  # fmt: skip
    lab.say_if(
        was_full and lab.flights(lab.client, has="SYN")[1:],
        "tcp_syncookies = 0: further SYNs are dropped, the real client's as well. It gets in with its first SYN after "
        "the flood is forgotten, after {forgotten:.0f} s. Fewer tcp_synack_retries make that sooner.",
        forgotten=forgotten,
    )
    lab.say_if(
        was_full and lab.flights(lab.server, has="SYN ACK"),
        "A longer queue (tcp_max_syn_backlog, listen()'s backlog) only makes the flood a little dearer: a thousand "
        "SYNs of {size} bytes take a line of 100 Mbit/s for 4 ms.",
        size=len(forged_syn(0)),
    )


def forged_syn(number: int) -> bytes:
    """A SYN from an address of its own. On Linux it would wait in the device's queue (netdev_max_backlog), too."""
    source, destination = parse_address(f"10.9.{number // 250}.{1 + number % 250}"), parse_address("10.0.0.2")
    header = TcpHeader(1024 + number % 60000, 80, number * 7919, 0, SYN, 65535)
    return ipv4.build(source, destination, 6, build_segment(source, destination, header, MSS_1460, b""))
