"""One test's parameters, as the two ends agree on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ustack.iperf3.protocol import ProtocolError

DEFAULT_BLOCK = 128 * 1024
"""Bytes of one write or read, as iperf3's own default for TCP."""

MOST_STREAMS = 128
LARGEST_BLOCK = 1 << 20
LONGEST_SECONDS = 86_400


@dataclass(frozen=True)
class Test:
    """What is measured. `total` ends the test instead of the time when it is not 0."""

    seconds: int = 10
    omit: int = 0
    parallel: int = 1
    reverse: bool = False
    bidirectional: bool = False
    block: int = DEFAULT_BLOCK
    total: int = 0
    """Bytes over all streams, 0: until the time is over."""
    blocks: int = 0
    """The same in blocks, where that is how it was said."""

    congestion: str = ""
    nodelay: bool = False
    mss: int = 0
    window: int = 0
    """Socket buffers in bytes, 0: as the stack decides."""

    def parameters(self) -> dict[str, Any]:
        """The JSON that a client sends."""
        said: dict[str, Any] = {
            "tcp": True, "omit": self.omit, "time": 0 if self.total else self.seconds,
            "num": 0 if self.blocks else self.total, "blockcount": self.blocks, "parallel": self.parallel,
            "len": self.block, "pacing_timer": 1000,
            "client_version": "3.12",
        }  # fmt: skip
        said |= {"reverse": True} if self.reverse else {}
        said |= {"bidirectional": True} if self.bidirectional else {}
        said |= {"congestion": self.congestion} if self.congestion else {}
        said |= {"nodelay": True} if self.nodelay else {}
        said |= {"MSS": self.mss} if self.mss else {}
        said |= {"window": self.window} if self.window else {}
        return said


def from_parameters(said: dict[str, Any]) -> Test:
    """What a client asked for. Raises ProtocolError for what this server does not do or no server should."""
    if not said.get("tcp"):
        raise ProtocolError("only TCP tests are served here")
    try:
        blocks = _number(said, "blockcount", 0, 0, 1 << 40)
        block = _number(said, "len", DEFAULT_BLOCK, 1, LARGEST_BLOCK)
        return Test(
            seconds=_number(said, "time", 10, 0, LONGEST_SECONDS),
            omit=_number(said, "omit", 0, 0, 600),
            parallel=_number(said, "parallel", 1, 1, MOST_STREAMS),
            reverse=bool(said.get("reverse", False)),
            bidirectional=bool(said.get("bidirectional", False)),
            block=block,
            total=_number(said, "num", 0, 0, 1 << 60) or blocks * block,
            blocks=blocks,
            congestion=str(said.get("congestion", "")),
            nodelay=bool(said.get("nodelay", False)),
            mss=_number(said, "MSS", 0, 0, 65_535),
            window=_number(said, "window", 0, 0, 1 << 30),
        )
    except TypeError:
        raise ProtocolError("a parameter that should be a number is none") from None


def _number(said: dict[str, Any], name: str, default: int, low: int, high: int) -> int:
    value = said.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(name)
    if not low <= value <= high:
        raise ProtocolError(f"{name} = {value} is outside {low}-{high}")
    return int(value)
