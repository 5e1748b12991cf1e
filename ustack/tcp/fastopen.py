"""TCP Fast Open (RFC 7413): what a host, a listener and a connection keep of it; no connection is touched here.

A *cookie* proves that a client can receive at its address: a server makes it from both addresses and a key
(SipHash-2-4, byte for byte Linux's), a client keeps it with the server's MSS. A listener bounds how many connections
may be open before their third ACK (section 5.1), and a client that sees its SYN's text swallowed stops using Fast Open
for a while (Linux's black-hole detection). The steps of a handshake are in ``connection/fast_open.py`` and
``connection/fast_child.py``.
"""

from __future__ import annotations

from collections import deque
from hashlib import blake2s
from typing import Final

from ustack.settings import Settings, parse_fastopen_keys
from ustack.sockopts import SocketOptions
from ustack.units import SECOND
from ustack.wire.address import is_v4
from ustack.wire.tcp import FAST_OPEN_MAGIC, MAX_OPTIONS, TcpOptions

# The bits of tcp_fastopen.
CLIENT: Final = 0x1
SERVER: Final = 0x2
CLIENT_NO_COOKIE: Final = 0x4
SERVER_NO_COOKIE: Final = 0x200
ALL_LISTENERS: Final = 0x400

LEAST_COOKIE: Final = 4
MOST_COOKIE: Final = 16
"""RFC 7413 section 4.1.1: bytes, an even number."""
KEY: Final = 16
MOST_PEERS: Final = 8192
"""Cookies that a host keeps; the one that was not renewed for the longest time goes first."""
RESET_MEMORY: Final = 60 * SECOND
"""A child that the peer reset counts against the queue's limit for so long (section 5.1)."""
MOST_DOUBLINGS: Final = 6

# tcpi_fastopen_client_fail
NO_COOKIE_YET: Final = 1
TEXT_NOT_ACKED: Final = 2
SYN_RESENT: Final = 3

# try_exp: which form of the option a request uses next.
TRY_EXPERIMENT: Final = 1
TRIED_BOTH: Final = 2

_MASK: Final = (1 << 64) - 1


def siphash(key: bytes, data: bytes) -> int:
    """SipHash-2-4 of ``data`` (whole words of 8 bytes) under 16 bytes of key; 64 bits."""
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:16], "little")
    v0, v1 = 0x736F6D6570736575 ^ k0, 0x646F72616E646F6D ^ k1
    v2, v3 = 0x6C7967656E657261 ^ k0, 0x7465646279746573 ^ k1
    words = [int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), 8)]
    words.append((len(data) & 0xFF) << 56)
    for word in words:
        v3 ^= word
        v0, v1, v2, v3 = _round(*_round(v0, v1, v2, v3))
        v0 ^= word
    v2 ^= 0xFF
    for _ in range(4):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return v0 ^ v1 ^ v2 ^ v3


def _round(v0: int, v1: int, v2: int, v3: int) -> tuple[int, int, int, int]:
    v0 = (v0 + v1) & _MASK
    v1 = _rotate(v1, 13) ^ v0
    v0 = _rotate(v0, 32)
    v2 = (v2 + v3) & _MASK
    v3 = _rotate(v3, 16) ^ v2
    v0 = (v0 + v3) & _MASK
    v3 = _rotate(v3, 21) ^ v0
    v2 = (v2 + v1) & _MASK
    v1 = _rotate(v1, 17) ^ v2
    return v0, v1, _rotate(v2, 32), v3


def _rotate(value: int, bits: int) -> int:
    return (value << bits | value >> (64 - bits)) & _MASK


def cookie_for(key: bytes, flow_key: bytes) -> bytes:
    """The cookie of the client whose SYN had this flow key: a hash of the SYN's addresses (Linux's cookie_gen)."""
    client, server = flow_key[:16], flow_key[16:32]
    addresses = client[12:] + server[12:] if is_v4(flow_key) else client + server
    return siphash(key, addresses).to_bytes(8, "little")


def option_bytes(cookie: bytes, is_experimental: bool) -> bytes:
    """The option with ``cookie`` (b"": a request), filled with NOPs behind it as Linux does."""
    if is_experimental:
        body = bytes((254, 4 + len(cookie))) + FAST_OPEN_MAGIC.to_bytes(2, "big") + cookie
    else:
        body = bytes((34, 2 + len(cookie))) + cookie
    return body + b"\x01" * (-len(body) % 4)


def cookie_in(found: TcpOptions) -> bytes | None:
    """The cookie of a SYN's or SYN-ACK's options (b"": a request); None without one, or with a length that is none."""
    cookie = found.fastopen
    if cookie is None or len(cookie) & 1:
        return None
    if cookie and not LEAST_COOKIE <= len(cookie) <= MOST_COOKIE:
        return None
    return cookie


class Peer:
    """What a client remembers of one server (section 4.1.3)."""

    def __init__(self) -> None:
        self.cookie = b""
        self.is_experimental = False
        self.mss = 0
        self.try_experiment = 0


