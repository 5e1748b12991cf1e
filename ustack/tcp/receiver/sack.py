"""What is reported out of order: SACK blocks (RFC 2018) and D-SACK (RFC 2883)."""

from __future__ import annotations

from ustack.tcp.constants import MAX_SACK_BLOCKS
from ustack.tcp.receiver.state import Receiver


def held_of(receiver: Receiver, seq: int, end: int) -> tuple[int, int] | None:
    """The first stretch of [seq, end) that had come before, out of order: it arrives twice.

    D-SACK tells of one block only, and stretches that are held apart never make one block."""
    first = receiver.irs + 1
    held = receiver.receive_ring.overlap(seq - first, end - first)
    return None if held is None else (held[0] + first, held[1] + first)


def remember_block(receiver: Receiver, seq: int) -> None:
    """The block with the latest arrival is reported first (RFC 2018 section 4)."""
    recent = receiver.recent_blocks
    if seq in recent:
        recent.remove(seq)
    recent.insert(0, seq)
    del recent[2 * MAX_SACK_BLOCKS :]


def has_gap(receiver: Receiver) -> bool:
    """Something lies beyond rcv_nxt with a hole before it: text, or the peer's FIN."""
    return receiver.receive_ring.has_gap() or receiver.rcv_fin > receiver.rcv_nxt


def held_top(receiver: Receiver) -> int:
    """One past the last sequence number that is held; the FIN counts as one (as Linux sacks it)."""
    if receiver.rcv_fin > receiver.rcv_nxt:
        return receiver.rcv_fin + 1
    return receiver.receive_ring.top() + receiver.irs + 1


def _held_block(receiver: Receiver, seq: int) -> tuple[int, int] | None:
    """What is held without a hole around ``seq``, beyond the first hole."""
    first = receiver.irs + 1
    fin = receiver.rcv_fin if receiver.rcv_fin > receiver.rcv_nxt else -1
    found = receiver.receive_ring.block_of((fin - 1 if seq == fin else seq) - first)
    if found is None:
        return (fin, fin + 1) if seq == fin else None
    return _with_fin(found[0] + first, found[1] + first, fin)


def _with_fin(start: int, end: int, fin: int) -> tuple[int, int]:
    return (start, end + 1) if end == fin else (start, end)


def _lowest_blocks(receiver: Receiver, most: int) -> list[tuple[int, int]]:
    """The first ``most`` blocks beyond the first hole, ascending."""
    first = receiver.irs + 1
    fin = receiver.rcv_fin if receiver.rcv_fin > receiver.rcv_nxt else -1
    blocks = [_with_fin(start + first, end + first, fin) for start, end in receiver.receive_ring.first_blocks(most)]
    if fin >= 0 and len(blocks) < most and (not blocks or blocks[-1][1] <= fin):
        blocks.append((fin, fin + 1))
    return blocks


def choose_blocks(receiver: Receiver, most: int) -> list[tuple[int, int]]:
    """Up to ``most`` blocks for the next ACK: D-SACK first (RFC 2883), then by recency (RFC 2018 section 4). Arrivals
    that no block holds any more are forgotten.

    A peer can make a thousand ranges: only those of the latest arrivals and the lowest are looked at."""
    duplicate = [receiver.dsack] if receiver.dsack is not None else []
    if not has_gap(receiver):
        receiver.recent_blocks.clear()
        return duplicate
    chosen: list[tuple[int, int]] = []
    keep: list[int] = []
    for seq in receiver.recent_blocks:
        block = _block_among(chosen, seq)
        if block is None and len(chosen) < most:
            block = _held_block(receiver, seq)
            if block is None:
                continue
            chosen.append(block)
        keep.append(seq)
    if len(chosen) < most:
        for block in _lowest_blocks(receiver, most):
            if len(chosen) < most and block not in chosen:
                chosen.append(block)
    receiver.recent_blocks = keep or [held_top(receiver) - 1]  # empty only while there is no gap
    return (duplicate + chosen)[:most]  # a block that arrived twice as a whole is told twice (RFC 2883 section 4.1.3)


def _block_among(blocks: list[tuple[int, int]], seq: int) -> tuple[int, int] | None:
    """The one of a few blocks that holds ``seq``."""
    for block in blocks:
        if block[0] <= seq < block[1]:
            return block
    return None


def note_dsack(receiver: Receiver, start: int, end: int) -> None:
    """[start, end) arrived twice: say so in the next ACK (RFC 2883)."""
    if receiver.agreed.sack_on and receiver.host.settings.tcp_dsack and start < end:
        receiver.host.counters.add("TCPDSACKOldSent" if start < receiver.rcv_nxt else "TCPDSACKOfoSent")
        receiver.dsack = (start, end)


def extend_dsack(receiver: Receiver, start: int, end: int) -> None:
    """The same for a duplicate above the gap; neighbours of one segment make one block."""
    if receiver.dsack is not None and start <= receiver.dsack[1] and receiver.dsack[0] <= end:
        receiver.dsack = (min(start, receiver.dsack[0]), max(end, receiver.dsack[1]))
    elif receiver.dsack is None:
        note_dsack(receiver, start, end)
