"""ICMP of one host (RFC 792, RFC 4443, RFC 1122 section 3.2.2): what is answered, what errors mean, and ``ping``.

Sans-IO: answers go down through a :class:`ustack.network.Network`. Nothing waits, so there is no deadline.
"""

from __future__ import annotations

import errno
from collections import OrderedDict, deque
from typing import Final

from ustack.drops import Drop
from ustack.errors import from_errno
from ustack.events import Endpoint
from ustack.network import Network, Outgoing
from ustack.settings import Settings
from ustack.sockopts import PMTUDISC_DONT
from ustack.units import MILLISECOND, SECOND
from ustack.wire import icmp, ipv4_options, ipv6
from ustack.wire.address import V4_PREFIX, is_any, is_multicast, is_unicast, is_v4
from ustack.wire.frame import Frame, IcmpMessage, OtherPacket, Refused
from ustack.wire.icmp_error import IcmpError, IcmpKind, is_about_icmp_error, parse_error

_PEER_BURST: Final = 6
"""A peer gets so many errors at once, then one each icmp_ratelimit (Linux's XRLIM_BURST_FACTOR)."""
_MOST_PEERS: Final = 1024
ECHO_QUEUE: Final = 212_992
"""Bytes of replies that an endpoint keeps (rmem_default)."""
_ECHO_OVERHEAD: Final = 576


class EchoReply:
    """An answer to a ping. ``at`` is when it arrived, ns."""

    def __init__(self, message: IcmpMessage, at: int) -> None:
        self.source = message.source
        self.sequence = message.rest & 0xFFFF
        self.data = message.body
        self.ttl = message.ttl
        self.tos = message.tos
        self.at = at


class EchoFailure:
    """A ping that will not be answered: ``error`` says why, ``source`` who said so."""

    def __init__(self, error: IcmpError, at: int) -> None:
        self.error = error
        self.source = error.offender
        self.sequence = error.quoted[6] << 8 | error.quoted[7]
        self.at = at


class IcmpEndpoint(Endpoint):
    """One ``ping``: sends echo requests with its identifier and keeps the replies. Made by :meth:`Icmp.open`.

    ``failures`` are ICMP errors about its requests. ``owner`` is the caller's own.
    """

    def __init__(self, icmp_layer: Icmp, address: bytes, identifier: int) -> None:
        super().__init__()
        self.icmp = icmp_layer
        self.address = address
        self.identifier = identifier
        self.ttl = -1
        self.tos = 0
        self.mtu_discover = PMTUDISC_DONT
        self.replies: deque[EchoReply] = deque()
        self.failures: deque[EchoFailure] = deque(maxlen=64)
        self.queued = 0
        self.drops = 0

    def send_echo(self, destination: bytes, sequence: int, data: bytes, now: int) -> None:
        """One echo request; longer than the MTU it leaves in fragments. Raises ENETUNREACH, EMSGSIZE."""
        v4 = is_v4(destination)
        if len(data) > (65507 if v4 else 65527):
            raise from_errno(errno.EMSGSIZE)
        source = self.address
        if is_any(source):
            chosen = self.icmp.network.source_for(destination)
            if chosen is None:
                raise from_errno(errno.ENETUNREACH)
            source = chosen
        elif is_v4(source) is not v4:
            raise from_errno(errno.ENETUNREACH)
        text = icmp.build_echo_request(source, destination, self.identifier, sequence & 0xFFFF, data)
        protocol = icmp.protocol_of(source)
        outgoing = Outgoing(source, destination, protocol, text, self.ttl, self.tos, self.mtu_discover)
        self.icmp.network.send(outgoing, now)
        self.icmp.count(v4, "OutMsgs")
        self.icmp.count(v4, "OutEchos")

    def readable(self) -> bool:
        return bool(self.replies) or bool(self.failures)

    def receive(self) -> EchoReply | None:
        """The next reply, in order of arrival."""
        if not self.replies:
            return None
        reply = self.replies.popleft()
        self.queued -= len(reply.data) + _ECHO_OVERHEAD
        return reply

    def receive_failure(self) -> EchoFailure | None:
        """The next error about a request."""
        return self.failures.popleft() if self.failures else None

    def take(self, message: IcmpMessage, now: int) -> bool:
        """Keeps a reply; False when the queue is full."""
        if self.queued > ECHO_QUEUE:
            self.drops += 1
            return False
        self.replies.append(EchoReply(message, now))
        self.queued += len(message.body) + _ECHO_OVERHEAD
        return True

    def close(self) -> None:
        """May be called again."""
        self.icmp.forget(self)


