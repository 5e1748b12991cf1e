"""E4: a round trip is measured on resent text, by timestamps."""

from __future__ import annotations

from ustack.lab import Lab, question


@question(
    "E4",
    "Can TCP measure a round trip on a segment that it sent twice?",
    "Two clients send a line to a server; the first uses timestamps, the second does not. Then the path becomes "
    "slower: 100 ms each way (slower). Of the next line the first copy is lost and the second arrives.",
    options={"slower": "100"},
    tries=("slower=40", "client.tcp_timestamps=0"),
    next=("E1", "D2", "A1"),
    shows=("TS",),
)
def rtt_by_timestamps(lab: Lab) -> None:
    plain = lab.add("plain", "10.0.0.3", left=True, tcp_timestamps=0)
    plain_link = lab.join(plain, lab.server, lab.knobs.link)
    lab.server.listen(80)
    sample = 2 * float(lab.option("slower"))
    for side, link in ((lab.client, lab.link), (plain, plain_link)):
        client = side.connect(lab.server, 80)
        client.sendall(b"one\n")
        lab.pass_time(1)
        before = client.info()["rtt"] / 1000
        link.change(f"delay={lab.option('slower')}ms")
        link.lose(side, text=True, nth=1)
        client.sendall(b"two\n")
        lab.pass_time(1)
        after = client.info()["rtt"] / 1000
        if side.settings.tcp_timestamps and lab.server.settings.tcp_timestamps:
            lab.figure("SRTT with timestamps, after the resent line", after, before * 7 / 8 + sample / 8, "ms",
                       within=0.2, rule=f"RFC 6298 section 2.3: 7/8 x {before:g} + 1/8 x {sample:g}")  # fmt: skip
        else:
            lab.figure("SRTT without timestamps, after the resent line", after, before, "ms",
                       rule=f"Karn's rule, RFC 6298 section 3: {before:g} ms stay")  # fmt: skip

    resent = [flight for flight in lab.flights(text=True) if flight.rule == "resent"]
    lab.say(
        [flight for flight in lab.flights(text=True) if flight.is_lost],
        "The line left twice with the same sequence number, and then an ACK came. Which copy does it answer? Without "
        "more to go by, the time since the first copy is too long if it answers the second, and the time since the "
        "second is too short if it answers the first.",
    )
    lab.say(
        resent[-1:],
        "Karn's rule (RFC 6298 section 3): no round trip is measured on what was resent. So the second client's SRTT "
        "stays what it was, although its path is slower now.",
    )
    lab.say_if(
        resent[:1] if lab.client.settings.tcp_timestamps and lab.server.settings.tcp_timestamps else None,
        "With timestamps the ACK says itself what it answers: the echo (TSecr) is the TSval of the copy that arrived "
        "(RFC 7323 section 4). So the first client measures {sample:.0f} ms, and its SRTT follows.",
        sample=sample,
    )
    lab.say(
        resent,
        "This is what timestamps were made for; PAWS came along with them. On a path that has just become slow it "
        "matters: an RTO that does not grow resends again and again what was only late.",
    )
