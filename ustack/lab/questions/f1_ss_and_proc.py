"""F1: what ss and /proc/net/tcp show."""

from __future__ import annotations

import socket

from ustack.lab import Lab, question
from ustack.trace import Queued


@question(
    "F1",
    "What do ss, netstat and /proc/net/tcp tell about a connection?",
    "A server listens with a backlog of 2. One client's text waits unread; to a second the server has sent 5000 "
    "bytes, and the network loses the ACK; a third is closed already; a fourth waits for accept(). The second has "
    "SO_KEEPALIVE too. Then somebody looks.",
    kernel="server",
    options={"unread": "300", "backlog": "2"},
    tries=("unread=0", "backlog=5", "server.tcp_keepalive_time=60"),
    next=("B7", "C10", "D4"),
)
def ss_and_proc(lab: Lab) -> None:
    listener = lab.server.listen(80, int(lab.option("backlog")))
    clients, served = [], []
    for port in (40001, 40002, 40003):
        clients.append(lab.client.start_connecting(lab.server, 80, port))
        served.append(listener.accept()[0])
    lab.settle()
    lab.client.start_connecting(lab.server, 80, 40004)
    lab.settle()
    clients[0].sendall(bytes(int(lab.option("unread"))))
    lab.settle()
    served[2].close()
    lab.settle()
    clients[2].close()
    lab.settle()
    served[1].setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    lab.settle()
    before = lab.server.tool("ss -tano")
    lab.link.lose(lab.client, has="ACK")
    served[1].sendall(bytes(5000))
    lab.pass_time(0.025)

    listed = lab.show_listing(lab.server, "ss -tano")
    lab.show_listing(lab.server, "ss -lnt")
    lab.show_listing(lab.server, "ss -tani")
    lab.show_listing(lab.server, "cat /proc/net/tcp")
    lab.link.forget()
    lab.pass_time(0.3)
    columns = " ".join(listed[0].split())
    lab.figure("columns", columns, "State Recv-Q Send-Q Local Address:Port Peer Address:Port Process")
    rows = {row.split()[4].rpartition(":")[2]: row.split() for row in listed[1:]}
    lab.figure("LISTEN: Recv-Q, connections that wait for accept()", int(rows["*"][1]), 1)
    lab.figure(
        "LISTEN: Send-Q, the backlog", int(rows["*"][2]), int(lab.option("backlog")), rule="listen(2), somaxconn"
    )
    lab.figure("ESTAB: Recv-Q, bytes that nobody has read", int(rows["40001"][1]), int(lab.option("unread")), "bytes")
    lab.figure("ESTAB: Send-Q, bytes that are not acknowledged", int(rows["40002"][2]), 5000, "bytes")
    keepalive = next(row for row in before if ":40002" in row).split("keepalive,")[1].split(",")[0]
    left = lab.server.settings.tcp_keepalive_time - 0.1
    lab.figure("keepalive timer of a silent connection", keepalive,
               f"{int(left / 60)}min" if left > 600 else f"{int(left)}sec")  # fmt: skip
    _explain(lab, rows)


def _explain(lab: Lab, rows: dict[str, list[str]]) -> None:
    queued = lab.events(Queued, lab.server, queue="accept queue")
    lab.say(
        queued,
        "Of a listener Recv-Q and Send-Q are connections: those that wait for accept(), and how many may (the "
        "backlog). Recv-Q above Send-Q means that the queue is full.",
    )
    lab.say(
        lab.flights(lab.server, text=True),
        "Of a connection they are bytes: Recv-Q is what has arrived and the program has not read, so a number that "
        "stays points at the program; Send-Q is what the peer has not acknowledged, and points at the peer or the "
        "path.",
    )
    lab.say(
        "on" in " ".join(rows["40002"]),
        "With -o the timer stands beside it: on (resending, or a probe of the tail), persist (the peer's window is "
        "closed), keepalive, timewait; how long it still runs; and how often it has fired in vain.",
    )
    lab.say(
        "timewait" in " ".join(rows["40003"]),
        "TIME-WAIT has no process and no buffers any more, only a timer: it is listed here, but no program holds it.",
    )
    lab.say(
        lab.events(Queued, lab.server),
        "ss asks the kernel by netlink (sock_diag), and -i adds what TCP_INFO says: rto, rtt and its deviation, mss, "
        "cwnd, ssthresh, rates. netstat reads /proc/net/tcp: the same sockets in hexadecimal, state 0A is LISTEN, 01 "
        "is ESTABLISHED, 06 TIME_WAIT.",
    )
