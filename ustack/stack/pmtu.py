"""What is known of the paths: the largest packet that fits, for each destination (RFC 1191, RFC 8201)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from ustack.units import SECOND
from ustack.wire.address import is_v4

EXPIRY: Final = 600 * SECOND
"""Linux's ip_rt_mtu_expires and mtu_expires; RFC 1191 section 6.3 asks for ten minutes."""
MIN_PMTU: Final = 552
"""Linux's ip_rt_min_pmtu: below it a path is not believed, and routers may fragment instead."""
MIN_PMTU_V6: Final = 1280
"""RFC 8200 section 5: every link carries this much, so a smaller claim is ignored."""
MOST_PATHS: Final = 4096


class _Path:
    def __init__(self, mtu: int, is_locked: bool, until: int) -> None:
        self.mtu = mtu
        self.is_locked = is_locked
        self.until = until


class PathMtus:
    """Learned MTUs; bounded, the oldest is forgotten first. Expiry is looked at when asked: no timer."""

    def __init__(self) -> None:
        self._paths: OrderedDict[bytes, _Path] = OrderedDict()  # a plain one finds its first entry by a walk
        self.version: int = 0
        """Grows with all that a connection should hear of: news of a path, another MTU of the link."""

    def mtu(self, destination: bytes, link: int, now: int) -> int:
        """What fits on the way to ``destination``: at most ``link``, the device's own."""
        path = self._find(destination, now)
        return link if path is None else min(path.mtu, link)

    def until(self, destination: bytes, now: int) -> int:
        """When what is known of the path counts no more, ns; 0: nothing is known."""
        path = self._find(destination, now)
        return 0 if path is None else path.until

    def is_locked(self, destination: bytes, now: int) -> bool:
        """Whether the path claimed less than the minimum: packets then leave without the don't-fragment bit."""
        path = self._find(destination, now)
        return path is not None and path.is_locked

    def learn(self, destination: bytes, mtu: int, link: int, now: int) -> bool:
        """A router said that ``mtu`` bytes fit (0: one that did not say). Returns whether that is news; it never
        raises the estimate. The caller has checked that the quoted packet was ours (RFC 5927)."""
        v4 = is_v4(destination)
        is_locked = False
        known = self.mtu(destination, link, now)
        if v4 and mtu < MIN_PMTU:
            is_locked = True
            mtu = min(known, MIN_PMTU)
        elif not v4 and mtu < MIN_PMTU_V6:
            return False
        if mtu > known or (mtu == known and not is_locked):
            return False
        self._paths.pop(destination, None)
        if len(self._paths) >= MOST_PATHS:
            self._paths.popitem(last=False)
        self._paths[destination] = _Path(mtu, is_locked, now + EXPIRY)
        self.version += 1
        return mtu < known

    def __len__(self) -> int:
        return len(self._paths)

    def _find(self, destination: bytes, now: int) -> _Path | None:
        path = self._paths.get(destination)
        if path is not None and path.until <= now:
            del self._paths[destination]
            return None
        return path
