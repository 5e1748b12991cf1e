"""What the sender, the receiver and the emitter of one connection all hold."""

from __future__ import annotations

from ustack.recovery.rtt import RttEstimator
from ustack.tcp.agreed import Agreed
from ustack.tcp.ecn import Ecn
from ustack.tcp.flow import Flow
from ustack.tcp.owed import Owed
from ustack.tcp.tcphost import TcpHost
from ustack.tcp.timers import Timers
from ustack.units import SECOND


class Common:
    """One for each connection. It has no behaviour: a place where the parts are given the same objects."""

    def __init__(self, host: TcpHost, flow: Flow) -> None:
        self.host = host
        self.flow = flow
        self.options = flow.options
        self.timers = Timers()
        self.owed = Owed()
        self.agreed = Agreed()
        self.ecn = Ecn()
        least, most = rto_bounds(host, flow)
        self.rtt = RttEstimator(least, most, min_rtt_window=host.settings.tcp_min_rtt_wlen * SECOND)
        """The round trip as both halves know it: the sender measures it, delayed ACKs are bounded by it."""


def rto_bounds(host: TcpHost, flow: Flow) -> tuple[int, int]:
    """Least and largest RTO, ns (TCP_RTO_MIN_US, TCP_RTO_MAX_MS, else the host's settings)."""
    options = flow.options
    settings = host.settings
    return options.rto_min_us * 1000 or settings.rto_min, options.rto_max_ms * 1_000_000 or settings.rto_max
