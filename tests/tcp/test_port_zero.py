"""Port 0 is a number like others to who answers: as on Linux, whatever RFC 6335 says of it."""

from __future__ import annotations

from tests.tcp.peer import Peer


def test_port_zero_is_a_port_where_nobody_listens(either: Peer) -> None:
    """RFC 9293 section 3.10.7.1: a RST answers, whatever RFC 6335 says of the number."""
    either.our_port = 0
    either.send("S 0 <mss 1460>")
    either.expect("R. zero ack 1")


def test_a_peer_with_port_zero_is_answered(either: Peer) -> None:
    """As Linux: a listener looks at its own port only."""
    either.host.listen(either.our_port)
    either.port = 0
    either.send("S 0 <mss 1460>")
    either.expect("S. 0 ack 1")
    either.send("R 1")
    either.expect()
