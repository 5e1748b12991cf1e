"""What a test came to, as numbers for both kinds of report."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any, TextIO

from ustack.iperf3.settings import Test
from ustack.iperf3.streams import Interval, Run


class Processor:
    """Processor time of this process as a share of the time that passed, in per cent: total, user, system."""

    def __init__(self) -> None:
        self._wall = time.monotonic()
        self._used = time.process_time()

    def shares(self) -> tuple[float, float, float]:
        wall = max(time.monotonic() - self._wall, 1e-9)
        total = 100 * (time.process_time() - self._used) / wall
        return total, total, 0.0


@dataclass
class Outcome:
    """One finished test. `remote` is what the other end counted."""

    test: Test
    run: Run
    local: dict[str, Any]
    remote: dict[str, Any]
    is_server: bool
    start: dict[str, Any] = field(default_factory=dict)
    ended: BaseException | None = None
    """What broke the test off: then there is nothing from the other end."""

    def directions(self) -> list[bool]:
        """False: client to server; True: server to client."""
        return [False, True] if self.test.bidirectional else [self.test.reverse]

    def totals(self, backwards: bool) -> tuple[dict[str, Any], dict[str, Any]]:
        """(sent, received) of one direction, as iperf3's JSON writes them."""
        sends_here = backwards == self.is_server
        here = [entry for stream, entry in zip(self.run.streams, self.local["streams"], strict=True)
                if stream.sends == sends_here]  # fmt: skip
        numbers = {entry["id"] for entry in here}
        there = [entry for entry in self.remote.get("streams", []) if entry.get("id") in numbers]
        sender, receiver = (here, there) if sends_here else (there, here)
        sent, received = _sum(sender, True, self.run.seconds), _sum(receiver, False, self.run.seconds)
        if any(entry.get("retransmits", -1) >= 0 for entry in sender):
            sent["retransmits"] = sum(max(entry.get("retransmits", 0), 0) for entry in sender)
        return sent, received


def sound_results(said: dict[str, Any]) -> dict[str, Any]:
    """The other end's results, without what is of another kind than it should be."""
    sound: dict[str, Any] = {name: value for name, value in said.items() if _is_number(value)}
    streams = said.get("streams")
    sound["streams"] = [
        {name: value for name, value in entry.items() if _is_number(value)}
        for entry in (streams if isinstance(streams, list) else [])
        if isinstance(entry, dict)
    ]
    return sound


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1 << 62


def _sum(entries: list[dict[str, Any]], sender: bool, fallback: float) -> dict[str, Any]:
    seconds = max([float(entry.get("end_time", 0)) for entry in entries] or [0.0]) or fallback
    moved = sum(int(entry.get("bytes", 0)) for entry in entries)
    return {
        "start": 0,
        "end": seconds,
        "seconds": seconds,
        "bytes": moved,
        "bits_per_second": moved * 8 / seconds,
        "sender": sender,
    }


def as_json(outcome: Outcome) -> dict[str, Any]:
    """The whole test in the shape of `iperf3 -J`."""
    end: dict[str, Any] = {"streams": _streams(outcome)}
    for backwards in outcome.directions():
        tail = "_bidir_reverse" if outcome.test.bidirectional and backwards else ""
        end[f"sum_sent{tail}"], end[f"sum_received{tail}"] = outcome.totals(backwards)
    host, remote = outcome.local, outcome.remote
    end["cpu_utilization_percent"] = {
        "host_total": host["cpu_util_total"],
        "host_user": host["cpu_util_user"],
        "host_system": host["cpu_util_system"],
        "remote_total": remote.get("cpu_util_total", 0),
        "remote_user": remote.get("cpu_util_user", 0),
        "remote_system": remote.get("cpu_util_system", 0),
    }
    return {"start": outcome.start, "intervals": _intervals(outcome.run), "end": end}


def _streams(outcome: Outcome) -> list[dict[str, Any]]:
    remote = {entry.get("id"): entry for entry in outcome.remote.get("streams", [])}
    lines = []
    for stream, here in zip(outcome.run.streams, outcome.local["streams"], strict=True):
        there = remote.get(stream.number, {"bytes": 0})
        sent, received = (here, there) if stream.sends else (there, here)
        lines.append(
            {
                "sender": {"socket": stream.number, **_sum([sent], True, outcome.run.seconds)},
                "receiver": {"socket": stream.number, **_sum([received], False, outcome.run.seconds)},
            }
        )
    return lines


def _intervals(run: Run) -> list[dict[str, Any]]:
    lines = []
    for interval in run.intervals:
        streams = [_interval(part, part.number) for part in interval]
        moved = sum(part.bytes for part in interval)
        first = interval[0]
        whole = _interval(Interval(0, first.sends, first.start, first.end, moved), 0)
        whole.pop("socket")
        lines.append({"streams": streams, "sum": whole})
    return lines


def _interval(part: Interval, number: int) -> dict[str, Any]:
    seconds = max(part.end - part.start, 1e-9)
    return {
        "socket": number,
        "start": part.start,
        "end": part.end,
        "seconds": seconds,
        "bytes": part.bytes,
        "bits_per_second": part.bytes * 8 / seconds,
        "omitted": False,
        "sender": part.sends,
    }


HEADING = "[ ID] Interval           Transfer     Bitrate"


def amount(value: float, unit: str, step: float) -> str:
    """`1.10 GBytes`: three digits and the prefix that fits."""
    for prefix in ("", "K", "M", "G"):
        if value < step or prefix == "G":
            break
        value /= step
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f} {prefix}{unit}"


def print_interval(parts: list[Interval], out: TextIO) -> None:
    """One line for each stream, and their sum when they are several."""
    rows = [(f"{part.number:3d}", part) for part in parts]
    if len(parts) > 1:
        first = parts[0]
        rows.append(("SUM", Interval(0, first.sends, first.start, first.end, sum(part.bytes for part in parts))))
    for name, part in rows:
        seconds = max(part.end - part.start, 1e-9)
        print(f"[{name}] {part.start:6.2f}-{part.end:<6.2f} sec  {amount(part.bytes, 'Bytes', 1024):>12}  "
              f"{amount(part.bytes * 8 / seconds, 'bits/sec', 1000)}", file=out, flush=True)  # fmt: skip


def print_summary(outcome: Outcome, out: TextIO) -> None:
    """What was sent and what arrived, by the counts of both ends."""
    print("- - - - - - - - - - - - - - - - - - - - - - - - -\n" + HEADING, file=out)
    for backwards in outcome.directions():
        sends_here = backwards == outcome.is_server
        for role, whole in zip(("sender", "receiver"), outcome.totals(backwards), strict=True):
            if outcome.ended is not None and sends_here != (role == "sender"):
                continue
            retransmits = f"  {whole['retransmits']:5d} retransmits" if "retransmits" in whole else ""
            way = "  (server to client)" if backwards else ""
            print(f"[SUM] {0:6.2f}-{whole['seconds']:<6.2f} sec  {amount(whole['bytes'], 'Bytes', 1024):>12}  "
                  f"{amount(whole['bits_per_second'], 'bits/sec', 1000):>16}{retransmits}  {role}{way}",
                  file=out)  # fmt: skip
    out.flush()


def print_json(outcome: Outcome, out: TextIO) -> None:
    """The JSON report, indented as iperf3 does."""
    json.dump(as_json(outcome), out, indent=2)
    print(file=out, flush=True)
