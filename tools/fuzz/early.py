"""Fast Open and Accurate ECN for hostile peers: options as they should be, a little wrong, and nonsense."""

from __future__ import annotations

import random
from typing import Any

from tools.fuzz.flows import Flow, Forged
from tools.fuzz.hostile import World
from ustack.tcp import fastopen
from ustack.wire.tcp import ACCECN_0, ACCECN_1, ACK, AE, CWR, ECE, SYN

FAST_OPEN_KEY = "00112233-44556677-8899aabb-ccddeeff"
ALL_ON = (("tcp_fastopen", 0x603), ("tcp_ecn", 3))
"""Any SYN with text opens at once, every listener takes part, ECN is accurate: what the newest code has to bear."""
ACE = tuple(number << 6 for number in range(8))
"""The flags AE, CWR and ECE in all their combinations."""
ASKS_ECN = (0, CWR | ECE, AE | CWR | ECE, AE | CWR | ECE)
"""Those of an honest SYN."""
SYN_OPTIONS = (
    b"\x02\x04\x05\xb4",
    b"\x02\x04\x05\xb4\x04\x02\x01\x03\x03\x07",
    b"\x02\x04\x05\xb4\x04\x02",
    b"\x02\x04\x00\x01\x04\x02",
    b"\x02\x04\x00\x40\x04\x02\x01\x03\x03\x0e",
    b"\x02\x04\xff\xff\x04\x02\x01\x03\x03\x00",
    b"",
)


def cookie_of(world: World, flow: Flow) -> bytes:
    """The cookie that the Stack gave to this peer, or would have given."""
    keys = world.stack.host.fast_open.keys(world.stack.settings, world.options)
    return fastopen.cookie_for(keys[0], flow.key) if keys else b""


def fast_open_option(rng: random.Random, world: World, flow: Flow) -> bytes:
    """A request, a cookie (right, wrong, of a length that is none), in either form."""
    right = cookie_of(world, flow)
    lengths = (2, 4, 5, 8, 16, 17, 18, 30)
    cookie = rng.choice((b"", right, right, right[::-1], rng.randbytes(rng.choice(lengths))))
    option = fastopen.option_bytes(cookie, rng.random() < 0.3)
    if rng.random() < 0.1:
        option = bytes((option[0], rng.randrange(256))) + option[2:]  # a length that lies
    return option


def accecn_option(rng: random.Random) -> bytes:
    """Byte counters: plausible, at their edges, or of a length that is none."""
    counts = (0, 1, 2, 1449, 0x7FFFFF, 0x800000, 0xFFFFFF, rng.randrange(1 << 24))
    fields = b"".join(rng.choice(counts).to_bytes(3, "big") for _ in range(rng.choice((0, 1, 2, 3, 3, 4))))
    if rng.random() < 0.1:
        fields += bytes(rng.choice((1, 2)))
    return bytes((rng.choice((ACCECN_0, ACCECN_1)), 2 + len(fields))) + fields


def rare_option(rng: random.Random, world: World, flow: Flow) -> bytes:
    """One of either, or both, or twice the same."""
    option = b""
    for _ in range(rng.choice((1, 1, 2))):
        option += fast_open_option(rng, world, flow) if rng.random() < 0.5 else accecn_option(rng)
    return option[:40]


def syn(rng: random.Random, world: World, flow: Flow, ts: tuple[int, int] | None, ecn: int) -> Forged:
    """A peer's SYN, now and then with text and a cookie. ``ecn``: its ECN flags."""
    window, options, length = rng.choice((65535, 1000, 0)), rng.choice(SYN_OPTIONS), 0
    if rng.random() < 0.3:
        options, length = fast_open_option(rng, world, flow) + options, rng.choice((0, 1, 100, 1400))
    return Forged(SYN | ecn, 0, 0, window, length, ts=ts, options=options, tos=rng.choice((0, 0, 2, 3)))


def syn_ack(rng: random.Random, world: World, flow: Flow, ts: tuple[int, int] | None, ecn: int) -> Forged:
    """The answer to a SYN of ours: all of its text, some or none is acknowledged, with whatever ECN flags."""
    connection = flow.connection(world.stack)
    sent = max(connection.sender.snd_nxt - connection.sender.iss, 1) if connection is not None else 1
    window, options, length = rng.choice((65535, 1000)), rng.choice(SYN_OPTIONS), 0
    if rng.random() < 0.3:
        options, length = rare_option(rng, world, flow) + options, rng.choice((0, 0, 100))
    flags = SYN | ACK | rng.choice((0, ECE, ecn, *ACE))
    ack = rng.choice((1, sent, rng.randint(1, sent)))
    return Forged(flags, 0, ack, window, length, ts=ts, options=options, tos=rng.choice((0, 0, 2, 3)))


def changes(rng: random.Random, world: World, flow: Flow, forged: Forged) -> dict[str, Any]:
    """What Fast Open and Accurate ECN read goes anywhere."""
    if rng.random() < 0.5:
        return {"options": rare_option(rng, world, flow) + forged.options}
    return {"tos": rng.randrange(4), "flags": forged.flags & ~(AE | CWR | ECE) | rng.choice(ACE)}
