"""What must be true of a Stack whenever it rests: nothing left to send, every frame taken.

Each check reads the Stack's own tables and compares them with what can be counted anew.
"""

from __future__ import annotations

from collections import Counter

from ustack.recovery.sent import Sent, segments_of
from ustack.stack.stack import Stack
from ustack.tcp.connection.connection import Connection
from ustack.tcp.owed import OWE_ACK, OWE_KEEPALIVE, OWE_RST, OWE_SYN, OWE_WINDOW_PROBE
from ustack.tcp.state import State
from ustack.tcp.timers import OFF, Timer

OPEN = (State.ESTABLISHED, State.CLOSE_WAIT)
SENDING = (State.ESTABLISHED, State.CLOSE_WAIT, State.FIN_WAIT_1, State.CLOSING, State.LAST_ACK)


class BreachError(AssertionError):
    """An invariant does not hold. ``name`` says which, in few words that stay the same from case to case."""

    def __init__(self, name: str, details: object = "") -> None:
        super().__init__(f"{name}: {details}")
        self.name = name


def require(holds: bool, name: str, details: object = "") -> None:
    """Raises BreachError unless ``holds``."""
    if not holds:
        raise BreachError(name, details)


def check_stack(stack: Stack, now: int) -> None:
    """Everything about a Stack at rest."""
    tcp = stack.tcp
    require(not stack.host.touched, "touched queue not empty", stack.host.touched)
    require(not stack.host.outbox and not stack.looped, "output left behind")
    for key, connection in tcp.connections.items():
        require(connection.flow.key == key, "a connection under a wrong key")
        check_connection(connection)
        deadline = connection.next_deadline()
        if deadline:
            first = stack.next_deadline()
            require(first is not None and first <= deadline, "deadline unknown to the stack", connection)
    for waiting in tcp.time_waits.values():
        first = stack.next_deadline()
        require(first is not None and first <= waiting.deadline, "TIME-WAIT that the stack forgot")
    check_counts(stack)
    check_listeners(stack)


def check_counts(stack: Stack) -> None:
    """Gauges and tables agree; what is bounded stays within bounds."""
    tcp, settings = stack.tcp, stack.settings
    connections = list(tcp.connections.values())
    orphans = sum(connection.orphan for connection in connections)
    require(stack.host.orphans == orphans, "orphans miscounted", (stack.host.orphans, orphans))
    established = sum(connection.state in OPEN for connection in connections)
    gauge = stack.counters["TcpCurrEstab"]
    require(gauge == established, "TcpCurrEstab miscounted", (gauge, established))
    require(len(tcp.time_waits) <= settings.tcp_max_tw_buckets, "too many TIME-WAITs")
    waiting = len(connections) + len(tcp.time_waits) + len(tcp.listeners)
    bound = 140 + 2 * waiting
    require(len(stack.deadlines) <= bound, "heap of deadlines grows", (len(stack.deadlines), waiting))
    for queues in (stack.ip._v4, stack.ip._v6):
        require(queues.memory <= settings.ipfrag_high_thresh + 65536 + 576, "fragments beyond the bound")
        require(len(queues) * 576 <= queues.memory or not len(queues), "fragment queues that cost nothing")
    users: Counter[int] = Counter(c.flow.local_port for c in connections)
    users.update(int.from_bytes(key[34:36], "big") for key in tcp.time_waits)
    for port, count in stack.ports.users.items():
        require(0 < count <= users[port], "port used by nobody", port)


def check_listeners(stack: Stack) -> None:
    """SYN queues and accept queues are bounded, and somebody looks after them."""
    for group in stack.tcp.listeners.values():
        for listener in group:
            require(len(listener.queue) <= listener.backlog + 1, "accept queue beyond the backlog")
            most = max(listener.backlog, 1) if stack.settings.tcp_syncookies else stack.settings.tcp_max_syn_backlog
            most += 32  # a SYN that TIME-WAIT lets through always has a place
            require(len(listener.requests) <= most, "SYN queue beyond the bound", len(listener.requests))
            if listener.requests:
                first = stack.next_deadline()
                require(listener.deadline != 0 and first is not None, "requests without a timer")
                require(first is not None and first <= listener.deadline, "a listener that the stack forgot")


