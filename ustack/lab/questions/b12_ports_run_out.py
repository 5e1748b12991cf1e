"""B12: the client's ephemeral ports run out."""

from __future__ import annotations

from ustack.lab import Lab, question
from ustack.settings import Settings


@question(
    "B12",
    "How many connections can one client have, and what happens when its ports run out?",
    "A client opens connections to one port of one server until that fails. Its ip_local_port_range is 40000 to 40099 "
    "here, so that it does not take long. Then it connects to another port, and to another host.",
    link="delay=1ms",
    client={"ip_local_port_range": (40000, 40099)},
    options={"wait": "2"},
    tries=("client.ip_local_port_range=40000,40019", "client.tcp_tw_reuse=1", "wait=61"),
    next=("A3", "A8", "C7", "C11"),
)
def ports_run_out(lab: Lab) -> None:
    low, high = lab.client.settings.ip_local_port_range
    other = lab.add("other", "10.0.0.3")
    lab.join(lab.client, other, "delay=1ms")
    listener = lab.server.listen(80, 4096)
    lab.server.listen(81)
    other.listen(80)

    clients = [lab.client.connect(lab.server, 80)]
    served, _ = listener.accept()
    with lab.unseen("{count} connections more to the same port", count=high - low):
        clients += [lab.client.connect(lab.server, 80) for _ in range(high - low)]
        lab.settle()
    used = {client.getsockname()[1] for client in clients}
    lab.figure("ports of the client in use", len(used), high - low + 1, rule="ip_local_port_range")
    default_low, default_high = Settings().ip_local_port_range
    lab.figure("ports in Linux's default range, 32768 to 60999", default_high - default_low + 1, 28232)
    with lab.error() as found:
        lab.client.connect(lab.server, 80)
    lab.figure("connect() once more", found[0], "EADDRNOTAVAIL")
    lab.say(
        found[0] == "EADDRNOTAVAIL",
        "To one address and port the client may have as many connections as it has ephemeral ports: {count:,} here, "
        "28,232 with Linux's default range. One more connect() gets EADDRNOTAVAIL, and nothing is sent.",
        count=len(used),
    )

    to_81 = lab.client.connect(lab.server, 81)
    to_other = lab.client.connect(other, 80)
    lab.settle()
    again = [one for one in (to_81, to_other) if one.getsockname()[1] in used]
    lab.figure("connections from a port that was in use", len(again), 2)
    lab.say(
        lab.flights(lab.server, has="SYN ACK")[-1:],
        "To another port of the server, or to another host, connect() still works, from a port that is in use: a "
        "connection is named by all four, both addresses and both ports.",
    )

    clients[0].close()
    lab.settle()
    served.close()
    lab.settle()
    lab.pass_time(float(lab.option("wait")))
    with lab.error() as late:
        lab.client.connect(lab.server, 80)
    waits = lab.client.settings.tcp_timewait_length
    is_free = float(lab.option("wait")) > waits or lab.client.settings.tcp_tw_reuse == 1
    lab.figure("connect() after one was closed", late[0], "no error" if is_free else "EADDRNOTAVAIL")
    lab.say_if(
        not is_free and lab.flights(lab.client, has="FIN"),
        "Closing one does not help at once when the client closes first: its port is in TIME_WAIT for {length} s. So "
        "with the default range a client runs out of ports when it opens more than {rate} short connections a second.",
        length=waits,
        rate=28232 // waits if waits else 0,
    )
    lab.say_if(
        is_free and lab.flights(lab.client, has="SYN")[-1:],
        "The port of the connection that was closed is free again: TIME_WAIT is over, or tcp_tw_reuse lets go of it.",
    )
