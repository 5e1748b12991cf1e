"""Flows of bulk text in the lab, and what their views tell of congestion control.

A view's snapshot has what a plot needs: cwnd, ssthresh, in_flight and snd_una in bytes, srtt in ns, pacing_rate in
bytes a second, ca_state. ``Lab.unseen(..., every=0.02)`` samples them; ``Report.waiting`` has the bottleneck's queue.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from itertools import groupby, pairwise

from ustack.lab.report import View
from ustack.lab.side import LabSocket, Side
from ustack.units import SECOND

SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33


def listen_to_flows(side: Side, port: int = 80) -> LabSocket:
    """A listener whose connections have room for all that comes: nobody needs to read."""
    listener = side.socket()
    listener.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
    listener.bind(("", port))
    listener.listen(128)
    return listener


def start_flow(side: Side, to: Side, control: str, local_port: int, size: int = 4_000_000) -> LabSocket:
    """A flow of ``size`` bytes with this congestion control. Its send buffer holds all of it."""
    flow = side.socket()
    flow.bind(("", local_port))
    flow.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, control.encode())
    flow.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 2 * size)
    flow.connect((to.address, 80))
    flow.sendall(bytes(size))
    return flow


def stop_flow(flow: LabSocket) -> None:
    """Ends a flow at once, with a RST."""
    flow.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    flow.close()


def rate_of(views: Sequence[View]) -> float:
    """Bits a second of text that was acknowledged between the first view and the last."""
    acked = views[-1].snapshot.snd_una - views[0].snapshot.snd_una
    return acked * 8 * SECOND / (views[-1].at - views[0].at)


def jain(rates: Sequence[float]) -> float:
    """Jain's index of fairness: 1, all have the same; 1/n, one has all."""
    squares = sum(rate * rate for rate in rates)
    return sum(rates) ** 2 / (len(rates) * squares) if squares else 0.0


def slow_start_growth(views: Sequence[View]) -> float:
    """Bytes that cwnd grew for each byte that was acknowledged, before the first loss."""
    begin = [view.snapshot for view in views if view.snapshot.ssthresh < 0 and view.snapshot.snd_una > 1]
    return (begin[-1].cwnd - begin[0].cwnd) / (begin[-1].snd_una - begin[0].snd_una)


def avoidance_growth(views: Sequence[View]) -> float:
    """Segments that cwnd grew in a round trip, in the longest stretch of congestion avoidance."""

    def is_calm(view: View) -> bool:
        return view.snapshot.ca_state == "Open" and 0 < view.snapshot.ssthresh <= view.snapshot.cwnd

    stretches = [list(stretch) for calm, stretch in groupby(views, is_calm) if calm]
    longest = max(stretches, key=lambda stretch: stretch[-1].at - stretch[0].at)
    trips = sum((after.at - before.at) / before.snapshot.srtt for before, after in pairwise(longest))
    return (longest[-1].snapshot.cwnd - longest[0].snapshot.cwnd) / longest[0].snapshot.mss / trips


def left_by_loss(views: Sequence[View]) -> list[float]:
    """ssthresh as a part of what cwnd was before, for each fast recovery."""
    return [
        after.snapshot.ssthresh / before.snapshot.cwnd
        for before, after in pairwise(views)
        if after.snapshot.ca_state == "Recovery" != before.snapshot.ca_state
    ]


def left_by_timeout(views: Sequence[View]) -> float:
    """The smallest window after a timeout, segments."""
    return min(view.snapshot.cwnd / view.snapshot.mss for view in views if view.snapshot.ca_state == "Loss")
