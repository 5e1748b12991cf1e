"""Any ACK from a peer that lies: the counts stay whole, the records stay few, nothing sacked leaves again."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ustack.recovery.scoreboard import Scoreboard
from ustack.recovery.sent import Sent

MSS = 10
MS = 1_000_000

numbers = st.integers(-300, 600)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(1, 200), st.just(0)),
        st.tuples(st.just("ack"), numbers, st.lists(st.tuples(numbers, numbers), max_size=4)),
        st.tuples(st.just("dupack"), st.just(0), st.just(0)),
        st.tuples(st.just("partial"), st.just(0), st.just(0)),
        st.tuples(st.just("resend"), st.integers(1, 100), st.just(0)),
        st.tuples(st.just("probe"), st.just(0), st.just(0)),
        st.tuples(st.just("timeout"), st.booleans(), st.just(0)),
        st.tuples(st.just("undo"), st.just(0), st.just(0)),
        st.tuples(st.just("mss"), st.integers(3, 20), st.just(0)),
        st.tuples(st.just("wait"), st.integers(0, 100), st.just(0)),
    ),
    max_size=60,
)


def whole(board: Scoreboard, segments: int) -> None:
    records = board.sent_list.live()
    at = board.una
    sacked = lost = resent = 0
    for record in records:
        assert record.start == at < record.end
        at = record.end
        length = record.end - record.start
        assert not (record.sacked and (record.lost or record.resent))
        sacked += length * record.sacked
        lost += length * record.lost
        resent += length * record.resent
    assert at == board.highest_sent
    assert (board.lost_bytes, board.retransmitted_bytes) == (lost, resent)
    if board.enable_sack:
        assert board.sacked_bytes == sacked
    else:
        assert sacked == 0
    outstanding = board.highest_sent - board.una
    assert 0 <= board.sacked_bytes <= outstanding
    assert board.in_flight >= 0
    assert len(records) <= segments
    hole = board.next_lost()
    waiting = [(r.start, r.end) for r in records if r.lost and not r.resent]
    assert hole == (waiting[0] if waiting else None)
    assert board._overtake() is last_overtaken(board)


def last_overtaken(board: Scoreboard) -> Sent | None:
    """What the scoreboard remembers between ACKs, found by walking from the oldest."""
    last = None
    record = board.sent_list.oldest
    while record is not None and board.rack.sent_before_newest(record):
        last, record = record, record.newer
    return last


Action = tuple[str, int, list[tuple[int, int]]]


def act(board: Scoreboard, action: Action, now: int) -> int:
    """One step; returns how many records it may have added."""
    name, size, blocks = action
    if name == "send":
        board.sent(board.highest_sent, board.highest_sent + size, now)
        return 2 + size // 3
    if name == "ack":
        base = board.una
        absolute = [(base + a, base + b) for a, b in blocks] if board.enable_sack else []
        result = board.acked(base + size, absolute, now)
        assert result.delivered >= 0
        assert result.rtt <= now
        board.detect_losses(now, 5 * MS, 2 * MS)
        return 0
    if name == "dupack" and not board.enable_sack:
        board.acked(board.una, [], now)
        board.dupack(now)
        board.detect_losses(now, 5 * MS, 2 * MS)
    return resend_or_forget(board, name, size, now)


def resend_or_forget(board: Scoreboard, name: str, size: int, now: int) -> int:
    if name == "partial":
        board.on_partial_ack()
    elif name == "resend":
        hole = board.next_lost()
        if hole is not None:
            board.resent(hole[0], min(hole[1], hole[0] + size), now)
    elif name == "probe" and not board.is_empty:
        board.resent(*board.last_segment(), now)
    elif name == "timeout":
        board.mark_all_lost(now if size else -1)
    elif name == "undo":
        board.forget_losses()
    elif name == "mss":
        board.mss = size
        board.mark_oversized([])
    return 1


@pytest.mark.parametrize("with_sack", [True, False])
@given(script=actions)
@settings(max_examples=400, deadline=None)
def test_any_acks(with_sack: bool, script: list[Action]) -> None:
    board = Scoreboard(1000, MSS)
    board.enable_sack = with_sack
    now = MS
    segments = 1
    for action in script:
        if action[0] == "wait":
            now += action[1] * MS // 10
        else:
            segments += act(board, action, now)
        board.in_recovery = board.lost_bytes > 0
        whole(board, segments)
    board.acked(board.highest_sent, [], now)
    assert board.is_empty
    assert board.is_clean or not with_sack
    assert (board.in_flight, board.lost_bytes, board.retransmitted_bytes) == (0, 0, 0)
    assert board.sent_list.oldest is None
