"""How much the application may write ahead: twice cwnd, within tcp_wmem (Linux's tcp_sndbuf_expand)."""

from __future__ import annotations

from ustack.tcp.sender.state import Sender


def grow(sender: Sender) -> None:
    """Let the send buffer follow the congestion window, unless SO_SNDBUF fixed it."""
    if sender.options.sndbuf:
        if sender.send_ring.capacity != sender.options.sndbuf:
            sender.send_ring.resize(sender.options.sndbuf)
        return
    most = sender.host.settings.tcp_wmem[2]
    capacity = sender.send_ring.capacity
    if capacity < most:
        wanted = 2 * max(sender.cwnd(), 10 * sender.snd_mss)
        if wanted > capacity:
            sender.send_ring.resize(min(wanted, most))
