"""How much the application may write ahead: twice cwnd, within tcp_wmem (Linux's tcp_sndbuf_expand)."""

from __future__ import annotations

from ustack.tcp.tcb import Tcb


def grow(tcb: Tcb) -> None:
    """Let the send buffer follow the congestion window, unless SO_SNDBUF fixed it."""
    if tcb.options.sndbuf:
        if tcb.send_ring.capacity != tcb.options.sndbuf:
            tcb.send_ring.resize(tcb.options.sndbuf)
        return
    most = tcb.env.settings.tcp_wmem[2]
    capacity = tcb.send_ring.capacity
    if capacity < most:
        wanted = 2 * max(tcb.cwnd(), 10 * tcb.snd_mss)
        if wanted > capacity:
            tcb.send_ring.resize(min(wanted, most))
