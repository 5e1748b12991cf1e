"""What a sender spends its time on: busy, and of that held up by the peer's window (Linux's tcp_chrono_start).

A connection is busy while text or a FIN waits to be sent or to be acknowledged. How long it waited for room in the send
buffer (tcpi_sndbuf_limited) is not measured.
"""

from __future__ import annotations

from typing import Final

from ustack.tcp.tcb import Tcb

IDLE: Final = 0
BUSY: Final = 1
WINDOW: Final = 2


def move(tcb: Tcb, kind: int, now: int) -> None:
    """From ``now`` on (ns) the connection does ``kind``; what it did before is added up."""
    tcb.busy_ns = busy(tcb, now)
    tcb.rwnd_limited_ns = rwnd_limited(tcb, now)
    tcb.chrono_kind = kind
    tcb.chrono_since = now


def busy(tcb: Tcb, now: int) -> int:
    """All the time with something to send, ns."""
    return tcb.busy_ns + (now - tcb.chrono_since if tcb.chrono_kind != IDLE else 0)


def rwnd_limited(tcb: Tcb, now: int) -> int:
    """That part of it in which the peer's window had no room, ns."""
    return tcb.rwnd_limited_ns + (now - tcb.chrono_since if tcb.chrono_kind == WINDOW else 0)