def check_connection(connection: Connection) -> None:
    """One connection that has nothing to send now."""
    c = connection
    require(c.state not in (State.CLOSED, State.TIME_WAIT, State.LISTEN), "a dead connection in the table", c)
    require(
        (not c.is_touched and not c.owed.has(OWE_ACK)) or c.state is State.SYN_SENT,
        "an ACK is owed and nobody sends it",
        c,
    )
    require(
        not (c.owed.has(OWE_SYN) or c.owed.has(OWE_RST) or c.owed.has(OWE_WINDOW_PROBE) or c.owed.has(OWE_KEEPALIVE)),
        "owed and not sent",
        c,
    )
    require(
        c.sender.iss <= c.sender.snd_una <= c.sender.snd_nxt <= c.sender.stream_end(), "send sequence", _sequence(c)
    )
    require(
        c.sender.scoreboard.una == c.sender.snd_una and c.sender.scoreboard.highest_sent == c.sender.snd_nxt,
        "board and connection differ",
        _sequence(c),
    )
    require(c.receiver.rcv_wnd >= 0 and c.receiver.receive_window() >= 0, "negative window")
    require(1 <= c.sender.snd_mss <= 65535, "senseless MSS", c.sender.snd_mss)
    if c.state is not State.SYN_SENT:
        require(
            c.sender.prr.mss == c.sender.pacer.mss == c.sender.snd_mss,
            "not everybody knows the MSS",
            (c.sender.snd_mss, c.sender.pacer.mss),
        )
    control = c.sender.congestion
    require(control is None or control.cwnd >= 1, "empty congestion window", control)
    check_rings(c)
    check_board(c)
    check_timers(c)


def _sequence(c: Connection) -> str:
    sender, board = c.sender, c.sender.scoreboard
    iss = sender.iss
    return (
        f"{c} una {sender.snd_una - iss} nxt {sender.snd_nxt - iss} end {sender.stream_end() - iss}"
        f" board {board.una - iss}..{board.highest_sent - iss}"
    )


def check_rings(c: Connection) -> None:
    """The rings hold what the sequence numbers say, within their capacity."""
    send, receive = c.sender.send_ring, c.receiver.receive_ring
    require(send.free() >= 0 or send.end - send.start <= 2 * c.host.settings.tcp_wmem[2], "send ring overflows")
    if c.state is not State.SYN_SENT and c.state is not State.SYN_RECEIVED:
        wanted = min(max(c.sender.snd_una - c.sender.iss - 1, 0), send.end)
        require(send.start == wanted, "send ring and snd_una differ", (send.start, wanted))
        advanced = c.receiver.irs + 1 + receive.end + (1 if c.receiver.fin_received else 0)
        require(c.receiver.rcv_nxt == advanced, "receive ring and rcv_nxt differ", (c.receiver.rcv_nxt, advanced))
    fits = receive.readable() <= receive.capacity or c.options.rcvbuf  # a buffer made smaller keeps what it has
    require(bool(fits), "receive ring overflows", receive.readable())
    top = receive.end
    for start, end in receive.blocks():
        require(top < start < end, "blocks of the receive ring", receive.blocks())
        fits = end <= receive.start + receive.capacity or c.options.rcvbuf
        require(bool(fits), "text beyond the receive ring", receive.blocks())
        top = end
    require(len(c.receiver.recent_blocks) <= 64, "recent blocks unbounded")
    require(bool(c.receiver.recent_blocks) or not receive.blocks(), "a gap that SACK forgot", receive.blocks())
    pushes = len(c.sender.marks.pushes)
    require(pushes <= c.sender.snd_nxt - c.sender.snd_una, "pushes unbounded", pushes)


