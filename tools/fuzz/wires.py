"""The C core against its Python twins: batches of packets in, rings, cuts; whatever the bytes."""

from __future__ import annotations

import dataclasses
import random
import traceback
from collections import Counter

from tools.fuzz.choice import Chooser
from tools.fuzz.flows import LISTEN_PORT, OURS, THEIRS, Flow, Forged
from tools.fuzz.hostile import Setup, World
from tools.fuzz.invariants import require
from tools.fuzz.text import text
from ustack import native
from ustack.ring import ReceiveRing, SendRing
from ustack.wire.frame import Frame, Segment, Transmit
from ustack.wire.parse import parse_packet
from ustack.wire.split import cut
from ustack.wire.tcp import ACK, FIN, PSH


def random_packets(rng: random.Random) -> list[bytes]:
    """Runs that almost merge, fragments, damage."""
    world = World(Setup())
    chooser = Chooser(rng)
    packets: list[bytes] = []
    flows = [Flow(rng.choice((4, 6)), 1000 + number, LISTEN_PORT) for number in range(2)]
    at = dict.fromkeys(flows, rng.choice((1, 0xFFFFFF00, 0x7FFFFF00)))
    most = rng.choice((2, 10, 60))
    odd = rng.choice((0.02, 0.2))
    while len(packets) < most:
        flow = rng.choice(flows)
        length = rng.choice((0, 1, 100, 100, 1448)) if most < 60 else rng.choice((0, 64, 64))
        lot = rng.random()
        if lot < 0.8:
            flags = ACK | (PSH if rng.random() < 0.1 else 0) | (FIN if rng.random() < 0.02 else 0)
            options, stamp, window, tos = b"", (1, 0), 1000, 0
            if rng.random() < odd:
                options = rng.choice((b"\x01\x01\x05\x0a" + bytes(8), bytes(4)))
                window, tos = rng.choice((1000, 2000)), rng.choice((0, 2, 3))
            forged = Forged(flags, at[flow], 1, window, length, 0, stamp, (), options, tos)
            if rng.random() < odd:
                forged = dataclasses.replace(forged, ts=rng.choice(((2, 0), (0, 0), None)))
            packets.append(forged.build(flow, world.stack, world.now))
            at[flow] += length if rng.random() < 0.95 else rng.choice((0, -100, 100))
        elif lot < 0.9 and packets:
            damaged = bytearray(rng.choice(packets) or b"E")
            for _ in range(rng.randrange(1, 4)):
                damaged[rng.randrange(min(len(damaged), 80))] = rng.randrange(256)
            packets.append(bytes(damaged[: rng.choice((len(damaged), rng.randrange(1, len(damaged) + 1)))]))
        elif lot < 0.95:
            packets += chooser._raw(world)[1:]
        else:
            packets.append(rng.randbytes(rng.randrange(1, 200)))
    return packets


def check_batch(packets: list[bytes]) -> None:
    """C reads the batch and makes runs; the twin reads each packet: the same kinds, the same bytes at each place."""
    receiver = native.Receiver(1 << 16, 8)
    core = receiver.receive_packets(packets)
    twin = [parse_packet(packet) for packet in packets]
    require(_others(core) == _others(twin), "C and Python see other kinds of packets")
    segs = sum(frame.segs for frame in core if isinstance(frame, Segment))
    require(segs == sum(isinstance(frame, Segment) for frame in twin), "segments miscounted", segs)
    require(_bytes_at(core) == _bytes_at(twin), "C and Python read other bytes")
    receiver.poison()


def _others(frames: list[Frame]) -> Counter[str]:
    names = (type(frame).__name__ for frame in frames)
    return Counter(name for name in names if name != "Segment")


def _bytes_at(frames: list[Frame]) -> Counter[tuple[bytes, int, int]]:
    found: Counter[tuple[bytes, int, int]] = Counter()
    for frame in frames:
        if isinstance(frame, Segment):
            payload = native.payload_bytes(frame.payload, 0, frame.payload_length)
            for index, byte in enumerate(payload):
                found[frame.key, (frame.seq + index) & 0xFFFFFFFF, byte] += 1
    return found


