"""A Stack's TCP sockets in the formats of Linux's tools: ``ss -tan``, its ``-o`` and ``-i``, and ``/proc/net/tcp``.

Columns, names and units are those of iproute2's ss and of the kernel's ``tcp4_seq_show``.
"""

from __future__ import annotations

from typing import Final

from ustack.congestion.base import INFINITE_SSTHRESH
from ustack.stack.listing import SocketRow, sockets, state_name
from ustack.stack.tcp_layer import TcpLayer
from ustack.tcp.connection.connection import Connection
from ustack.tcp.connection.info import OPT_ECN, OPT_SACK, OPT_TIMESTAMPS, OPT_WSCALE, TcpInfo
from ustack.tcp.state import State
from ustack.tcp.timers import OFF, LossTimer, Timer
from ustack.units import MILLISECOND
from ustack.wire.address import flow_key, format_address, is_v4

_HEADS: Final = ("State", "Recv-Q", "Send-Q", "Local Address:", "Port", "Peer Address:", "Port", "Process")
_NUMBERS: Final = {State.ESTABLISHED: 1, State.SYN_SENT: 2, State.SYN_RECEIVED: 3, State.FIN_WAIT_1: 4,
                   State.FIN_WAIT_2: 5, State.TIME_WAIT: 6, State.CLOSED: 7, State.CLOSE_WAIT: 8, State.LAST_ACK: 9,
                   State.LISTEN: 10, State.CLOSING: 11}  # fmt: skip
"""Linux's numbers of the states (include/net/tcp_states.h)."""
_TIMER_NAMES: Final = ("off", "on", "keepalive", "timewait", "persist")


class Running:
    """The timer that ss shows: its kind (0 none, 1 resending, 2 keepalive, 3 TIME-WAIT, 4 probing), ms left, tries."""

    def __init__(self, kind: int = 0, left: int = 0, tries: int = 0) -> None:
        self.kind = kind
        self.left = left
        self.tries = tries

    def text(self) -> str:
        """``timer:(on,200ms,0)``; nothing where none runs."""
        return f"timer:({_TIMER_NAMES[self.kind]},{_ms_text(self.left)},{self.tries})" if self.kind else ""


def _ms_text(left: int) -> str:
    """As ss writes it (print_ms_timer): ``119min``, ``59sec``, ``1.200ms`` is 1.2 s."""
    minutes, rest = divmod(left, 60_000)
    seconds, milliseconds = divmod(rest, 1000)
    text = f"{minutes}min" if minutes else ""
    milliseconds = 0 if minutes or seconds > 9 else milliseconds
    seconds = 0 if minutes > 9 else seconds
    if seconds:
        text += f"{seconds}{'.' if milliseconds else 'sec'}"
    return text + (f"{milliseconds:03}ms" if milliseconds else "")


def timer_of(tcp: TcpLayer, row: SocketRow, now: int) -> Running:
    """What runs for a socket (Linux's inet_csk_diag_fill and get_tcp4_sock)."""
    if row.connection is not None:
        return _of_connection(row.connection, now)
    key = flow_key(*row.remote, *row.local)
    if row.state is State.TIME_WAIT and key in tcp.time_waits:
        return Running(3, _left(tcp.time_waits[key].deadline, now))
    listener = tcp.listener_of(key) if row.state is State.SYN_RECEIVED else None
    request = listener.requests.get(key) if listener is not None else None
    return Running(1, _left(request.deadline, now), request.resends) if request is not None else Running()


def _of_connection(connection: Connection, now: int) -> Running:
    at = connection.timers.at
    if at[Timer.RETRANSMIT] != OFF:
        info = TcpInfo(connection, now)
        if connection.timers.loss is LossTimer.PROBE:
            return Running(4, _left(at[Timer.RETRANSMIT], now), info.tcpi_probes)
        return Running(1, _left(at[Timer.RETRANSMIT], now), info.tcpi_retransmits)
    for timer in (Timer.KEEPALIVE, Timer.LINGER):
        if at[timer] != OFF:
            return Running(2 if timer is Timer.KEEPALIVE else 3, _left(at[timer], now))
    return Running()


