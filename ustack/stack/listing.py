"""What ``ss -tan`` shows of a Stack: every TCP socket with its queues, and since when it has been in its state."""

from __future__ import annotations

from typing import Final

from ustack.memory import PAGE
from ustack.stack.ip import Ip
from ustack.stack.tcp_layer import TcpLayer
from ustack.tcp.connection.connection import Connection
from ustack.tcp.state import State
from ustack.udp import UdpTable
from ustack.units import SECOND
from ustack.wire.address import ANY, ANY_V4, format_address, is_v4

_NAMES: Final = {State.ESTABLISHED: "ESTAB", State.SYN_RECEIVED: "SYN-RECV", State.CLOSED: "UNCONN"}
"""Where ``ss`` does not write the RFC's name."""


class SocketRow:
    """One TCP socket. ``local`` and ``remote`` are addresses of 16 bytes with their ports.

    ``recv_q`` and ``send_q`` are bytes unread and bytes unacknowledged; of a listener the connections that wait for
    accept() and how many may. ``since``: the instant it came into its state, ns; -1 for a listener.
    """

    def __init__(
        self,
        state: State,
        queues: tuple[int, int],
        local: tuple[bytes, int],
        remote: tuple[bytes, int],
        since: int,
    ) -> None:
        self.state = state
        self.recv_q = queues[0]
        self.send_q = queues[1]
        self.local = local
        self.remote = remote
        self.since = since
        self.connection: Connection | None = None
        """The connection that the row is of; None: a listener, a request, or TIME-WAIT."""

    def line(self, now: int) -> str:
        """As ``ss`` writes it, and how many seconds it has lasted."""
        ends = f"{_end_text(self.local)} {_end_text(self.remote)}"
        lasted = "" if self.since < 0 else f" for {(now - self.since) / SECOND:.3f} s"
        return f"{state_name(self.state)} {self.recv_q} {self.send_q} {ends}{lasted}"


def state_name(state: State) -> str:
    """``ss``'s name of a state."""
    return _NAMES.get(state) or state.name.replace("_", "-")


def sockets(tcp: TcpLayer) -> list[SocketRow]:
    """All of them: listeners, handshakes that are not done, connections, TIME-WAIT; in each the oldest first."""
    rows = []
    for group in tcp.listeners.values():
        for listener in group:
            queues = len(listener.queue), listener.backlog
            anybody = ANY_V4 if is_v4(listener.address) else ANY
            rows.append(SocketRow(State.LISTEN, queues, (listener.address, listener.port), (anybody, 0), -1))
            for request in listener.requests.values():
                rows.append(_row_of_key(State.SYN_RECEIVED, request.key, request.created_at))
    for one in tcp.connections.values():
        queues = one.unread(), one.unacknowledged()
        row = SocketRow(one.state, queues, one.local, one.remote, one.state_since)
        row.connection = one
        rows.append(row)
    for waiting in tcp.time_waits.values():
        rows.append(_row_of_key(State.TIME_WAIT, waiting.key, waiting.since))
    return rows


def sockstat(tcp: TcpLayer, udp: UdpTable, ip: Ip) -> str:
    """What ``/proc/net/sockstat`` says: sockets in use and what they hold; ``mem`` counts pages."""
    established = [one for one in tcp.connections.values() if not one.orphan]
    listening = sum(len(group) for group in tcp.listeners.values())
    in_use = len(established) + listening
    orphans, waiting = tcp.host.orphans, len(tcp.time_waits)
    pending, held = ip.fragments_held()
    return (
        f"sockets: used {in_use + len(udp)}\n"
        f"TCP: inuse {in_use} orphan {orphans} tw {waiting} alloc {in_use + orphans} mem {tcp.host.memory.pages()}\n"
        f"UDP: inuse {len(udp)} mem {-(-udp.queued() // PAGE)}\n"
        f"FRAG: inuse {pending} memory {held}\n"
    )


def _row_of_key(state: State, key: bytes, since: int) -> SocketRow:
    local = key[16:32], int.from_bytes(key[34:36], "big")
    remote = key[0:16], int.from_bytes(key[32:34], "big")
    return SocketRow(state, (0, 0), local, remote, since)


def _end_text(end: tuple[bytes, int]) -> str:
    address, port = end
    text = format_address(address)
    return f"{text}:{port or '*'}" if is_v4(address) else f"[{text}]:{port or '*'}"
