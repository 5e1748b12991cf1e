"""What hostile peers and a restless application do next, chosen at random, but around interesting edges."""

from __future__ import annotations

import random
from typing import Any

from tools.fuzz import early
from tools.fuzz.flows import CONNECT_PORT, LISTEN_PORT, OURS, THEIRS, Flow, Forged, ForgedError
from tools.fuzz.hostile import START, Operation, Setup, World
from ustack.tcp.connection.connection import Connection
from ustack.wire import ipv4, ipv6
from ustack.wire.tcp import ACK, AE, CWR, ECE, FIN, PSH, RST, SYN, URG

MS = 1_000_000
SECOND = 1_000_000_000
OPTION_CHANGES: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("nodelay", (True, False)),
    ("cork", (True, False)),
    ("quickack", (True, False)),
    ("keepalive", (True, False)),
    ("keepidle_s", (1, 100)),
    ("keepintvl_s", (1, 20)),
    ("keepcnt", (1, 3)),
    ("linger_s", (-1, 0, 5)),
    ("linger2_s", (-1, 0, 5)),
    ("user_timeout_ms", (0, 1, 500, 30_000)),
    ("sndbuf", (4608, 65536, 1 << 20)),
    ("rcvbuf", (2304, 65536, 1 << 20)),
    ("window_clamp", (0, 1000, 30_000)),
    ("maxseg", (0, 88, 500, 1400)),
    ("max_pacing_rate", (10_000, 10_000_000, (1 << 62) - 1)),
    ("congestion", ("reno", "cubic", "bbr")),
    ("reuseaddr", (True, False)),
    ("oobinline", (True, False)),
    ("recverr", (True, False)),
    ("notsent_lowat", (0, 1, 16384)),
    ("mtu_discover", (0, 1, 2)),
)
SETTINGS: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("tcp_timestamps", (0, 1, 2)),
    ("tcp_sack", (0, 1)),
    ("tcp_window_scaling", (0, 1)),
    ("tcp_ecn", (0, 1, 2, 3, 3, 4, 5)),
    ("tcp_ecn_option", (0, 1, 2, 3)),
    ("tcp_ecn_option_beacon", (0, 1, 3)),
    ("tcp_ecn_fallback", (0, 1)),
    ("tcp_fastopen", (0, 1, 3, 7, 0x603, 0x603)),
    ("tcp_fastopen_key", (early.FAST_OPEN_KEY,)),
    ("tcp_fastopen_blackhole_timeout_sec", (0, 3600)),
    ("tcp_syncookies", (0, 1, 2)),
    ("tcp_congestion_control", ("reno", "cubic", "bbr")),
    ("tcp_rmem", ((4096, 4096, 4096), (4096, 131072, 33554432), (4096, 16384, 65536))),
    ("tcp_wmem", ((4096, 4096, 4096), (4096, 16384, 4194304))),
    ("tcp_max_tw_buckets", (0, 2, 131072)),
    ("tcp_max_orphans", (0, 131072)),
    ("tcp_rfc1337", (0, 1)),
    ("tcp_abort_on_overflow", (0, 1)),
    ("tcp_frto", (0, 2)),
    ("tcp_early_retrans", (0, 3)),
    ("tcp_slow_start_after_idle", (0, 1)),
    ("tcp_tw_reuse", (0, 1, 2)),
    ("tcp_timewait_length", (0, 60)),
    ("tcp_retries2", (3, 15)),
    ("ipfrag_high_thresh", (3000, 4194304)),
)


def random_setup(rng: random.Random, *, with_native: bool = True) -> Setup:
    """Settings away from their defaults, a few at a time."""
    settings = tuple((name, rng.choice(values)) for name, values in SETTINGS if rng.random() < 0.3)
    listener = tuple((name, rng.choice(values)) for name, values in OPTION_CHANGES if rng.random() < 0.05)
    if rng.random() < 0.3:
        settings += early.ALL_ON
    if rng.random() < 0.6:
        listener += (("fastopen_qlen", rng.choice((1, 5, 100))),)
    if rng.random() < 0.1:
        listener += (("defer_accept_s", 3),)
    backlog = rng.choice((0, 1, 4, 128))
    start = rng.choice((START, START, 1, 1 << 61))  # a clock may begin at zero
    mtu = rng.choice((1500, 1500, 1280, 9000))
    return Setup(settings, listener, backlog, with_native and rng.random() < 0.5, mtu, start)


