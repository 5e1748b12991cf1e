"""The maximum segment size: what we announce, and what we send (RFC 9293 section 3.7.1)."""

from __future__ import annotations

from ustack.tcp.constants import DEFAULT_MSS_V4, TIMESTAMP_SPACE
from ustack.tcp.sender.state import Sender


def own_mss(sender: Sender) -> int:
    """The MSS that our SYN announces: what one packet of the interface carries (RFC 9293 section 3.7.1, MUST-67)."""
    mss = sender.path.mtu - sender.flow.header_bytes()
    if sender.options.maxseg:
        mss = min(mss, sender.options.maxseg)
    return min(mss, 65535)


def bound_peer_mss(sender: Sender) -> None:
    """TCP_MAXSEG bounds what the peer's SYN announced (Linux's tcp_parse_options)."""
    if sender.options.maxseg:
        sender.agreed.bound_mss(sender.options.maxseg)


def take_path(sender: Sender, mtu: int) -> None:
    """Packets of ``mtu`` bytes reach the peer from now on: segments become as long."""
    sender.path.mtu = mtu
    settle_mss(sender)


def look_up(sender: Sender, mtu: int, version: int, until: int) -> None:
    """The Stack says what the path carries: ``version`` of all its news, which counts ``until`` (ns, 0: for ever)."""
    sender.path.version = version
    sender.path.until = until
    if mtu != sender.path.mtu:
        take_path(sender, mtu)


def settle_mss(sender: Sender) -> None:
    """The effective send MSS (RFC 9293 section 3.7.1, MUST-16).

    The lesser of the peer's and the path's, less the options on every segment, at most half the largest window seen
    (RFC 1122 section 4.2.3.4). TCP_MAXSEG counts where the MSS is agreed upon, and not later (``bound_peer_mss``)."""
    floor = sender.host.settings.tcp_min_snd_mss
    mss = max(min(sender.agreed.peer_mss, sender.path.mtu - sender.flow.header_bytes()), floor)
    if sender.agreed.ts_on:
        mss -= TIMESTAMP_SPACE
    cutoff = sender.max_window >> 1 if sender.max_window > DEFAULT_MSS_V4 else sender.max_window
    if cutoff and mss > cutoff:
        mss = max(cutoff, 68 - sender.flow.header_bytes() + 20)
    mss = max(mss, 1)
    sender.scoreboard.mss = mss
    sender.prr.mss = mss
    sender.pacer.mss = mss
    if mss != sender.snd_mss:
        sender.snd_mss = mss
        if sender.congestion is not None:
            sender.congestion.on_mss(mss)
