"""The state machine of RFC 9293, figure 5, as one table.

Inputs are what was seen on the wire (or what took its place in the sequence): ``FIN_SENT``, not
``close``. A connection changes its state only through :func:`transition`; an input that has no
row in the table is a defect of ustack and raises. The diagrams in the docs are drawn from here.

The numbers of the states are Linux's (``include/net/tcp_states.h``), since ``TCP_INFO``, ``ss``
and /proc/net/tcp show them.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from mypy_extensions import mypyc_attr


class State(IntEnum):
    """The eleven states of RFC 9293 section 3.3.2, with Linux's numbers and names."""

    ESTABLISHED = 1
    SYN_SENT = 2
    SYN_RECEIVED = 3
    FIN_WAIT_1 = 4
    FIN_WAIT_2 = 5
    TIME_WAIT = 6
    CLOSED = 7
    CLOSE_WAIT = 8
    LAST_ACK = 9
    LISTEN = 10
    CLOSING = 11


class Input(IntEnum):
    """What moves the machine."""

    LISTENING = 1
    """A passive open: nothing on the wire yet."""
    SYN_SENT = 2
    """Our SYN took sequence number ISS."""
    SYN_RECEIVED = 3
    """The peer's SYN, without an ACK of ours (and our SYN-ACK answers it)."""
    SYN_ACKED = 4
    """Our SYN is acknowledged, and the peer's SYN is here."""
    FIN_SENT = 5
    """Our FIN took its place behind the last byte (it may still wait for the window)."""
    FIN_ACKED = 6
    """Our FIN is acknowledged."""
    FIN_RECEIVED = 7
    """The peer's FIN is next in sequence."""
    RESET = 8
    """RST seen or sent, or the connection given up."""
    EXPIRED = 9
    """2 MSL (or the orphan's tcp_fin_timeout) have passed."""


_CLOSED_BY_RESET: Final = (
    State.SYN_SENT,
    State.SYN_RECEIVED,
    State.ESTABLISHED,
    State.FIN_WAIT_1,
    State.FIN_WAIT_2,
    State.CLOSE_WAIT,
    State.CLOSING,
    State.LAST_ACK,
    State.TIME_WAIT,
    State.LISTEN,
)

TABLE: Final[dict[tuple[State, Input], State]] = {
    (State.CLOSED, Input.LISTENING): State.LISTEN,
    (State.CLOSED, Input.SYN_SENT): State.SYN_SENT,
    (State.LISTEN, Input.SYN_RECEIVED): State.SYN_RECEIVED,
    (State.SYN_SENT, Input.SYN_RECEIVED): State.SYN_RECEIVED,  # simultaneous open
    (State.SYN_SENT, Input.SYN_ACKED): State.ESTABLISHED,
    (State.SYN_RECEIVED, Input.SYN_ACKED): State.ESTABLISHED,
    (State.SYN_RECEIVED, Input.FIN_SENT): State.FIN_WAIT_1,
    (State.ESTABLISHED, Input.FIN_SENT): State.FIN_WAIT_1,
    (State.ESTABLISHED, Input.FIN_RECEIVED): State.CLOSE_WAIT,
    (State.FIN_WAIT_1, Input.SYN_ACKED): State.FIN_WAIT_1,  # closed while SYN-RECEIVED
    (State.FIN_WAIT_1, Input.FIN_ACKED): State.FIN_WAIT_2,
    (State.FIN_WAIT_1, Input.FIN_RECEIVED): State.CLOSING,
    (State.FIN_WAIT_2, Input.FIN_RECEIVED): State.TIME_WAIT,
    (State.FIN_WAIT_2, Input.EXPIRED): State.CLOSED,  # an orphan's tcp_fin_timeout
    (State.CLOSING, Input.FIN_ACKED): State.TIME_WAIT,
    (State.CLOSE_WAIT, Input.FIN_SENT): State.LAST_ACK,
    (State.LAST_ACK, Input.FIN_ACKED): State.CLOSED,
    (State.TIME_WAIT, Input.EXPIRED): State.CLOSED,
    **{(state, Input.RESET): State.CLOSED for state in _CLOSED_BY_RESET},
}


@mypyc_attr(native_class=False)
class IllegalTransitionError(RuntimeError):
    """ustack fed its own machine an input that the state does not know: a defect, never the peer's fault."""


def transition(state: State, seen: Input) -> State:
    """The state after ``seen``. Raises IllegalTransitionError where figure 5 has no arrow."""
    after = TABLE.get((state, seen))
    if after is None:
        raise IllegalTransitionError(f"{seen.name} in {state.name}")
    return after


def may_receive_text(state: State) -> bool:
    """Text of the segment is taken in these states only."""
    return state is State.ESTABLISHED or state is State.FIN_WAIT_1 or state is State.FIN_WAIT_2


def may_send_text(state: State) -> bool:
    """The application may still write in these states."""
    return state is State.ESTABLISHED or state is State.CLOSE_WAIT
