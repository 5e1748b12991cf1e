"""What the wire needs to know of system calls: which socket has which port, and which is under test."""

from __future__ import annotations

from ustack.packetdrill.callnull import is_null
from ustack.packetdrill.calls import Caller, Outcome
from ustack.packetdrill.codec import TCP, UDP
from ustack.packetdrill.peers import Peer, Peers
from ustack.packetdrill.structs import integer
from ustack.packetdrill.symbols import SYMBOLS
from ustack.packetdrill.tree import Supplied, SystemCall


class CallWatch:
    """Told of every call, before it is made and when it has worked."""

    def __init__(self, caller: Caller, peers: Peers) -> None:
        self.caller = caller
        self.peers = peers

    def before(self, call: SystemCall) -> None:
        """What the wire needs to know of a call before its packets come."""
        peer = (
            self.peers.labelled(integer(call.arguments[0])) if call.name in ("connect", "sendto", "sendmsg") else None
        )
        if peer is None:
            return
        if call.name == "connect":
            to = call.arguments[1]
            if is_null(to) or self.caller.is_unspecified(to):
                return
        if call.name == "connect":
            self.peers.current = peer
            peer.remote_port = self.caller.address(call.arguments[1], self.caller.remote())[1]
        elif not peer.remote_port and not peer.is_child:
            peer.remote_port = self.peers.config.connect_port

    def after(self, call: SystemCall, outcome: Outcome) -> None:
        """What the wire needs to know of a call that worked."""
        label = integer(call.result) if not isinstance(call.result, Supplied) else outcome.value
        if call.name in ("socket", "accept", "open", "epoll_create", "epoll_create1"):
            self.caller.labels[label] = outcome.value
        if call.name == "socket":
            kind = integer(call.arguments[1]) & 15
            peer = self.peers.add(Peer(UDP if kind == SYMBOLS["SOCK_DGRAM"] else TCP))
            peer.label, peer.fd = label, outcome.value
        elif call.name == "accept":
            self._accepted(label, outcome)
        elif call.name in ("bind", "listen"):
            self._bound(call, outcome)
        elif call.name == "close":
            closed = self.peers.labelled(integer(call.arguments[0]))
            if closed is not None and closed.listening and self.peers.current is closed:
                closed.listening = False

    def _accepted(self, label: int, outcome: Outcome) -> None:
        """Whose connection this is says the client's port; the socket under test becomes it."""
        port = outcome.extra[1]
        child = next((p for p in reversed(self.peers.all) if p.is_child and p.remote_port == port), None)
        child = child or self.peers.newest_child()
        if child is not None:
            child.label, child.fd = label, outcome.value
            self.peers.current = child

    def _bound(self, call: SystemCall, outcome: Outcome) -> None:
        peer = self.peers.labelled(integer(call.arguments[0]))
        if peer is not None and peer.fd is not None:
            peer.local_port = self.caller.system.local_port(peer.fd)
            peer.listening = call.name == "listen"
            if peer.listening:
                self.peers.current = peer
