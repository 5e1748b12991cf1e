"""Why: the sentence behind what is no TCP: datagrams, fragments, ICMP."""

from __future__ import annotations

from ustack.trace.reasons import Reason, Step
from ustack.wire import icmp
from ustack.wire.frame import Datagram, Fragment, Frame, IcmpMessage

_FRAGMENTS = "RFC 791 section 3.2; RFC 8200 section 4.5"
_TCP, _UDP = 6, 17
WHY_GIVEN_UP: Reason = ("fragments of a packet did not come in time: the others are dropped", "RFC 1122 section 3.3.2")
"""Why the reassembly timer fired."""


def why_taken(frame: Frame, step: Step) -> Reason:
    """What became of a packet that was accepted."""
    if isinstance(frame, Datagram):
        return (
            f"a whole datagram for whoever has bound port {frame.destination_port}: it waits for recvfrom()",
            "RFC 768",
        )
    if isinstance(frame, Fragment):
        if any(name.endswith("ReasmOKs") for name in step.counts):
            return "the last fragment that was missing: the packet is whole", _FRAGMENTS
        return "it waits for the other fragments of its packet, for ipfrag_time at most", _FRAGMENTS
    if isinstance(frame, IcmpMessage):
        return _why_icmp_taken(frame)
    return "", ""


def _why_icmp_taken(message: IcmpMessage) -> Reason:
    if message.protocol == icmp.PROTOCOL_V4:
        if message.type == icmp.ECHO_REQUEST:
            return "it is answered with an echo reply", "RFC 1122 section 3.2.2.6"
        if message.type == icmp.DESTINATION_UNREACHABLE and message.code == icmp.FRAGMENTATION_NEEDED:
            return "a router says how long a packet may be: the path MTU", "RFC 1191 section 4"
        quoted = message.body[9] if len(message.body) > 9 else 0
        if quoted == _UDP:
            return "it quotes a datagram of ours: its socket is told", "RFC 1122 section 4.1.3.3"
        if quoted == _TCP:
            return "it quotes a segment of ours: its connection is told", "RFC 9293 section 3.9.2.2"
    return "it is for this host", "RFC 1122 section 3.2.2; RFC 4443"


def why_sent(frame: Frame, step: Step) -> Reason:
    """Why a packet left that is no TCP."""
    if isinstance(frame, Datagram):
        return "the application sends a datagram, and it leaves at once: no handshake, no window", "RFC 768"
    if isinstance(frame, Fragment):
        return (
            "the packet is longer than the MTU: IP sends it in fragments",
            "RFC 791 section 3.2; RFC 8200 section 4.5",
        )
    if isinstance(frame, IcmpMessage) and frame.protocol == icmp.PROTOCOL_V4:
        if frame.type == icmp.ECHO_REPLY:
            return "it answers an echo request", "RFC 1122 section 3.2.2.6"
        if frame.type == icmp.DESTINATION_UNREACHABLE:
            return "nobody has this port", "RFC 1122 sections 3.2.2.1 and 4.1.3.1"
        if frame.type == icmp.TIME_EXCEEDED:
            return "fragments were missing for ipfrag_time: the packet is given up", "RFC 1122 section 3.3.2"
    return "", ""