class _Limiter:
    """Linux's two token buckets: all errors together, and errors to one peer. Times are ns.

    What is limited is Linux's icmp_ratemask: errors (types 3, 4, 11 and 12); echo replies are not.
    """

    def __init__(self) -> None:
        self._credit = 0
        self._refilled_at = -SECOND
        self._peers: OrderedDict[bytes, tuple[int, int]] = OrderedDict()  # peer: ns of credit, when that was

    def allows(self, network: Network, peer: bytes, now: int) -> bool:
        """Whether one more error may go to ``peer`` (icmp_msgs_per_sec, icmp_msgs_burst; icmp_ratelimit)."""
        settings = network.settings()
        if not self._any_allowed(settings, now):
            network.counters.add("IcmpOutRateLimitGlobal")
            return False
        pause = settings.icmp_ratelimit * MILLISECOND
        if pause and not self._peer_allows(peer, pause, now):
            network.counters.add("IcmpOutRateLimitHost")
            return False
        # None, one or two: who counts our errors learns nothing of those that others caused (SAD DNS; Linux's
        # icmp_global_consume)
        self._credit -= network.below(3)
        return True

    def _any_allowed(self, settings: Settings, now: int) -> bool:
        """Of all peers together (Linux's icmp_global_allow)."""
        if self._credit > 0:
            return True
        elapsed = min(now - self._refilled_at, SECOND)
        grown = settings.icmp_msgs_per_sec * elapsed // SECOND
        if elapsed < SECOND // 50 or not grown:
            return False
        self._refilled_at = now
        self._credit = min(self._credit + grown, settings.icmp_msgs_burst)
        return True

    def _peer_allows(self, peer: bytes, pause: int, now: int) -> bool:
        credit, at = self._peers.pop(peer, (_PEER_BURST * pause, now))
        credit = min(_PEER_BURST * pause, credit + now - at)
        allowed = credit >= pause
        if allowed:
            credit -= pause
        if len(self._peers) >= _MOST_PEERS:
            self._peers.popitem(last=False)  # the one not heard of for longest
        self._peers[peer] = (credit, now)
        return allowed


