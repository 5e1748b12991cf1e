"""Which congestion control a connection uses."""

from __future__ import annotations

from ustack import congestion
from ustack.tcp.sender.state import Sender


def change(sender: Sender) -> None:
    """Another algorithm takes over where the window stands."""
    before = sender.congestion
    sender.congestion = make_control(sender)
    if before is not None:
        sender.congestion.cwnd = before.cwnd
        sender.congestion.ssthresh = before.ssthresh


def make_control(sender: Sender) -> congestion.CongestionControl:
    """The congestion control that the socket or the Stack names (TCP_CONGESTION, tcp_congestion_control)."""
    mss = sender.snd_mss
    initial = sender.host.settings.tcp_init_cwnd * mss
    own = sender.options.congestion_class
    if own is not None:
        control = own(mss, initial)  # type: ignore[operator]
        if not isinstance(control, congestion.CongestionControl):
            raise TypeError("a congestion control is a subclass of ustack.congestion.CongestionControl")
        return control
    name = sender.options.congestion or sender.host.settings.tcp_congestion_control
    return congestion.create(name, mss, initial)
