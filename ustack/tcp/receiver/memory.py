"""The receive buffer, counted as Linux counts it: each buffer of text costs its memory, not its bytes.

SO_RCVBUF and tcp_rmem bound ``truesize``, and the window is the share of it that is text. So that the windows are
Linux's, the receiver remembers where Linux's buffers (sk_buff) would begin and end, as they come from a tun device.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Final

HEADROOM: Final = 64
"""NET_SKB_PAD: what is kept free before a packet."""
SHARED_INFO: Final = 320
"""struct skb_shared_info in whole cache lines."""
BUFFER_HEAD: Final = 256
"""struct sk_buff in whole cache lines."""
SMALL_HEAD: Final = 576
"""The least memory for a packet (SKB_SMALL_HEAD_CACHE_SIZE)."""
PAGE: Final = 4096
LINEAR_MOST: Final = PAGE - HEADROOM - SHARED_INFO
"""Of a longer packet the rest lies in pages."""
COLLAPSED: Final = PAGE - SHARED_INFO
"""Text of each buffer that tcp_collapse makes."""
FORGOTTEN_LEAST: Final = 64
"""So many entries, and half of all, are taken out of the list together."""
DEFAULT_RATIO: Final = 128
"""Text per 256 bytes of memory before the first full segment came (TCP_DEFAULT_SCALING_RATIO)."""


def head_size(packet: int) -> int:
    """Memory for a packet of ``packet`` bytes, headers included, as far as it lies in one piece."""
    need = ((HEADROOM + min(packet, LINEAR_MOST) + 63) & ~63) + SHARED_INFO
    if need <= SMALL_HEAD:
        return SMALL_HEAD
    return 1 << max((need - 1).bit_length(), 10)


def truesize(packet: int) -> int:
    """What Linux charges for a packet of ``packet`` bytes, headers included."""
    pages = (packet - LINEAR_MOST + PAGE - 1) & ~(PAGE - 1) if packet > LINEAR_MOST else 0
    return head_size(packet) + BUFFER_HEAD + pages


class ReceiveQueue:
    """The charges for the text that waits; places are offsets of the receive ring."""

    def __init__(self) -> None:
        self.charged: int = 0
        self._ends: list[int] = []
        self._sizes: list[int] = []
        self._gone: int = 0
        """So many at their head were given back already; never all of them."""
        self._tail_room: int = 0
        """Bytes of text that the last buffer has still room for: Linux copies a short segment there."""
        self._beyond: list[tuple[int, int]] = []
        """Ends and sizes of the buffers beyond a gap: a heap."""

    def add(self, end: int, length: int, packet: int, segs: int, charge: int) -> None:
        """Text in order, ``length`` bytes that end at ``end``: ``segs`` packets of ``packet`` bytes each."""
        if segs == 1 and length <= self._tail_room and self._ends:
            self._ends[-1] = end
            self._tail_room -= length
            return
        self._ends.append(end)
        self._sizes.append(charge)
        self.charged += charge
        self._tail_room = 0
        if segs == 1 and packet <= LINEAR_MOST:
            self._tail_room = head_size(packet) - SHARED_INFO - HEADROOM - packet

    def add_beyond(self, end: int, charge: int) -> None:
        """Text beyond a gap, which ends at ``end``."""
        heappush(self._beyond, (end, charge))
        self.charged += charge

    def close_gap(self, upto: int) -> None:
        """All text before ``upto`` is in order now."""
        while self._beyond and self._beyond[0][0] <= upto:
            end, charge = heappop(self._beyond)
            if self._ends and end <= self._ends[-1]:  # its text came again in between
                self.charged -= charge
                continue
            self._ends.append(end)
            self._sizes.append(charge)
            self._tail_room = 0

    def forget_beyond(self) -> None:
        """What lay beyond gaps was given up."""
        for _, charge in self._beyond:
            self.charged -= charge
        self._beyond.clear()

    def release(self, start: int) -> None:
        """The application has taken all before ``start``: buffers are given back whole."""
        ends, gone = self._ends, self._gone
        while gone < len(ends) and ends[gone] <= start:
            self.charged -= self._sizes[gone]
            gone += 1
        if gone == len(ends):
            if gone:
                ends.clear()
                self._sizes.clear()
                gone = 0
        elif gone >= FORGOTTEN_LEAST and gone * 2 >= len(ends):
            del ends[:gone]
            del self._sizes[:gone]
            gone = 0
        self._gone = gone

    def collapse(self, start: int, ratio: int) -> None:
        """Text in order that takes more memory than its share is moved together, and all behind it (tcp_collapse)."""
        kept = self._gone
        while kept < len(self._ends):
            end = self._ends[kept]
            if self._sizes[kept] * ratio >> 8 > end - start:
                break
            start = end
            kept += 1
        if kept == len(self._ends):
            return
        last = self._ends[-1]
        while len(self._ends) > kept:
            self._ends.pop()
            self.charged -= self._sizes.pop()
        self._tail_room = 0
        while start < last:
            piece = min(last - start, COLLAPSED)
            start += piece
            size = (1 << max((piece + SHARED_INFO - 1).bit_length(), 10)) + BUFFER_HEAD
            self._ends.append(start)
            self._sizes.append(size)
            self.charged += size
