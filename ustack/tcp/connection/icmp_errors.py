"""ICMP errors about a connection (RFC 9293 section 3.9.2.2, RFC 5461, RFC 5927), as Linux's ``tcp_v4_err`` takes them.

The Stack has found the connection by the quoted addresses and ports; here the quoted sequence number must lie
in flight, or the error is an attacker's guess.
"""

from __future__ import annotations

from typing import Final

from ustack.drops import Drop
from ustack.events import EventKind
from ustack.seqnum import unwrap
from ustack.sockopts import PMTUDISC_DONT
from ustack.tcp.connection import closing
from ustack.tcp.connection.tcb import Tcb
from ustack.tcp.owed import OWE_SYN
from ustack.tcp.sender import mss, refusals
from ustack.tcp.state import State
from ustack.wire.address import is_v4

MIN_PMTU_V4: Final = 552
"""Linux's ip_rt_min_pmtu: a smaller one is an attack."""
MIN_PMTU_V6: Final = 1280


def _is_in_flight(tcb: Tcb, wire_seq: int) -> bool:
    first = tcb.sender.iss if tcb.is_opened_early() else tcb.sender.snd_una  # the SYN-ACK of a Fast Open child
    if first <= unwrap(wire_seq, tcb.sender.snd_una) <= tcb.sender.snd_nxt:
        return True
    tcb.host.counters.drop(Drop.ICMP_OUT_OF_WINDOW)
    return False


def take_unreachable(tcb: Tcb, wire_seq: int, code: int, now: int) -> None:
    """Destination unreachable, time exceeded, parameter problem: errno ``code``.

    An unfinished open fails with it; a synchronized connection goes on (MUST-56) and remembers it for the day it
    gives up, or reports it at once with IP_RECVERR.
    """
    if not _is_in_flight(tcb, wire_seq):
        return
    is_taken_child = tcb.is_opened_early() and not tcb.in_accept_queue  # as good as synchronized, for Linux
    if (tcb.state is State.SYN_SENT or tcb.state is State.SYN_RECEIVED) and not is_taken_child:
        closing.give_up(tcb, code, now)
        return
    wants_all = tcb.options.recverr if is_v4(tcb.flow.remote_address) else tcb.options.recverr6
    if wants_all:
        tcb.error = code
        tcb.host.tell(EventKind.ERROR, tcb)
    else:
        refusals.remember_error(tcb.sender, code)


def take_too_big(tcb: Tcb, wire_seq: int, mtu: int, now: int) -> bool:
    """Fragmentation needed, packet too big: segments must shrink to ``mtu`` (RFC 1191, RFC 8201).

    False: not believed. True: the path's MTU may be remembered; what no longer fits is sent again at once, without
    touching the congestion window (Linux's tcp_simple_retransmit).
    """
    v4 = is_v4(tcb.flow.remote_address)
    own = tcb.options.mtu_discover if v4 else tcb.options.mtu_discover6
    if not _is_in_flight(tcb, wire_seq) or (v4 and own == PMTUDISC_DONT):
        return False
    mtu = max(mtu, MIN_PMTU_V4 if v4 else MIN_PMTU_V6)
    if mtu >= tcb.sender.path.mtu:
        return False
    before = tcb.sender.snd_mss
    mss.take_path(tcb.sender, mtu)
    if tcb.sender.snd_mss < before and not tcb.sender.scoreboard.is_empty and tcb.state is not State.SYN_SENT:
        tcb.sender.scoreboard.mark_oversized(tcb.sender.marks.cuts)
        _resend(tcb, now)
    elif tcb.state is State.SYN_SENT and tcb.fast_open is not None and tcb.fast_open.text_sent:
        tcb.agreed.announce(mss.own_mss(tcb.sender), tcb.agreed.rcv_wscale, tcb.agreed.ts_offset)
        tcb.offer.advertised_mss = tcb.agreed.advertised_mss
        tcb.owed.add(OWE_SYN)  # the SYN alone; its text follows the answer
        resend_without_congestion(tcb, now)
    return True


def resend_without_congestion(tcb: Tcb, now: int) -> None:
    """All that is out was refused, not lost: send it again, without touching the congestion window."""
    tcb.sender.scoreboard.mark_all_lost()
    _resend(tcb, now)


def _resend(tcb: Tcb, now: int) -> None:
    refusals.resend(tcb.sender, now)
    tcb.touch()
