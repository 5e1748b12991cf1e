"""The other end of one connection: scapy's packets by hand, in the words of ``notation.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet

from tests.tcp.notation import Line, letters, relative, scapy_options, words_of
from tests.tcp.world import OURS, THEIRS, VirtualHost, pattern, text_of

ISN = 0xFFFFFF38
"""The peer's: its numbers wrap after 200 bytes, in every test."""
SYN_OPTIONS = "mss 1460,sackOK,nop,wscale 7"


class Peer:
    """A hand-made TCP on ``port``, talking to ``our_port`` of the host under test.

    ``ts``: the timestamp value of what it sends, None without the option. ``names``: what expressions in lines may
    use: ``r`` (the host's rcv_nxt as last acknowledged), ``w`` (its right window edge), and what a test adds.
    """

    def __init__(self, host: VirtualHost, port: int = 5000, our_port: int = 80, family: int = 4) -> None:
        self.host = host
        self.port = port
        self.our_port = our_port
        self.family = family
        self.isn = ISN
        self.iss = 0
        """The host's ISN, once its SYN was seen."""
        self.ts: int | None = None
        self.ts_ecr = 0
        self.window = 65535
        self.host_wscale = 0
        self.names: dict[str, int] = {"r": 1, "w": 65536, "u": 0, "n": 1}

    # Saying

    def packet(self, text: str, **ip_fields: Any) -> Packet:
        """One segment; its text is the pattern at its place."""
        line = Line(text, self.names)
        options = scapy_options(line.options or "", self.isn, self.iss)
        if self.ts is not None and "TS" not in (line.options or ""):
            options = [("NOP", None), ("NOP", None), ("Timestamp", (self.ts, self.ts_ecr)), *options]
        segment = TCP(
            sport=self.port,
            dport=self.our_port,
            seq=(self.isn + line.start) & 0xFFFFFFFF,
            ack=(self.iss + line.ack) & 0xFFFFFFFF if line.flags & 16 else 0,
            flags=line.flags,
            window=self.window if line.window is None else line.window,
            urgptr=line.urgent,
            options=options,
        )
        kind = IP if self.family == 4 else IPv6
        ip = kind(src=THEIRS[self.family], dst=OURS[self.family], **ip_fields)
        return ip / segment / pattern(line.start, line.end)

    def send(self, *lines: str, **ip_fields: Any) -> None:
        """Each segment arrives by itself, in this order."""
        for line in lines:
            self.host.inject(self.packet(line, **ip_fields))

    def send_together(self, *lines: str) -> None:
        """The segments arrive in one batch."""
        self.host.inject(*[self.packet(line) for line in lines])

    # Hearing

    def heard(self) -> list[Packet]:
        """What the host sent to this peer since the last time."""
        mine = [packet for _, packet in self.host.outbox if self._is_mine(packet)]
        self.host.outbox = [entry for entry in self.host.outbox if not self._is_mine(entry[1])]
        for packet in mine:
            self._note(packet)
        return mine

    def _is_mine(self, packet: Packet) -> bool:
        return bool(packet.haslayer(TCP) and packet[TCP].dport == self.port and packet[TCP].sport == self.our_port)

    def _note(self, packet: Packet) -> None:
        segment = packet[TCP]
        options = dict(segment.options)
        if segment.flags.S:
            self.iss = segment.seq
            self.host_wscale = options.get("WScale", 0)
        if "Timestamp" in options:
            self.ts_ecr = options["Timestamp"][0]
        if segment.flags.A and not segment.flags.R:
            self.names["r"] = relative(segment.ack, self.isn)
            scale = 0 if segment.flags.S else self.host_wscale
            self.names["w"] = self.names["r"] + (segment.window << scale)
        length = len(text_of(packet)) + bool(segment.flags.S) + bool(segment.flags.F)
        if not segment.flags.R:
            self.names["n"] = max(self.names["n"], relative(segment.seq, self.iss) + length)

    def words(self, packet: Packet, like: str = "") -> str:
        """A packet as a line; window and options as far as ``like`` wants them."""
        segment = packet[TCP]
        text = text_of(packet)
        start = relative(segment.seq, self.iss)
        is_zero = segment.flags.R and segment.seq == 0  # the RST for a segment without ACK: zero on the wire
        said = f"{letters(int(segment.flags))} {'zero' if is_zero else start}"
        if text:
            said += f":{start + len(text)}"
            assert text == pattern(start, start + len(text)), f"the bytes of {said} are wrong"
        if segment.flags.A:
            said += f" ack {relative(segment.ack, self.isn)}"
        if " win " in like:
            said += f" win {segment.window}"
        if segment.flags.U:
            said += f" urg {segment.urgptr}"
        options = words_of(segment.options, self.isn)
        if options and not (segment.flags.S and "<" not in like):
            said += f" <{options}>"
        return said

    def expect(self, *lines: str) -> list[Packet]:
        """The host has sent exactly these, and nothing more. Returns them."""
        packets = self.heard()
        wanted = [*lines, *[""] * (len(packets) - len(lines))]
        said = [self.words(packet, like) for packet, like in zip(packets, wanted, strict=False)]
        assert said == list(lines)
        return packets

    def timeline(self, duration: int) -> list[tuple[float, str]]:
        """What the host sends in ``duration`` ns: seconds from now, and the line."""
        self.expect()
        begin = self.host.now
        self.host.advance(duration)
        entries = [(at, packet) for at, packet in self.host.outbox if self._is_mine(packet)]
        self.host.outbox = [entry for entry in self.host.outbox if not self._is_mine(entry[1])]
        for _, packet in entries:
            self._note(packet)
        return [(round((at - begin) / 1e9, 4), self.words(packet)) for at, packet in entries]

    # Opening

    def opens(self, options: str = SYN_OPTIONS, window: int | None = None) -> Any:
        """The peer connects to a listener of its own on the host; returns the accepted socket."""
        listener = self.host.listen(self.our_port, family=self.family)
        self.send(f"S 0 <{options}>")
        self.expect("S. 0 ack 1")
        field = self.window if window is None else window
        self.send(f". 1 ack 1 win {field}")
        self.expect()
        call = self.host.accept(listener)
        assert call is not None
        self.names["u"] = 1
        return call

    def is_opened(self, options: str = SYN_OPTIONS) -> Any:
        """The host connects to the peer; returns its socket."""
        call = self.host.connect(self.port, self.our_port, self.family)
        self.expect("S 0")
        self.send(f"S. 0 ack 1 <{options}>")
        self.expect(". 1 ack 1")
        self.names["u"] = 1
        return call

    def opens_with_timestamps(self, ts: int = 1000, options: str = SYN_OPTIONS) -> Any:
        """The same as ``opens``, timestamps agreed."""
        self.ts = ts
        return self.opens(options)

    def state(self) -> str:
        return self.host.state(self.port, self.our_port, self.family)

    def refused(self, *lines: str) -> list[str]:
        """The segments arrive; the names of the rules that refused them."""
        action: Callable[[], None] = lambda: self.send(*lines)  # noqa: E731 - one expression, one use
        return self.host.new_drops(action)
