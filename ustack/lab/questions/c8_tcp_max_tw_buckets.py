"""C8: more connections in TIME_WAIT than tcp_max_tw_buckets."""

from __future__ import annotations

from ustack.lab import Lab, question


@question(
    "C8",
    "What happens when there are more TIME_WAIT than tcp_max_tw_buckets allows?",
    "250 clients come one after the other to a server that closes first. It may keep 100 connections in TIME_WAIT.",
    link="delay=1ms",
    server={"tcp_max_tw_buckets": 100},
    options={"clients": "250"},
    tries=("server.tcp_max_tw_buckets=0", "server.tcp_max_tw_buckets=1000", "clients=120"),
    next=("C5", "C6", "C11"),
)
def tcp_max_tw_buckets(lab: Lab) -> None:
    clients, most = int(lab.option("clients")), lab.server.settings.tcp_max_tw_buckets
    length = lab.server.settings.tcp_timewait_length
    listener = lab.server.listen(80)

    def visit() -> None:
        client = lab.client.connect(lab.server, 80)
        served, _ = listener.accept()
        served.close()
        assert client.recv(100) == b""
        client.close()

    visit()
    lab.settle()
    with lab.unseen("{count} clients more come and go in the same way", count=clients - 2):
        for _ in range(clients - 2):
            visit()
        lab.settle()
    visit()
    lab.settle()
    kept = lab.server.states().count("TIME_WAIT")
    skipped = lab.server.counters["TCPTimeWaitOverflow"]
    gone = lab.server.counters["TW"]
    lab.figure("connections in TIME_WAIT", kept, min(clients, most) - gone, rule="tcp_max_tw_buckets")
    lab.figure("TCPTimeWaitOverflow", skipped, max(clients - most, 0))
    lab.say(
        kept,
        "The server closes first, so TIME_WAIT is on its side: the first {kept} connections are kept in it.",
        kept=kept,
    )
    last = lab.flights(lab.server, has="FIN")[-1]
    lab.say_if(
        skipped and last,
        "Beyond tcp_max_tw_buckets = {most} TIME_WAIT is skipped: the connection is gone with the last ACK, as if its "
        "time had been zero, and TCPTimeWaitOverflow counts it: {skipped} times.",
        most=most,
        skipped=skipped,
    )
    with lab.unseen("the time of all that are in TIME_WAIT ends"):
        lab.pass_time(length)
    lab.figure("connections left after 2 MSL", len(lab.server.states()) - 1, 0)
    lab.say(
        kept and lab.now,
        "After {length} s all are gone; while they last, each costs a small record and holds no descriptor.",
        length=length,
    )
    lab.say_if(
        skipped and last,
        "Nobody is refused and no port is saved: what is lost is what TIME_WAIT protects from. The limit is there "
        "against floods; a smaller one is no cure for many TIME_WAIT (C11 has the cures).",
    )