def _left(at: int, now: int) -> int:
    return max((at - now) // MILLISECOND, 0)


def ss(tcp: TcpLayer, now: int, *, timers: bool = False, info: bool = False, listening: bool = False) -> list[str]:
    """``ss -tan``: a head and a line for each socket. ``timers``: with ``-o``; ``info``: with ``-i``, a second line;
    ``listening``: ``ss -lnt``, listeners only."""
    rows = [row for row in sockets(tcp) if row.state is State.LISTEN or not listening]
    table: list[tuple[str, ...]] = [_HEADS]
    for row in rows:
        ends = [(format_address(address) if is_v4(address) else f"[{format_address(address)}]", str(port or "*"))
                for address, port in (row.local, row.remote)]  # fmt: skip
        process = timer_of(tcp, row, now).text() if timers else ""
        table.append((state_name(row.state), str(row.recv_q), str(row.send_q), ends[0][0] + ":", ends[0][1],
                      ends[1][0] + ":", ends[1][1], process))  # fmt: skip
    lines = [_line(cells, table) for cells in table]
    if not info:
        return lines
    shown = lines[:1]
    for row, line in zip(rows, lines[1:], strict=True):
        shown += [line, "\t " + info_text(row.connection, now)] if row.connection is not None else [line]
    return shown


def _line(cells: tuple[str, ...], table: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in table) for column in range(len(_HEADS))]
    state, recv_q, send_q, local, local_port, peer, peer_port, process = (
        cell.rjust(width) if column in (3, 5) else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return f"{state} {recv_q} {send_q} {local}{local_port} {peer}{peer_port} {process}".rstrip()


def info_text(connection: Connection, now: int) -> str:
    """The second line of ``ss -i``: milliseconds for rto, rtt and ato, segments for cwnd and ssthresh."""
    found = TcpInfo(connection, now)
    options = found.tcpi_options
    control = connection.sender.congestion
    words = [name for bit, name in ((OPT_TIMESTAMPS, "ts"), (OPT_SACK, "sack"), (OPT_ECN, "ecn")) if options & bit]
    words.append(control.name if control is not None else connection.host.settings.tcp_congestion_control)
    if options & OPT_WSCALE:
        words.append(f"wscale:{found.tcpi_snd_wscale},{found.tcpi_rcv_wscale}")
    words.append(f"rto:{found.tcpi_rto / 1000:g} rtt:{found.tcpi_rtt / 1000:g}/{found.tcpi_rttvar / 1000:g}")
    words += [f"ato:{found.tcpi_ato / 1000:g}"] if found.tcpi_ato else []
    words.append(f"mss:{found.tcpi_snd_mss} pmtu:{found.tcpi_pmtu} rcvmss:{found.tcpi_rcv_mss}")
    words.append(f"advmss:{found.tcpi_advmss} cwnd:{found.tcpi_snd_cwnd}")
    if found.tcpi_snd_ssthresh < INFINITE_SSTHRESH:
        words.append(f"ssthresh:{found.tcpi_snd_ssthresh}")
    for name in ("bytes_sent", "bytes_retrans", "bytes_acked", "bytes_received", "segs_out", "segs_in",
                 "data_segs_out", "data_segs_in"):  # fmt: skip
        count = getattr(found, f"tcpi_{name}")
        words += [f"{name}:{count}"] if count else []
    for label, name in (("pacing_rate ", "pacing_rate"), ("delivery_rate ", "delivery_rate")):
        rate = getattr(found, f"tcpi_{name}")
        words += [f"{label}{rate * 8}bps"] if rate else []
    for name in ("unacked", "lost", "sacked"):
        count = getattr(found, f"tcpi_{name}")
        words += [f"{name}:{count}"] if count else []
    words.append(f"rcv_space:{found.tcpi_rcv_space} rcv_ssthresh:{found.tcpi_rcv_ssthresh}")
    return " ".join([*words, f"snd_wnd:{found.tcpi_snd_wnd}"])


def proc_net_tcp(tcp: TcpLayer, now: int) -> list[str]:
    """``/proc/net/tcp`` (IPv4): hexadecimal, addresses in the byte order of the machine; jiffies of 10 ms.

    Where Linux says who owns a socket (uid, inode, reference count, pointer) there are zeros."""
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
    lines = [head]
    for row in sockets(tcp):
        if not is_v4(row.local[0]):
            continue
        timer = timer_of(tcp, row, now)
        ends = " ".join(f"{address[:11:-1].hex().upper()}:{port:04X}" for address, port in (row.local, row.remote))
        queues = f"{0 if row.state is State.LISTEN else row.send_q:08X}:{row.recv_q:08X}"
        when = f"{timer.kind:02X}:{timer.left // 10:08X} {timer.tries:08X}"
        lines.append(f"{len(lines) - 1:4}: {ends} {_NUMBERS[row.state]:02X} {queues} {when} {0:5} {0:8} 0")
    return lines