class Chooser:
    """Draws operations for a World. ``polite`` is how often a peer does what an honest one would."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.polite = rng.choice((0.9, 0.7, 0.5, 0.2))
        flows = [Flow(rng.choice((4, 4, 6)), 1000 + n, LISTEN_PORT) for n in range(rng.choice((1, 2, 5)))]
        self.own_ports = (40001, 40002)
        self.connecting = [Flow(4, CONNECT_PORT, port) for port in self.own_ports]
        self.flows = flows + self.connecting
        self.clock: dict[Flow, int] = dict.fromkeys(self.flows, 0)
        self.wants_ts = rng.random() < 0.6
        self.focus = rng.choice(("", "", "", "icmp", "options", "time", "raw"))
        """What comes more often than elsewhere."""
        self.is_steady = rng.random() < 0.5
        """Windows stay, so that duplicate ACKs are duplicates; much is lost."""
        self.early_calls = rng.choice((0.0, 0.0, 0.5))
        """How often a connect() uses Fast Open."""
        self.asks_ecn = rng.choice(early.ASKS_ECN)
        """The ECN flags of a peer's SYN."""

    def operation(self, world: World) -> Operation:
        """The next one."""
        rng = self.rng
        if self.focus and rng.random() < 0.15:
            return self._focused(world)
        lot = rng.random()
        if lot < 0.62:
            return self._segments(world)
        if lot < 0.64:
            return self._icmp(world)
        if lot < 0.66:
            return self._raw(world)
        if lot < 0.76:
            return self._time()
        return self._application(world)

    def _focused(self, world: World) -> Operation:
        if self.focus == "icmp":
            return self._icmp(world)
        if self.focus == "raw":
            return self._raw(world)
        if self.focus == "time":
            return self._time()
        name, values = self.rng.choice(OPTION_CHANGES)
        return ("set", self.rng.randrange(16), name, self.rng.choice(values))

    def _time(self) -> Operation:
        rng = self.rng
        if rng.random() < 0.5:
            return ("timer",)
        if rng.random() < 0.1:
            return ("spurious",)
        return ("wait", rng.choice((1, 10_000, MS, 41 * MS, 250 * MS, SECOND, 3 * SECOND, 70 * SECOND, 1000 * SECOND)))

    def _application(self, world: World) -> Operation:
        rng = self.rng
        index = rng.randrange(16)
        if not world.held or rng.random() < 0.1:
            if rng.random() < 0.6:
                return ("accept",)
            return self._connect()
        lot = rng.random()
        if lot < 0.40:
            size = rng.choice((1, 1, 100, 1000, 1448, 5000, 70_000))
            if rng.random() < self.early_calls:
                return ("open_with", index, size)
            return ("write", index, size, rng.random() < 0.03)
        if lot < 0.74:
            return ("read", index, rng.choice((1, 100, 2000, 1 << 20)))
        if lot < 0.78:
            return (rng.choice(("look", "skip", "urgent")), index, rng.choice((1, 100)))
        if lot < 0.83:
            return ("shutdown", index, rng.choice((0, 1, 1, 2)))
        if lot < 0.87:
            return ("close" if lot < 0.86 else "abort", index)
        if lot < 0.872:
            return ("unlisten",)
        name, values = rng.choice(OPTION_CHANGES)
        return ("set", index, name, rng.choice(values))

    def _connect(self) -> Operation:
        rng = self.rng
        options = tuple(
            (name, True) for name in ("fastopen_connect", "fastopen_no_cookie") if rng.random() < self.early_calls
        )
        return ("connect", 4, CONNECT_PORT, rng.choice(self.own_ports), options)

    # Segments

    def _segments(self, world: World) -> Operation:
        rng = self.rng
        pairs = [self._segment(world)]
        while rng.random() < 0.3 and len(pairs) < 12:
            pairs.append(self._follow(pairs[-1]) if rng.random() < 0.6 else self._segment(world))
        if rng.random() < 0.05:
            rng.shuffle(pairs)
        return ("segments", *pairs)

    def _follow(self, pair: tuple[Flow, Forged]) -> tuple[Flow, Forged]:
        """What would come right after ``pair``, or the same once more, or an overlap."""
        flow, before = pair
        rng = self.rng
        step = rng.choice((before.length, before.length, 0, before.length // 2, 2 * before.length))
        flags = before.flags & ~(SYN | FIN | RST)
        return flow, _changed(before, seq=before.seq + step, flags=flags)

    def _segment(self, world: World) -> tuple[Flow, Forged]:
        rng = self.rng
        flow = rng.choice(self.flows)
        if flow in self.connecting and flow.connection(world.stack) is None and rng.random() < 0.9:
            flow = self.flows[0]
        self.clock[flow] += rng.choice((0, 1, 1, 50))
        if rng.random() < self.polite:
            forged = self._polite(world, flow)
            if rng.random() < 0.25:
                forged = self._mutated(world, flow, forged)
        else:
            forged = self._mutated(world, flow, self._polite(world, flow))
            for _ in range(rng.choice((0, 1, 3))):
                forged = self._mutated(world, flow, forged)
        return flow, forged

    def _polite(self, world: World, flow: Flow) -> Forged:
        """What an honest peer might send now."""
        rng = self.rng
        connection = flow.connection(world.stack)
        now = (self.clock[flow], 0) if self.wants_ts else None
        if connection is None:
            has_cookie = flow.key in world.cookies and rng.random() < 0.3
            if flow.request(world.stack) is not None or has_cookie:
                length = rng.choice((0, 0, 100))
                return Forged(ACK, 1, 1, rng.choice((65535, 500, 0)), length, ts=now)
            if rng.random() < 0.7:
                return early.syn(rng, world, flow, now, self.asks_ecn)
            return Forged(rng.choice((ACK, ACK | FIN, RST)), 1, 1, ts=now)
        if connection.receiver.irs == 0 and connection.receiver.rcv_nxt == 0:  # SYN-SENT
            if rng.random() < 0.15:
                return Forged(SYN, options=rng.choice(early.SYN_OPTIONS), ts=now)
            return early.syn_ack(rng, world, flow, now, self.asks_ecn)
        return self._established(connection, flow, now)

    def _established(self, connection: Connection, flow: Flow, ts: tuple[int, int] | None) -> Forged:
        rng = self.rng
        una, nxt = connection.sender.snd_una - connection.sender.iss, connection.sender.snd_nxt - connection.sender.iss
        seq = _relative(connection.receiver.rcv_nxt, flow)
        ack = rng.choice((nxt, nxt, una, rng.randint(una, nxt)))
        window = rng.choice((65535, 65535, 10_000, 1000, 1, 0))
        if self.is_steady and rng.random() < 0.97:
            window = 65535
            ack = rng.choice((una, una, una, nxt, min(una + connection.sender.snd_mss, nxt)))
        length = rng.choice((0, 0, 1, 100, 1000, 1448, 1460))
        flags = ACK | (PSH if rng.random() < 0.3 else 0)
        sack: tuple[tuple[int, int], ...] = ()
        if rng.random() < (0.3 if connection.sender.fin_queued else 0.04):
            flags |= FIN
        elif rng.random() < (0.6 if self.is_steady else 0.3):
            length = 0
            if nxt > una + 1 and rng.random() < 0.6:
                left = rng.randint(una + 1, nxt)
                sack = ((left, rng.randint(left, nxt)),)
                ack = una
        elif rng.random() < 0.2:
            seq += rng.choice((1, 1448, 2896, 5000))
        options = b""
        if connection.ecn.accurate:
            flags |= rng.choice((early.ACE[connection.ecn.delivered_ce + 5 & 7], *early.ACE))
            options = early.accecn_option(rng) if rng.random() < 0.3 else b""
        tos = rng.choice((0, 0, 0, 1, 2, 3))
        return Forged(flags, seq, ack, window, length, ts=ts, sack=sack, options=options, tos=tos)

    # Mutations

    def _mutated(self, world: World, flow: Flow, forged: Forged) -> Forged:
        """One field goes to an edge, or anywhere."""
        if self.rng.random() < 0.2:
            return _changed(forged, **early.changes(self.rng, world, flow, forged))
        return self._with_field(world, flow, forged)

    def _with_field(self, world: World, flow: Flow, forged: Forged) -> Forged:
        rng = self.rng
        connection = flow.connection(world.stack)
        kind = rng.randrange(9)
        if kind == 0:
            return _changed(forged, seq=rng.choice(_seq_edges(connection, flow, forged)) + rng.choice((-1, 0, 0, 1)))
        if kind == 1:
            return _changed(forged, ack=rng.choice(_ack_edges(connection, forged)) + rng.choice((-1, 0, 0, 1)))
        if kind == 2:
            flag = rng.choice((FIN, SYN, RST, PSH, ACK, URG, ECE, CWR, AE))
            return _changed(forged, flags=forged.flags ^ flag if rng.random() < 0.9 else rng.randrange(512))
        if kind == 3:
            return _changed(forged, window=rng.choice((0, 1, 2, 10, 100, 535, 1448, 65535)))
        if kind == 4:
            return _changed(forged, length=rng.choice((0, 1, 7, 536, 1448, 1460, 9000, 60_000)))
        if kind == 5:
            urgent = rng.choice((0, 1, forged.length, forged.length + 1, 65535))
            return _changed(forged, flags=forged.flags | URG, urgent=urgent)
        if kind == 6:
            now = self.clock[flow]
            stamps = (None, (now, 0), (now - 1, 0), (now + 10_000, 0), (now - (1 << 31), 0), (now, -1), (now, 1 << 31))
            return _changed(forged, ts=rng.choice((*stamps, (now, rng.choice((1, 5, 200, 5000))))))
        if kind == 7:
            return _changed(forged, sack=self._sack_lies(connection))
        bombs = (rng.randbytes(rng.randrange(41)), bytes(40), b"\x01" * 40)
        return _changed(forged, options=rng.choice((*early.SYN_OPTIONS, *bombs)))

    def _sack_lies(self, connection: Connection | None) -> tuple[tuple[int, int], ...]:
        rng = self.rng
        edges = _ack_edges(connection, Forged(ACK))
        blocks = []
        for _ in range(rng.choice((1, 1, 2, 3, 4))):
            left, right = rng.choice(edges), rng.choice(edges)
            if rng.random() < 0.8:
                left, right = min(left, right), max(left, right)
            if rng.random() < 0.3:
                right = left + rng.choice((1, 2, 3, 1000, 1448, 1 << 30))
            blocks.append((left, right))
        return tuple(blocks)

    # Other packets

    def _icmp(self, world: World) -> Operation:
        rng = self.rng
        flow = rng.choice(self.flows)
        connection = flow.connection(world.stack)
        seq = rng.choice(_ack_edges(connection, Forged(ACK))) + rng.choice((-1, 0, 0, 1))
        mtu = rng.choice((0, 1, 68, 552, 576, 1000, 1280, 1400, 65535))
        if connection is not None and rng.random() < 0.5:
            seq = connection.sender.snd_una - connection.sender.iss
        if flow.family == 4:
            kind, code = rng.choice(((3, rng.randrange(16)), (3, 4), (3, 4), (11, 0), (12, 0), (4, 0), (5, 0)))
        else:
            kind, code = rng.choice(((1, rng.randrange(8)), (2, 0), (2, 0), (3, 0), (4, 1)))
        return ("icmp", flow, ForgedError(kind, code, seq, mtu, rng.choice((28, 28, 40, 60, 10, 48, 0))))

    def _raw(self, world: World) -> Operation:
        rng = self.rng
        lot = rng.randrange(4)
        if lot == 0:
            return ("raw", *(self._fragment() for _ in range(rng.randrange(1, 8))))
        if lot == 1:
            return ("raw", rng.randbytes(rng.randrange(120)))
        packets = []
        for flow, forged in [self._segment(world)] * rng.randrange(1, 3):
            packet = bytearray(forged.build(flow, world.stack, world.now))
            for _ in range(rng.randrange(4)):
                packet[rng.randrange(min(len(packet), 60))] = rng.randrange(256)
            packets.append(bytes(packet[: rng.choice((len(packet), rng.randrange(len(packet))))]))
        return ("raw", *packets)

    def _fragment(self) -> bytes:
        rng = self.rng
        size = rng.choice((8, 16, 64, 1024, 13))
        offset = rng.choice((0, 0, 1, 2, 8, 128, 8189))
        more = rng.random() < 0.7
        payload = rng.randbytes(size)
        if rng.random() < 0.5:
            field = offset | (0x2000 if more else 0)
            return ipv4.build(THEIRS[4], OURS[4], rng.choice((6, 17, 1)), payload, 64, 0, rng.randrange(3), field)
        head = bytes([rng.choice((6, 17, 58)), 0]) + ((offset << 3) | more).to_bytes(2, "big")
        return ipv6.build(THEIRS[6], OURS[6], 44, head + rng.randrange(3).to_bytes(4, "big") + payload)


def _changed(forged: Forged, **changes: Any) -> Forged:
    values = {**forged.__dict__, **changes}
    room = 65535 - 40 - 60
    values["length"] = max(0, min(values["length"], room))
    values["urgent"] &= 0xFFFF
    return Forged(**values)


def _relative(seq: int, flow: Flow) -> int:
    """An unwrapped sequence number of the peer's, from its ISN."""
    return (seq - flow.isn) & 0xFFFFFFFF


def _seq_edges(connection: Connection | None, flow: Flow, forged: Forged) -> list[int]:
    edges = [0, 1, forged.seq, forged.seq + (1 << 31), forged.seq - 65535]
    if connection is not None:
        numbers = [
            connection.receiver.rcv_nxt,
            connection.receiver.rcv_nxt - forged.length,
            connection.receiver.rcv_wup + connection.receiver.rcv_wnd,
            connection.receiver.rcv_nxt + connection.receiver.receive_window() - forged.length,
            connection.receiver.irs,
            connection.receiver.irs + 1,
        ]
        if connection.receiver.rcv_fin >= 0:
            numbers.append(connection.receiver.rcv_fin)
        for start, end in connection.receiver.receive_ring.blocks()[:4]:
            numbers += [
                connection.receiver.irs + 1 + start,
                connection.receiver.irs + 1 + end,
                connection.receiver.irs + 1 + end - forged.length,
            ]
        edges += [_relative(number, flow) for number in numbers]
    return edges


def _ack_edges(connection: Connection | None, forged: Forged) -> list[int]:
    edges = [0, 1, forged.ack, forged.ack + (1 << 31), forged.ack - 70_000]
    if connection is not None:
        board = connection.sender.scoreboard
        una, nxt = connection.sender.snd_una, connection.sender.snd_nxt
        numbers = [
            una,
            nxt,
            connection.sender.stream_end(),
            una + connection.sender.snd_mss,
            (una + nxt) // 2,
            nxt + 100_000,
        ]
        for record in board.sent_list.live()[:6]:
            numbers += [record.start, record.end, (record.start + record.end) // 2]
        edges += [number - connection.sender.iss for number in numbers]
    return edges


Outcome = tuple[Setup, list[Operation], Exception | None]


def run_case(seed: int, steps: int = 120, *, with_native: bool = True) -> Outcome:
    """One case: its setup, its tape, and what went wrong (None: nothing)."""
    rng = random.Random(seed)
    setup = random_setup(rng, with_native=with_native)
    world = World(setup)
    chooser = Chooser(rng)
    tape: list[Operation] = []
    try:
        for _ in range(steps):
            operation = chooser.operation(world)
            tape.append(operation)
            world.do(operation)
        world.finish()
    except Exception as error:  # whatever it is: it is what we look for
        return setup, tape, error
    return setup, tape, None