class FastOpenHost:
    """What all connections of one host share: the key for cookies, the peers' cookies, the memory of black holes."""

    def __init__(self, secret: bytes) -> None:
        self._random_key = blake2s(secret, digest_size=KEY, person=b"fastopen").digest()
        self._has_key = False
        self._parsed: tuple[str, list[bytes]] = ("", [])
        self.peers: dict[bytes, Peer] = {}
        """By the local address and the peer's."""
        self.failures = 0
        self.paused_at = 0

    # Keys

    def make_key(self) -> None:
        """A listener wants Fast Open: without tcp_fastopen_key the key is random from now on."""
        self._has_key = True

    def keys(self, settings: Settings, options: SocketOptions) -> list[bytes]:
        """The keys that count for a listener, the one for new cookies first; none before anybody asked for one."""
        chosen = options.fastopen_key
        if chosen:
            return [chosen[:KEY], chosen[KEY:]] if len(chosen) > KEY else [chosen]
        text = settings.tcp_fastopen_key
        if not text:
            return [self._random_key] if self._has_key else []
        if self._parsed[0] != text:
            self._parsed = (text, parse_fastopen_keys(text))
        return self._parsed[1]

    # Cookies of servers

    def peer(self, flow_key: bytes) -> Peer | None:
        return self.peers.get(flow_key[:32])

    def remember(self, flow_key: bytes) -> Peer:
        """The record of the peer, made when there is none."""
        place = flow_key[:32]
        peer = self.peers.pop(place, None) or Peer()
        self.peers[place] = peer
        if len(self.peers) > MOST_PEERS:
            del self.peers[next(iter(self.peers))]
        return peer

    def forget_peers(self) -> None:
        """``ip tcp_metrics flush``."""
        self.peers.clear()

    # Black holes

    def pause(self, settings: Settings, now: int) -> bool:
        """Text in a SYN was swallowed on its way, so it seems: stop for an hour (say), longer each time."""
        if not settings.tcp_fastopen_blackhole_timeout_sec:
            return False
        self.failures += 1
        self.paused_at = now
        return True

    def is_paused(self, settings: Settings, now: int) -> bool:
        seconds = settings.tcp_fastopen_blackhole_timeout_sec
        if not seconds or not self.failures:
            return False
        return now < self.paused_at + (seconds * SECOND << min(self.failures - 1, MOST_DOUBLINGS))

    def trust_path(self) -> None:
        """Fast Open works again (or the administrator says so: tcp_fastopen_blackhole_timeout_sec was written)."""
        self.failures = 0


class FastOpenQueue:
    """How many connections of one listener are open before their third ACK (Linux's struct fastopen_queue)."""

    def __init__(self) -> None:
        self.length = 0
        self._resets: deque[int] = deque()
        """When those that were reset stop counting, ns."""

    def has_room(self, most: int, now: int) -> bool:
        """One more may be opened; a reset one whose time is over makes room."""
        if self.length < most:
            return True
        if not self._resets or self._resets[0] > now:
            return False
        self._resets.popleft()
        self.length -= 1
        return True

    def enter(self) -> None:
        self.length += 1

    def leave(self, counts_on: bool, now: int) -> None:
        """The handshake is over. ``counts_on``: by a RST, which a stolen cookie may have provoked: not at once."""
        if counts_on:
            self._resets.append(now + RESET_MEMORY)
        else:
            self.length -= 1


class FastOpen:
    """What one connection keeps of its Fast Open, as a client or as a server."""

    def __init__(self) -> None:
        self.is_deferred = False
        """TCP_FASTOPEN_CONNECT with a cookie at hand: the SYN waits for the first write."""
        self.cookie: bytes | None = None
        """What the first SYN carries: a cookie, a request (b""), nothing (None)."""
        self.is_experimental = False
        self.option_sent = False
        """Our SYN carried the option."""
        self.text_sent = 0
        """Bytes in our SYN."""
        self.text_acked = False
        """The SYN's text was taken: by the peer, or by us (TCPI_OPT_SYN_DATA)."""
        self.checks_path = False
        """The first attempt after a pause: text from the peer shows that the path is good."""
        self.client_fail = 0
        """tcpi_fastopen_client_fail."""
        self.writer_waits = False
        """A blocked send has more text for the moment at which the SYN-ACK comes."""
        self.queue: FastOpenQueue | None = None
        """Of the listener, while a child waits for its third ACK (Linux's fastopen_rsk)."""
        self.is_child = False
        self.answer = b""
        """The option of the child's first SYN-ACK."""
        self.syn_window = 0
        self.answered_at = 0
        self.resends = 0
        """SYN-ACKs of a child that the timer sent."""
        self.ends_after_handshake = False
        """shutdown() came first: the FIN follows the third ACK."""

    def end_handshake(self) -> None:
        """The connection ended before its third ACK came."""
        if self.queue is not None:
            self.queue.leave(False, 0)
            self.queue = None

    def is_waiting(self) -> bool:
        """A child whose third ACK has not come yet."""
        return self.queue is not None


def encode_answer(cookie: bytes, is_experimental: bool, taken: int) -> bytes:
    """The option for a header that has ``taken`` bytes of options; b"" when it does not fit."""
    option = option_bytes(cookie, is_experimental)
    return option if taken + len(option) <= MAX_OPTIONS else b""
