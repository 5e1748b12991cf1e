"""What a connection and a listener hold at one instant: compared before and after a step, and drawn by the lab."""

from __future__ import annotations

import dataclasses
from typing import Any

from ustack.congestion.base import INFINITE_SSTHRESH
from ustack.stack.tcp_layer import TcpLayer
from ustack.tcp.connection.connection import Connection
from ustack.tcp.sender import bursts
from ustack.tcp.state import State
from ustack.tcp.timers import OFF, LossTimer, Timer

_LOSS_NAMES = {
    LossTimer.RTO: "retransmission timer",
    LossTimer.PROBE: "zero-window probe timer",
    LossTimer.TAIL_LOSS: "tail loss probe timer",
    LossTimer.REORDERING: "reordering timer",
    LossTimer.SYN_ACK: "SYN-ACK timer",
}
_NAMES = {
    Timer.DELAYED_ACK: "delayed ACK timer",
    Timer.KEEPALIVE: "keepalive timer",
    Timer.LINGER: "FIN-WAIT-2 timer",
    Timer.PACING: "pacing timer",
    Timer.USER: "user timeout",
}
CA_NAMES = ("Open", "Disorder", "CWR", "Recovery", "Loss")
"""Linux's congestion states, by number."""


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A connection. Sequence numbers of ours are relative to our ISN, those of the peer to its; bytes; ns."""

    state: str
    snd_una: int
    snd_nxt: int
    snd_wnd: int
    rcv_nxt: int
    rcv_wnd: int
    cwnd: int
    ssthresh: int
    """-1: no loss seen yet."""
    pacing_rate: int
    """Bytes a second; 0: not paced."""
    ca_state: str
    in_flight: int
    lost: int
    srtt: int
    rttvar: int
    rto: int
    backoff: int
    mss: int
    control: str
    unsent: int
    unread: int
    beyond: int
    """One past the highest byte that is here, however many are missing before it."""
    unacked: int
    """Bytes that came in order since our last ACK."""
    rcv_mss: int
    """What counts as a full segment of the peer's."""
    quick_acks: bool
    """Each segment is acknowledged at once, for now."""
    fin_queued: bool
    orphan: bool
    error: int
    timers: dict[str, int]
    """Name: the instant at which it is due."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)


def of_connection(connection: Connection) -> Snapshot:
    """How it stands now."""
    sender, receiver = connection.sender, connection.receiver
    control = sender.congestion
    ssthresh = control.ssthresh if control is not None else INFINITE_SSTHRESH
    ring = receiver.receive_ring
    rcv_nxt = receiver.rcv_nxt - receiver.irs if receiver.irs else 0
    return Snapshot(
        state=connection.state.name,
        snd_una=sender.snd_una - sender.iss,
        snd_nxt=sender.snd_nxt - sender.iss,
        snd_wnd=sender.snd_wnd,
        rcv_nxt=rcv_nxt,
        rcv_wnd=max(receiver.rcv_wup + receiver.rcv_wnd - receiver.rcv_nxt, 0),
        cwnd=sender.cwnd(),
        ssthresh=-1 if ssthresh >= INFINITE_SSTHRESH else ssthresh,
        pacing_rate=bursts.rate(sender) if sender.pacer.rate else 0,
        ca_state=CA_NAMES[sender.ca_state],
        in_flight=sender.scoreboard.in_flight,
        lost=sender.scoreboard.lost_bytes,
        srtt=sender.rtt.srtt,
        rttvar=sender.rtt.rttvar,
        rto=sender.rtt.rto,
        backoff=sender.probing.backoff or sender.rtt.backoff,
        mss=sender.snd_mss,
        control=control.name if control is not None else "",
        unsent=max(sender.unsent(), 0),
        unread=ring.readable(),
        beyond=ring.top() + 1 if ring.has_gap() else rcv_nxt,
        unacked=receiver.rcv_nxt - receiver.rcv_wup if receiver.irs else 0,
        rcv_mss=receiver.rcv_mss,
        quick_acks=receiver.is_quickack(),
        fin_queued=sender.fin_queued,
        orphan=connection.orphan,
        error=connection.error,
        timers={} if connection.state in (State.CLOSED, State.TIME_WAIT) else timers_of(connection),
    )


def timers_of(connection: Connection) -> dict[str, int]:
    """The timers that run, by name, and when they are due (ns)."""
    running = {}
    for timer in Timer:
        at = connection.timers.at[timer]
        if at != OFF:
            name = _LOSS_NAMES.get(connection.timers.loss, "loss timer") if timer is Timer.RETRANSMIT else _NAMES[timer]
            running[name] = at
    return running


def state_of(tcp: TcpLayer, key: bytes) -> str:
    """The state of whatever this host has for a four-tuple (the 36 bytes of ``Segment.key``)."""
    connection = tcp.connections.get(key)
    if connection is not None:
        return connection.state.name
    if key in tcp.time_waits:
        return "TIME_WAIT"
    listener = tcp.listener_of(key)
    if listener is None:
        return "CLOSED"
    return "SYN_RECEIVED" if key in listener.requests else "LISTEN"
