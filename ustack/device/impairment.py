"""A bad link as a model: what a packet may suffer on its way, and nothing that does I/O.

The same model stands behind the impairing device and behind the links of the simulated network. A path
(one direction) is a function of its seed, the packets offered and their instants.
"""

from __future__ import annotations

import dataclasses
import heapq
import random
import re
from collections.abc import Sequence
from typing import Any

from ustack.units import SECOND

REORDER_GAP = 1_000_000
"""A reordered packet comes later by a quarter of the delay, or by this many ns when there is none."""

_PARTS = {
    "loss": "share", "burst": "burst", "duplicate": "share", "reorder": "share", "corrupt": "share", "mark": "share",
    "delay": "time", "jitter": "time", "gap": "time", "rate": "rate", "limit": "count", "seed": "count",
}  # fmt: skip
_TIMES = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": SECOND}
_RATES = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9}
_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([a-zA-Z]*)\Z")


@dataclasses.dataclass(frozen=True)
class Impairment:
    """What a link does to the packets of each direction. Shares are 0..1, times ns."""

    loss: float = 0.0
    """Share of packets lost, each on its own."""
    burst: tuple[float, float] = (0.0, 1.0)
    """Gilbert-Elliott: chance per packet to enter the bad state, where all is lost, and to leave it."""
    duplicate: float = 0.0
    reorder: float = 0.0
    """Share of packets held back by ``gap``, so that later ones overtake them."""
    gap: int = 0
    """0: a quarter of the delay, but at least REORDER_GAP."""
    corrupt: float = 0.0
    """Share of packets in which one bit is turned over, anywhere."""
    mark: float = 0.0
    """Share of ECN-capable packets that get the CE mark (RFC 3168)."""
    delay: int = 0
    jitter: int = 0
    """Added or taken, uniformly; it never makes a packet overtake another: ``reorder`` does."""
    rate: int = 0
    """Bits per second of IP packets; 0: no limit."""
    limit: int = 1000
    """Packets that wait for the rate; one more is lost (a tail-drop queue)."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("loss", "duplicate", "reorder", "corrupt", "mark"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must be between 0% and 100%")
        if not all(0.0 <= share <= 1.0 for share in self.burst):
            raise ValueError("burst chances must be between 0% and 100%")
        for name in ("gap", "delay", "jitter", "rate", "limit"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")

    def replace(self, **changes: Any) -> Impairment:
        """A copy with some fields changed. Raises TypeError for a name that is no field."""
        return dataclasses.replace(self, **changes)


PERFECT = Impairment()


_DIGITS = 18


def parse_impairment(text: str) -> Impairment:
    """An Impairment from words such as ``loss=3%,delay=20ms,rate=10Mbit,burst=1%/30%,seed=7``.

    Raises ValueError with a sentence that names the word at fault.
    """
    fields: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (word.strip() for word in part.partition("="))
        if name not in _PARTS or not equals:
            raise ValueError(f"{part!r} is no impairment: one of {', '.join(_PARTS)}, as in loss=3%,delay=20ms")
        if name in fields:
            raise ValueError(f"{name} is given twice")
        fields[name] = _value(_PARTS[name], name, value)
    return Impairment(**fields)


def _value(kind: str, name: str, text: str) -> object:
    if kind == "burst":
        enter, slash, leave = text.partition("/")
        return _share(name, enter), _share(name, leave) if slash else 0.5
    if kind == "share":
        return _share(name, text)
    if kind == "count":
        if not text.isdecimal() or len(text) > _DIGITS:
            raise ValueError(f"{name}={text[:20]} is no whole number of at most {_DIGITS} digits")
        return int(text)
    units, example = (_TIMES, "20ms") if kind == "time" else (_RATES, "10Mbit")
    match = _NUMBER.match(text)
    if not match or match[2].lower() not in units:
        raise ValueError(f"{name}={text}: write a number with one of {', '.join(units)}, as in {name}={example}")
    if len(match[1]) > _DIGITS:
        raise ValueError(f"{name}={text[:20]}... is too much")
    return round(float(match[1]) * units[match[2].lower()])


def _share(name: str, text: str) -> float:
    percent = text.strip().endswith("%")
    try:
        share = float(text.strip().rstrip("%"))
    except ValueError:
        raise ValueError(f"{name}={text}: write a share such as 3% or 0.03") from None
    return share / 100 if percent else share


class Path:
    """One direction of an impaired link: packets are offered, and come due later, or never.

    ``name`` makes the two directions of a link with one seed differ.
    """

    def __init__(self, impairment: Impairment, name: str = "") -> None:
        self.impairment = impairment
        self._random = random.Random(f"{impairment.seed}/{name}")
        self._in_burst = False
        self._free_at = 0
        self._departures: list[int] = []
        self._last_arrival = 0
        self._coming: list[tuple[int, int, bytes]] = []
        self._order = 0
        self.counts = dict.fromkeys(
            ("passed", "lost", "overflowed", "duplicated", "reordered", "corrupted", "marked"), 0
        )

    def _chance(self, share: float) -> bool:
        return share > 0.0 and self._random.random() < share

    def offer(self, packet: bytes, now: int) -> int:
        """A packet enters the path at ``now`` (instants never go back); returns how often it will arrive."""
        if self._is_lost():
            self.counts["lost"] += 1
            return 0
        copies = self._take(packet, now)
        if self._chance(self.impairment.duplicate):
            self.counts["duplicated"] += 1
            copies += self._take(packet, now)
        return copies

    def _is_lost(self) -> bool:
        enter, leave = self.impairment.burst
        if enter > 0.0:
            self._in_burst = not self._chance(leave) if self._in_burst else self._chance(enter)
        return self._in_burst or self._chance(self.impairment.loss)

    def _take(self, packet: bytes, now: int) -> int:
        """Puts a packet on its way; 0 when the queue has no place for it."""
        model = self.impairment
        leaves = self._departure(len(packet), now)
        if leaves < 0:
            self.counts["overflowed"] += 1
            return 0
        if packet and self._chance(model.corrupt):
            self.counts["corrupted"] += 1
            packet = self._with_one_bit_turned(packet)
        if self._chance(model.mark) and is_ecn_capable(packet):
            self.counts["marked"] += 1
            packet = with_ce(packet)
        arrives = leaves + model.delay
        if model.jitter:
            arrives = max(now, arrives + self._random.randint(-model.jitter, model.jitter))
        arrives = max(arrives, self._last_arrival)
        if self._chance(model.reorder):
            self.counts["reordered"] += 1
            arrives += model.gap or max(model.delay // 4, REORDER_GAP)
        else:
            self._last_arrival = arrives
        self.counts["passed"] += 1
        heapq.heappush(self._coming, (arrives, self._order, packet))
        self._order += 1
        return 1

    def _departure(self, length: int, now: int) -> int:
        """When the last bit of a packet is on the wire; -1 when the queue has no place for it."""
        model = self.impairment
        if not model.rate:
            return now
        waiting = self._departures
        while waiting and waiting[0] <= now:
            heapq.heappop(waiting)
        if len(waiting) > model.limit:  # one of them is being sent
            return -1
        self._free_at = max(now, self._free_at) + length * 8 * SECOND // model.rate
        heapq.heappush(waiting, self._free_at)
        return self._free_at

    def _with_one_bit_turned(self, packet: bytes) -> bytes:
        bit = self._random.randrange(len(packet) * 8)
        changed = bytearray(packet)
        changed[bit >> 3] ^= 1 << (bit & 7)
        return bytes(changed)

    def due(self, now: int, most: int = 1 << 62) -> list[bytes]:
        """The packets that have arrived by ``now``, in order of arrival, at most ``most`` of them."""
        coming = self._coming
        arrived: list[bytes] = []
        while coming and coming[0][0] <= now and len(arrived) < most:
            arrived.append(heapq.heappop(coming)[2])
        return arrived

    def next_deadline(self) -> int | None:
        """When the next packet comes due."""
        return self._coming[0][0] if self._coming else None

    def waiting(self, now: int) -> int:
        """Packets that wait for the rate, or are being sent."""
        return sum(leaves > now for leaves in self._departures)

    def __len__(self) -> int:
        return len(self._coming)


def is_ecn_capable(packet: bytes) -> bool:
    """Whether the ECN field (RFC 3168 section 5) is ECT(0) or ECT(1)."""
    if len(packet) < 20:
        return False
    field = packet[1] & 3 if packet[0] >> 4 == 4 else packet[1] >> 4 & 3
    return field in {1, 2}


def with_ce(packet: bytes) -> bytes:
    """The packet with CE in its ECN field, and the IPv4 header checksum brought along (RFC 1624)."""
    changed = bytearray(packet)
    if packet[0] >> 4 == 6:
        changed[1] |= 0x30
        return bytes(changed)
    changed[1] |= 3
    checksum = int.from_bytes(packet[10:12], "big") ^ 0xFFFF
    total = checksum + (changed[1] - packet[1])
    total = (total & 0xFFFF) + (total >> 16)
    changed[10:12] = (total ^ 0xFFFF).to_bytes(2, "big")
    return bytes(changed)


def offer_all(path: Path, packets: Sequence[bytes], now: int) -> None:
    """Each packet enters the path at the same instant, in order."""
    for packet in packets:
        path.offer(packet, now)