def check_board(c: Connection) -> None:
    """The scoreboard's counts are those of its records."""
    board = c.sender.scoreboard
    records = board.sent_list.live()
    at = board.una
    for record in records:
        require(record.start == at < record.end, "records do not adjoin", (at, record.start, record.end))
        require(not (record.sacked and record.lost), "sacked and lost")
        at = record.end
    require(at == board.highest_sent, "records end early", (at, board.highest_sent))
    lost = sum(r.end - r.start for r in records if r.lost)
    resent = sum(r.end - r.start for r in records if r.resent and not r.sacked)
    sacked = sum(r.end - r.start for r in records if r.sacked)
    require(board.lost_bytes == lost, "lost bytes miscounted", (board.lost_bytes, lost))
    require(board.retransmitted_bytes == resent, "resent bytes miscounted", (board.retransmitted_bytes, resent))
    pending = sum(r.end - r.start for r in records if r.lost and not r.resent)
    require(board._pending == pending, "pending bytes miscounted", (board._pending, pending))
    if board.enable_sack:
        require(board.sacked_bytes == sacked, "sacked bytes miscounted", (board.sacked_bytes, sacked))
    require(board.in_flight >= 0, "negative flight", board.in_flight)
    segs = (
        sum(segments_of(r) for r in records),
        sum(segments_of(r) for r in records if r.lost),
        sum(segments_of(r) for r in records if r.resent and not r.sacked),
    )
    counted = (board.out_segs, board.lost_segs, board.retrans_segs)
    require(counted == segs, "segments miscounted", (counted, segs))
    require(board.segs_in_flight >= 0, "negative flight", board.segs_in_flight)
    if pending:
        found = board.next_lost()
        require(found is not None, "lost, but next_lost does not know it", pending)
    _check_time_order(board.sent_list.oldest, records)


def _check_time_order(record: Sent | None, records: list[Sent]) -> None:
    linked = set()
    before = -1
    while record is not None:
        require(record.sent_at >= before, "order by time broken", (before, record.sent_at))
        before = record.sent_at
        linked.add(id(record))
        record = record.newer
    flying = {id(r) for r in records if not r.sacked and not (r.lost and not r.resent)}
    require(linked == flying, "list by time holds others than what flies", (len(linked), len(flying)))


def check_timers(c: Connection) -> None:
    """A connection that waits for something has a timer that ends the waiting."""
    timers = c.timers
    if not c.sender.scoreboard.is_empty:
        require(timers.is_armed(Timer.RETRANSMIT), "in flight without a timer", c)
    elif c.sender.unsent() > 0 and c.state in SENDING:
        armed = timers.is_armed(Timer.RETRANSMIT) or timers.is_armed(Timer.PACING)
        require(armed, "unsent text without a timer", (c, c.sender.unsent(), c.sender.snd_wnd))
    if c.state is State.FIN_WAIT_2 and c.orphan:
        require(timers.at[Timer.LINGER] != OFF, "an orphan in FIN-WAIT-2 for ever", c)
    if c.receiver.acks.scheduled and c.state is not State.SYN_SENT:
        require(timers.is_armed(Timer.DELAYED_ACK), "an ACK is scheduled and no timer runs", c)
    if c.options.keepalive and c.state in OPEN:
        require(timers.is_armed(Timer.KEEPALIVE), "keepalive without a timer", c)


def check_empty(stack: Stack) -> None:
    """All is over: every connection has gone, no timer is armed, no port is held."""
    require(not stack.tcp.connections, "connections left behind", list(stack.tcp.connections.values()))
    require(not stack.tcp.time_waits, "TIME-WAITs left behind")
    require(stack.next_deadline() is None, "a timer left armed", stack.next_deadline())
    require(not stack.ports.users, "ports still used", stack.ports.users)
    require(not stack.ports.bound, "ports still bound", stack.ports.bound)
    require(not stack.tcp.listeners, "listeners left behind")
    require(stack.host.orphans == 0, "orphans left", stack.host.orphans)
    require(stack.ip._v4.memory == 0 and stack.ip._v6.memory == 0, "fragments left behind")