def check_receive_rings(rng: random.Random) -> None:
    """The two receive rings do the same."""
    capacity = rng.choice((64, 1000, 4096, 100_000))
    rings = ReceiveRing(capacity), native.NativeRings().receive_ring(capacity)
    for _ in range(rng.choice((10, 200))):
        lot = rng.random()
        twin = rings[0]
        if lot < 0.6:
            at = twin.end + rng.choice((0, 0, -50, 1, 10, 100, capacity - 10, capacity + 10))
            at = max(at, 0)
            length = rng.choice((0, 1, 20, 100, 1448))
            skip = rng.choice((0, 0, min(5, length)))
            payload = text(at - skip, length + skip)
            moved = [ring.place(at, payload, skip, length) for ring in rings]
            require(moved[0] == moved[1], "place", moved)
        elif lot < 0.8:
            size = rng.choice((1, 50, 5000))
            start = twin.start
            read = [ring.read(size) for ring in rings]
            require(read[0] == read[1] == text(start, len(read[0])), "read", size)
        elif lot < 0.85:
            size = rng.choice((1, 100))
            require(len({ring.skip(size) for ring in rings}) == 1, "skip", size)
        elif lot < 0.9:
            for ring in rings:
                ring.trim()
        elif lot < 0.93:
            capacity = rng.choice((64, 1000, 4096, 100_000))
            for ring in rings:
                ring.resize(capacity)
        else:
            size, offset = rng.choice((1, 100)), rng.choice((0, 3))
            require(rings[0].peek(size, offset) == rings[1].peek(size, offset), "peek", (size, offset))
        seen = [(ring.start, ring.end, ring.capacity, ring.blocks(), ring.readable()) for ring in rings]
        require(seen[0] == seen[1], "receive rings differ", seen)


def check_send_rings(rng: random.Random) -> None:
    """The two send rings do the same, and what they hold is cut alike."""
    capacity = rng.choice((64, 1000, 70_000))
    rings = SendRing(capacity), native.NativeRings().send_ring(capacity)
    for _ in range(rng.choice((10, 100))):
        lot = rng.random()
        twin = rings[0]
        if lot < 0.5:
            data = text(twin.end, rng.choice((0, 1, 100, 5000)))
            taken = [ring.write(data) for ring in rings]
            require(taken[0] == taken[1], "write", taken)
        elif lot < 0.7:
            upto = rng.randint(twin.start, twin.end)
            for ring in rings:
                ring.release(upto)
        elif lot < 0.75:
            capacity = rng.choice((64, 1000, 70_000))
            for ring in rings:
                ring.resize(capacity)
        elif lot < 0.8:
            for ring in rings:
                ring.trim()
        elif twin.end > twin.start:
            at = rng.randrange(twin.start, twin.end)
            _check_cut(rng, rings, at, rng.randint(0, min(twin.end - at, 20_000)))
        seen = [(ring.start, ring.end, ring.free()) for ring in rings]
        require(seen[0] == seen[1], "send rings differ", seen)


def _check_cut(rng: random.Random, rings: tuple[SendRing, SendRing], at: int, length: int) -> None:
    family = rng.choice((4, 6))
    options = bytes(4 * rng.randrange(11))
    size = rng.choice((0, 1448, 88, 9000)) if length < 2000 else rng.choice((536, 1448, 9000))
    flags, seq = rng.randrange(512), rng.choice((7, 0xFFFFFFF0))
    packets = []
    for ring, cutter in zip(rings, (cut, native.cut), strict=True):
        run = Transmit(OURS[family], THEIRS[family], 80, 1000, seq, 9, flags, 77, 0, options, ring, at, length, size)
        packets.append(cutter(run))
    require(packets[0] == packets[1], "cut differently", (length, size))


def run_case(seed: int) -> Exception | None:
    """What went wrong in the case of this seed; None: nothing."""
    rng = random.Random(seed)
    try:
        check_batch(random_packets(rng))
        check_receive_rings(rng)
        check_send_rings(rng)
    except Exception as error:  # whatever it is: it is what we look for
        return error
    return None


def report(seed: int) -> str:
    """The same as text; "" when all is well."""
    error = run_case(seed)
    if error is None:
        return ""
    return f"wires seed {seed}: {error}\n" + "".join(traceback.format_exception(error, limit=-4))