class Icmp:
    """ICMP and ICMPv6 of one Stack."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._endpoints: dict[int, IcmpEndpoint] = {}  # by identifier, of both versions
        self._limiter = _Limiter()

    def open(self, address: bytes, identifier: int, now: int) -> IcmpEndpoint:
        """An endpoint for ``ping``; identifier 0 is any free one. Raises EADDRINUSE, EADDRNOTAVAIL."""
        if not is_any(address) and not self.network.is_local(address):
            raise from_errno(errno.EADDRNOTAVAIL)
        if identifier == 0:
            first = self.network.below(65535)
            choice = (1 + (first + n) % 65535 for n in range(65535))
            identifier = next((n for n in choice if n not in self._endpoints), 0)
        if not 0 < identifier < 65536 or identifier in self._endpoints:
            raise from_errno(errno.EADDRINUSE)
        endpoint = IcmpEndpoint(self, address, identifier)
        self._endpoints[identifier] = endpoint
        return endpoint

    def forget(self, endpoint: IcmpEndpoint) -> None:
        """The endpoint's identifier is free again."""
        if self._endpoints.get(endpoint.identifier) is endpoint:
            del self._endpoints[endpoint.identifier]

    def count(self, v4: bool, name: str) -> None:
        """Under Linux's name of the version's own counter."""
        self.network.counters.add(("Icmp" if v4 else "Icmp6") + name)

    # In

    def take(self, message: IcmpMessage, now: int) -> IcmpError | IcmpEndpoint | None:
        """What arrived: an echo request is answered; an error about TCP or UDP is the caller's to pass on; an
        endpoint became readable; or nothing is left to do."""
        v4 = message.protocol == icmp.PROTOCOL_V4
        self.count(v4, "InMsgs")
        kind = message.type
        if kind == (icmp.ECHO_REQUEST if v4 else icmp.V6_ECHO_REQUEST):
            self.count(v4, "InEchos")
            self._answer_echo(message, now)
            return None
        if kind == (icmp.ECHO_REPLY if v4 else icmp.V6_ECHO_REPLY):
            self.count(v4, "InEchoReps")
            return self._take_reply(message, now)
        if v4 and kind not in (3, 4, 5, 11, 12):
            return None  # timestamp, router discovery, ...: RFC 1122 lets a host be silent
        if not v4 and kind >= 128:
            return None  # neighbour and listener discovery need a link layer
        return self._take_error(message, v4, now)

    def _take_reply(self, message: IcmpMessage, now: int) -> IcmpEndpoint | None:
        endpoint = self._endpoints.get(message.rest >> 16)
        if endpoint is None:
            self.network.counters.drop(Drop.ICMP_UNMATCHED)
            return None
        if not endpoint.take(message, now):
            self.network.counters.drop(Drop.RECEIVE_QUEUE_FULL)
            return None
        return endpoint

    def _take_error(self, message: IcmpMessage, v4: bool, now: int) -> IcmpError | IcmpEndpoint | None:
        error = parse_error(message)
        if error is None or not self.network.is_local(error.key[:16]):
            self.count(v4, "InErrors")
            self.network.counters.drop(Drop.ICMP_UNMATCHED)
            return None
        if error.kind in (IcmpKind.SOURCE_QUENCH, IcmpKind.REDIRECT):
            return None
        if error.protocol != message.protocol:
            return error
        is_echo = error.quoted[0] == (icmp.ECHO_REQUEST if v4 else icmp.V6_ECHO_REQUEST)
        endpoint = self._endpoints.get(error.quoted[4] << 8 | error.quoted[5]) if is_echo else None
        if endpoint is None:
            self.network.counters.drop(Drop.ICMP_UNMATCHED)
        else:
            endpoint.failures.append(EchoFailure(error, now))
        return endpoint

    # Out

    def _answer_echo(self, request: IcmpMessage, now: int) -> None:
        """The same data back, from the address it was sent to (RFC 1122 section 3.2.2.6, RFC 4443 section 4.2).
        Not limited in rate, as on Linux; a broadcast is not answered (icmp_echo_ignore_broadcasts)."""
        network = self.network
        if network.settings().icmp_echo_ignore_all or not network.is_local(request.destination):
            return
        reply = icmp.build_echo_reply(request.destination, request.source, request.rest, request.body)
        v4 = request.protocol == icmp.PROTOCOL_V4
        options: bytes | None = b""
        if v4 and request.packet[0] & 15 > 5:
            options = self._options_back(request, now)
        if options is None:
            return
        self._send(request, reply, request.tos, now, options)
        self.count(v4, "OutMsgs")
        self.count(v4, "OutEchoReps")

    def _options_back(self, request: IcmpMessage, now: int) -> bytes | None:
        """Record route and timestamps of the request, for the reply (RFC 1122 section 3.2.2.6); None: there is none.

        The time is of a clock of our own, which its high bit says (RFC 791 section 3.1)."""
        stamp = ((now // MILLISECOND) & 0x7FFFFFFF | 0x80000000).to_bytes(4, "big")
        echo = ipv4_options.Echo(request.destination[12:], stamp, self._is_no_other_host)
        try:
            return echo.options(request.packet[20 : (request.packet[0] & 15) * 4])
        except ipv4_options.NoRoomError:
            return None
        except ipv4_options.BadOptionError as bad:
            self.network.counters.drop(Drop.IP_OPTIONS)
            self.network.counters.add("IpInHdrErrors")
            if self.may_answer(request, now):
                self._send_problem(request, 0, 20 + int(bad.args[0]), now)
            return None

    def _is_no_other_host(self, four: bytes) -> bool:
        """Whether IPv4 address ``four`` is ours, or everybody's: no other host's (Linux: not RTN_UNICAST)."""
        address = V4_PREFIX + four
        return self.network.is_local(address) or not is_unicast(address) or self.network.is_broadcast(address)

    def port_unreachable(self, frame: Frame, now: int) -> None:
        """Nobody has the UDP port of ``frame``."""
        v4 = is_v4(frame.destination)
        code = icmp.PORT_UNREACHABLE if v4 else icmp.V6_PORT_UNREACHABLE
        if self.may_answer(frame, now):
            text = icmp.build_unreachable(frame.destination, frame.source, code, frame.packet)
            self._send_error(frame, text, "OutDestUnreachs", now)

    def protocol_unreachable(self, frame: OtherPacket, now: int) -> None:
        """This stack does not speak the protocol of ``frame``; of IPv6 it is a parameter problem
        (RFC 8200 section 4)."""
        if frame.protocol == ipv6.NO_NEXT and not is_v4(frame.destination):
            return
        if not self.may_answer(frame, now):
            return
        if is_v4(frame.destination):
            code = icmp.PROTOCOL_UNREACHABLE
            text = icmp.build_unreachable(frame.destination, frame.source, code, frame.packet)
            self._send_error(frame, text, "OutDestUnreachs", now)
        else:
            self._send_problem(frame, icmp.V6_UNKNOWN_NEXT_HEADER, frame.pointer, now)

    def parameter_problem(self, frame: Refused, now: int) -> None:
        """The answer that RFC 8200 asks for when it refuses ``frame``, if it does."""
        code = frame.parameter_code
        if code >= 0 and self.may_answer(frame, now, code == icmp.V6_UNKNOWN_OPTION):
            self._send_problem(frame, code, frame.pointer, now)

    def _send_problem(self, frame: Frame, code: int, pointer: int, now: int) -> None:
        source = self._own_address(frame)
        if source is not None:
            text = icmp.build_parameter_problem(source, frame.source, code, pointer, frame.packet)
            self._send_error(frame, text, "OutParmProblems", now)

    def reassembly_exceeded(self, frame: Frame, now: int) -> None:
        """Fragments went missing; ``frame`` is the first one."""
        if self.may_answer(frame, now):
            code = icmp.REASSEMBLY_EXCEEDED
            text = icmp.build_time_exceeded(frame.destination, frame.source, code, frame.packet)
            self._send_error(frame, text, "OutTimeExcds", now)

    def may_answer(self, frame: Frame, now: int, even_multicast: bool = False) -> bool:
        """Whether an ICMP error about ``frame`` may leave (RFC 1122 section 3.2.2, RFC 4443 section 2.4 (e)).

        None about an ICMP error, a broadcast or a multicast, none to an address that is nobody's, and not too many.
        ``even_multicast``: the exception of RFC 4443 for IPv6. True counts as one sent."""
        source, destination = frame.source, frame.destination
        if not is_unicast(source) or self.network.is_broadcast(source) or self.network.is_broadcast(destination):
            return False
        if is_multicast(destination) and not (even_multicast and not is_v4(destination)):
            return False
        if is_about_icmp_error(frame.packet):
            return False
        return self._limiter.allows(self.network, source, now)

    def _own_address(self, frame: Frame) -> bytes | None:
        destination = frame.destination
        return destination if self.network.is_local(destination) else self.network.source_for(frame.source)

    def _send_error(self, frame: Frame, text: bytes, name: str, now: int) -> None:
        v4 = is_v4(frame.source)
        tos = (frame.tos & 0x1E) | 0xC0 if v4 else 0  # Linux's icmp_send: internetwork control
        self._send(frame, text, tos, now)
        self.count(v4, "OutMsgs")
        self.count(v4, name)

    def _send(self, frame: Frame, text: bytes, tos: int, now: int, options: bytes = b"") -> None:
        source = self._own_address(frame)
        if source is not None:
            protocol = icmp.protocol_of(source)
            self.network.send(Outgoing(source, frame.source, protocol, text, -1, tos, PMTUDISC_DONT, options), now)
