"""C11: thousands of connections in TIME_WAIT on an HTTP server."""

from __future__ import annotations

from ustack.lab import Lab, LabSocket, question
from ustack.trace import Moved

GET = b"GET / HTTP/1.1\r\nHost: server\r\n\r\n"
GET_CLOSE = b"GET / HTTP/1.1\r\nHost: server\r\nConnection: close\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n"
ANSWER_CLOSE = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n"


class HttpConnection:
    """The least that an HTTP server does. It keeps the connection, until one of its three reasons to close."""

    def __init__(self, served: LabSocket, idle: float, most: int) -> None:
        self.served, self.most, self.count = served, most, 0
        served.settimeout(idle)  # the keep-alive timeout

    def handle(self) -> bool:
        """One request; False: the connection is closed."""
        try:
            request = self.served.recv(4096)
        except TimeoutError:
            request = b""  # nothing came for so long
        self.count += 1
        is_last = not request or b"Connection: close" in request or self.count == self.most
        if request:
            self.served.sendall(ANSWER_CLOSE if is_last else ANSWER)
        if is_last:
            self.served.close()
        return not is_last


@question(
    "C11",
    "Why are there thousands of connections in TIME_WAIT on a server, and what helps?",
    "Clients ask an HTTP server for a page, in four ways: one request and then silence, until the server's "
    "keep-alive timeout of 75 s; with Connection: close; three requests each, which is the server's limit for a "
    "connection; and one request after which the client closes.",
    link="delay=1ms",
    kernel="server",
    options={"clients": "120", "idle": "75", "most": "3"},
    live={"clients": "20", "idle": "0.3", "delay": "10ms"},
    tries=("clients=20", "idle=5", "most=10"),
    next=("C5", "C6", "C8", "B12"),
)
def time_wait_on_a_server(lab: Lab) -> None:
    clients, idle, most = int(lab.option("clients")), float(lab.option("idle")), int(lab.option("most"))
    listener = lab.server.listen(80)

    server, client = visits(lab, listener, 1, [GET])
    lab.figure("keep-alive timeout: TIME_WAIT of server and client", f"{server}, {client}", "1, 0")
    said, closed = lab.flights(lab.server, text=True)[-1], lab.flights(lab.server, has="FIN")[-1]
    lab.figure(
        "silence before the server closes",
        lab.instant(closed) - lab.instant(said),
        idle,
        "s",
        within=lab.link.round_trip,
    )
    lab.say(
        lab.first(Moved, lab.server, after="TIME_WAIT"),
        "TIME_WAIT is with whoever closes first. A client that says nothing more is closed by the server, after its "
        "keep-alive timeout of {idle:g} s, and so the TIME_WAIT is the server's.",
        idle=idle,
    )
    server, client = visits(lab, listener, clients, [GET_CLOSE])
    lab.figure("Connection: close: TIME_WAIT of server and client", f"{server}, {client}", f"{clients}, 0")
    lab.say(
        server,
        "Connection: close makes the server close first for each request: {count} clients leave {count} TIME_WAIT, "
        "each for {length} s. A server with 500 such requests a second has {many:,}.",
        count=server,
        length=lab.server.settings.tcp_timewait_length,
        many=500 * lab.server.settings.tcp_timewait_length,
    )
    server, client = visits(lab, listener, clients, [GET] * most)
    lab.figure("limit of requests: TIME_WAIT of server and client", f"{server}, {client}", f"{clients}, 0")
    lab.say(
        server,
        "With keep-alive a connection serves more than one request. The server closes it after {most}, its limit for "
        "one connection: still one TIME_WAIT for each connection, but {most} times fewer for the same requests.",
        most=most,
    )
    server, client = visits(lab, listener, clients, [GET], "client")
    lab.figure("the client closes: TIME_WAIT of server and client", f"{server}, {client}", f"0, {clients}")
    lab.say(
        client,
        "If the client closes first, TIME_WAIT is on its side, spread over all clients. So what helps is to let "
        "connections live longer than their clients need them: no Connection: close, a high limit of requests.",
    )
    lab.say(
        lab.flights(lab.server, has="SYN ACK")[-1],
        "They do little harm: a TIME_WAIT costs a small record, holds no descriptor, and on the server no port "
        "either, as all share port 80. tcp_tw_reuse helps only who connects, which a server does not.",
    )


def visit(lab: Lab, listener: LabSocket, requests: list[bytes], who: str) -> None:
    """One client, who closes when the server does, or first."""
    client = lab.client.connect(lab.server, 80)
    connection = HttpConnection(listener.accept()[0], float(lab.option("idle")), int(lab.option("most")))
    for request in requests:
        client.sendall(request)
        is_open = connection.handle()
        client.recv(4096)
    if who == "client":
        client.close()
    while is_open:
        is_open = connection.handle()
    lab.settle()
    client.close()
    lab.settle()


def visits(lab: Lab, listener: LabSocket, count: int, requests: list[bytes], who: str = "server") -> tuple[int, int]:
    """So many; how many more are in TIME_WAIT then, on the server's side and on the client's."""
    before = [side.states().count("TIME_WAIT") for side in (lab.server, lab.client)]
    unseen = count if len(requests) > 1 else count - 1
    if unseen < count:
        visit(lab, listener, requests, who)
    if unseen:
        with lab.unseen("{count} clients, {requests} requests each", count=unseen, requests=len(requests)):
            for _ in range(unseen):
                visit(lab, listener, requests, who)
    after = [side.states().count("TIME_WAIT") for side in (lab.server, lab.client)]
    return after[0] - before[0], after[1] - before[1]
