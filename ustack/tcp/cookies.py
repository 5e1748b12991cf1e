"""SYN cookies (RFC 4987 section 3.6): a request that costs no memory.

The ISN of the SYN-ACK carries the time in minutes, the index of an MSS, and a keyed hash of the four-tuple and the
client's ISN; its timestamp carries window scale, SACK and ECN in its low six bits. Layout and MSS tables are Linux's
(``net/ipv4/syncookies.c``), the hash is BLAKE2s under the Stack's secret. One thing is stricter: both hashes know the
client's ISN. In Linux a cookie stays good when both numbers move on by as much, so a late ACK of a connection on which
as many bytes went each way opens it once more.
"""

from __future__ import annotations

from hashlib import blake2s
from typing import Final

from ustack.tcp.agreed import Agreed
from ustack.units import SECOND
from ustack.wire.address import is_v4
from ustack.wire.tcp import TcpOptions

MINUTE: Final = 60 * SECOND
MAX_AGE: Final = 2
"""Minutes for which a cookie is good."""
MSS_V4: Final = (536, 1300, 1440, 1460)
MSS_V6: Final = (1280 - 60, 1480 - 60, 1500 - 60, 9000 - 60)

_NO_WSCALE: Final = 0xF
_SACK_BIT: Final = 1 << 4
_ECN_BIT: Final = 1 << 5
_BITS: Final = 6
_LOW24: Final = (1 << 24) - 1


def _hash(secret: bytes, key: bytes, irs: int, count: int, purpose: bytes) -> int:
    known = key + irs.to_bytes(4, "big") + count.to_bytes(8, "big")
    digest = blake2s(known, digest_size=4, key=secret, person=purpose)
    return int.from_bytes(digest.digest(), "big")


def make(secret: bytes, key: bytes, irs: int, mss: int, now: int) -> int:
    """The ISN for a SYN with sequence number ``irs`` and MSS ``mss``."""
    table = MSS_V4 if is_v4(key[:16]) else MSS_V6
    index = 0
    for place, size in enumerate(table):
        if mss >= size:
            index = place
    count = now // MINUTE
    lead = _hash(secret, key, irs, 0, b"cookie0") + irs + (count << 24)
    return (lead + ((_hash(secret, key, irs, count, b"cookie1") + index) & _LOW24)) & 0xFFFFFFFF


def check(secret: bytes, key: bytes, cookie: int, irs: int, now: int) -> int:
    """The MSS in a cookie; 0 when it is none of ours or too old."""
    count = now // MINUTE
    rest = (cookie - _hash(secret, key, irs, 0, b"cookie0") - irs) & 0xFFFFFFFF
    age = (count - (rest >> 24)) & 0xFF
    if age >= MAX_AGE or age > count:  # the clock may begin at zero
        return 0
    index = (rest - _hash(secret, key, irs, count - age, b"cookie1")) & _LOW24
    table = MSS_V4 if is_v4(key[:16]) else MSS_V6
    return table[index] if index < len(table) else 0


def timestamp(clock: int, terms: Agreed, ecn: bool) -> int:
    """TSval for the SYN-ACK, not later than ``clock`` (our TSval now), with the terms in its low bits."""
    bits = terms.snd_wscale if terms.wscale_on else _NO_WSCALE
    if terms.sack_on:
        bits |= _SACK_BIT
    if ecn:
        bits |= _ECN_BIT
    value = (clock >> _BITS << _BITS) | bits
    if value > clock:
        value -= 1 << _BITS
    return value & 0xFFFFFFFF


def offers_ecn(ts_ecr: int) -> bool:
    """The client asked for ECN."""
    return bool(ts_ecr & _ECN_BIT)


def offer_of(mss: int, has_ts: bool, ts_ecr: int) -> TcpOptions:
    """What the client offered: the cookie's MSS, and the rest from the timestamp that it echoes, if any."""
    offer = TcpOptions()
    offer.mss = mss
    offer.has_ts = has_ts
    if has_ts:
        wscale = ts_ecr & _NO_WSCALE
        offer.wscale = -1 if wscale == _NO_WSCALE else wscale
        offer.sack_permitted = bool(ts_ecr & _SACK_BIT)
    return offer
