"""What the C core costs by itself: no device, no stack. ``python tools/bench/native_bench.py``; best of five."""

from __future__ import annotations

import time
from collections.abc import Callable

from ustack import native
from ustack.ring import SendRing
from ustack.wire.frame import Transmit

V4 = bytes(10) + b"\xff\xff"
SEGMENT = 1448
SEGS = 400
TIMESTAMPS = b"\x01\x01\x08\x0a" + bytes(8)


def best_ns(action: Callable[[], object], times: int) -> float:
    """Nanoseconds of one call: the best round of five."""
    rounds = []
    for _ in range(5):
        start = time.perf_counter_ns()
        for _ in range(times):
            action()
        rounds.append((time.perf_counter_ns() - start) / times)
    return min(rounds)


def run(payload: bytes, ring: SendRing) -> Transmit:
    """A record of ``payload`` in ``ring``, cut at SEGMENT."""
    ring.write(payload)
    source, destination = V4 + bytes([10, 0, 0, 1]), V4 + bytes([10, 0, 0, 2])
    made = Transmit(source, destination, 5000, 80, 1, 1, 0x10, 500, 0, TIMESTAMPS, ring, 0, len(payload))
    made.segment_size = SEGMENT
    return made


def main() -> None:
    """Prints one line for each measure."""
    for size in (20, 1460, 65536, 1 << 20):
        data = bytes(size)
        cost = best_ns(lambda data=data: native.checksum(data), 2000 if size < 100_000 else 200)
        print(f"checksum of {size:>8} bytes        {cost:10.0f} ns  {size / cost:6.1f} GB/s")
    bulk = run(bytes(SEGMENT * SEGS), native.NativeSendRing(1 << 20))
    packets = native.cut(bulk)
    cost = best_ns(lambda: native.cut(bulk), 20)
    print(f"cut, a segment of {SEGMENT}            {cost / SEGS:10.0f} ns  (with the copy into bytes objects)")
    receiver = native.Receiver()
    for trusted in (False, True):
        cost = best_ns(lambda trusted=trusted: receiver.receive_packets(packets, trusted), 50)
        print(f"parse and merge a segment{', trusted' if trusted else ''.ljust(9)}   {cost / SEGS:10.0f} ns")
    (frame,) = receiver.receive_packets(packets[:1])
    segment: object = frame.payload  # type: ignore[attr-defined]
    ring = native.NativeReceiveRing(1 << 20)
    buffer = bytearray(1 << 20)

    def there_and_out() -> None:
        ring.place(ring.end, segment, 0, SEGMENT)
        ring.read_into(buffer)

    print(f"place {SEGMENT} bytes and read them    {best_ns(there_and_out, 20000):10.0f} ns")
    print(f"one small segment in               {best_ns(lambda: receiver.receive_packets(packets[:1]), 5000):10.0f} ns")
    small = run(b"x", native.NativeSendRing(100))
    print(f"one small segment out, to nowhere  {best_ns(lambda: out(small), 5000):10.0f} ns")


def out(made: Transmit) -> None:
    """A write that fails at once: what remains is packing and the call."""
    try:
        native.send(-1, True, [made])
    except OSError:
        return


if __name__ == "__main__":
    main()
