"""Between a script's numbers and the wire's: sequence numbers, timestamps, options, flags of one connection."""

from __future__ import annotations

import struct
from typing import Final

from ustack.packetdrill.codec import ACK, AE, CWR, ECE, FIN, PSH, RST, SYN, URG, Seen
from ustack.packetdrill.errors import Mismatch
from ustack.packetdrill.tree import Direction, OptionKind, TcpOption, TcpPacket

MASK: Final = 0xFFFFFFFF
FLAG_BITS: Final = {"F": FIN, "S": SYN, "R": RST, "P": PSH, ".": ACK, "U": URG, "E": ECE, "W": CWR, "A": AE}
_KINDS: Final = {OptionKind.MSS: 2, OptionKind.WSCALE: 3, OptionKind.SACK_OK: 4, OptionKind.SACK: 5}
_FOEXP: Final = b"\xf9\x89"


def flag_bits(flags: str) -> int:
    """The nine flags as on the wire."""
    bits = 0
    for letter in flags:
        if letter.isdigit():
            ace = int(letter)
            bits |= (AE if ace & 4 else 0) | (CWR if ace & 2 else 0) | (ECE if ace & 1 else 0)
        elif letter != "-":
            bits |= FLAG_BITS[letter]
    return bits


def flag_text(bits: int, ace: bool) -> str:
    """The notation of nine flags; ``ace``: the three of ECN as one digit."""
    text = "".join(letter for letter in "FSRP.U" if bits & FLAG_BITS[letter])
    if ace:
        return text + str((4 if bits & AE else 0) | (2 if bits & CWR else 0) | (1 if bits & ECE else 0))
    return (text + "".join(letter for letter in "EWA" if bits & FLAG_BITS[letter])) or "-"


class Flow:
    """The numbers of one connection: both initial sequence numbers, and the timestamps that went out."""

    def __init__(self) -> None:
        self.local_isn: int | None = None
        """The stack's, as on the wire."""
        self.local_script = 0
        """The same as the script writes it."""
        self.remote_isn: int | None = None
        """The script's side: what it writes is what goes on the wire."""
        self.candidate: int | None = None
        """The number of a SYN injected into a connection that has one already: perhaps a new connection begins."""
        self.stamps: dict[int, int] = {}
        """TS val in the script -> on the wire."""
        self.first_stamp: tuple[int, int, int] | None = None
        """Script's value, wire's value, time (ns) of the first outbound timestamp."""

    # Inbound: from script to wire

    def inbound_numbers(self, packet: TcpPacket) -> tuple[int, int]:
        """seq and ack for the wire; learns the remote ISN from a SYN. An ack number without the flag means nothing to
        TCP and goes out as it is written."""
        syn = packet.has("S")
        if syn:
            if self.remote_isn is None:
                self.remote_isn = packet.seq
            elif not packet.has("."):
                self.candidate = packet.seq
        seq = packet.seq if syn else packet.seq + (self.remote_isn or 0)
        if packet.ack is None:
            return seq & MASK, 0
        if not packet.has("."):
            return seq & MASK, packet.ack
        ack = packet.ack + (self.local_isn or 0) - (self.local_script if syn else 0)
        return seq & MASK, ack & MASK

    def inbound_options(self, packet: TcpPacket, scaled: bool) -> bytes:
        """The option bytes of an injected segment. Raises Mismatch for an ecr that was never sent."""
        data = b""
        for option in packet.options or []:
            data += self._encode(option, packet, scaled)
        return data + bytes(-len(data) % 4)

    def _encode(self, option: TcpOption, packet: TcpPacket, scaled: bool) -> bytes:
        kind, numbers = option.kind, option.numbers
        if kind is OptionKind.TIMESTAMP:
            return struct.pack("!BBII", 8, 10, numbers[0], self._echo(numbers[1], packet, scaled))
        if kind is OptionKind.SACK:
            base = self.local_isn or 0
            return struct.pack(f"!BB{len(numbers)}I", 5, 2 + 4 * len(numbers), *((base + n) & MASK for n in numbers))
        return encode_plain(option)

    def _echo(self, value: int, packet: TcpPacket, scaled: bool) -> int:
        if value in self.stamps:
            return self.stamps[value]
        if scaled and self.first_stamp is not None:
            return (value - self.first_stamp[0] + self.first_stamp[1]) & MASK
        if value == 0 or not packet.has("."):
            return value
        known = ", ".join(map(str, sorted(self.stamps))) or "none yet"
        summary = f"'ecr {value}' echoes a timestamp that no expected packet has carried; those had val {known}"
        raise Mismatch(summary)

    # Outbound: from wire to script

    def learn(self, expected: TcpPacket, seen: Seen) -> None:
        """Take the stack's initial sequence number from an expected SYN, if it is the connection's first."""
        if not expected.has("S") or not seen.flags & SYN:
            return
        renewed = self.candidate is not None and expected.ack == (self.candidate + 1) & MASK
        if renewed and (self.candidate != self.remote_isn or seen.seq != self.local_isn):
            self.remote_isn = self.candidate
            self.local_isn = None
        self.candidate = None if renewed else self.candidate
        if self.local_isn is None:
            self.local_isn = seen.seq
            self.local_script = expected.seq

    def remember(self, expected: TcpPacket, seen: Seen, at: int) -> None:
        """An expected packet has come: its timestamp may be echoed from now on."""
        script = next((o for o in expected.options or [] if o.kind is OptionKind.TIMESTAMP), None)
        live = find_timestamp(seen.options)
        if script is None or live is None:
            return
        self.stamps[script.numbers[0]] = live[0]
        if self.first_stamp is None:
            self.first_stamp = (script.numbers[0], live[0], at)

    def show(self, seen: Seen, ace: bool = False, direction: Direction = Direction.OUTBOUND) -> TcpPacket:
        """A segment of the wire in the script's numbers; ``direction`` says whose it is."""
        syn = bool(seen.flags & SYN)
        mine = self.local_isn or 0
        shift = mine - self.local_script if syn else mine
        theirs = 0 if syn else self.remote_isn or 0
        if direction is Direction.INBOUND:
            shift, theirs = theirs, shift
        ack = (seen.ack - theirs) & MASK if seen.flags & ACK else None
        options = self.show_options(seen.options, mine if direction is Direction.INBOUND else self.remote_isn or 0)
        flags = flag_text(seen.flags, ace)
        seq = (seen.seq - shift) & MASK
        return TcpPacket(direction, flags, seq, len(seen.payload), ack, seen.window, seen.urgent or None, options)

    def show_options(self, data: bytes, sack_base: int) -> list[TcpOption]:
        """Option bytes in the script's words; what cannot be read is one ``raw`` option."""
        options: list[TcpOption] = []
        at = 0
        while at < len(data):
            kind = data[at]
            if kind <= 1:
                options.append(TcpOption(OptionKind.NOP if kind else OptionKind.EOL))
                at += 1
                continue
            length = data[at + 1] if at + 1 < len(data) else 0
            if length < 2 or at + length > len(data):
                options.append(TcpOption(OptionKind.RAW, data=data[at:]))
                break
            options.append(_decode(kind, data[at + 2 : at + length], sack_base))
            at += length
        return options


def encode_plain(option: TcpOption) -> bytes:
    """An option that holds no number of the connection."""
    kind, numbers, data = option.kind, option.numbers, option.data or b""
    if kind in (OptionKind.NOP, OptionKind.EOL):
        return b"\x01" if kind is OptionKind.NOP else b"\x00"
    if kind is OptionKind.MSS:
        return struct.pack("!BBH", 2, 4, numbers[0])
    if kind is OptionKind.WSCALE:
        return bytes((3, 3, numbers[0]))
    if kind is OptionKind.SACK_OK:
        return b"\x04\x02"
    if kind is OptionKind.FAST_OPEN:
        return bytes((34, 2 + len(data))) + data
    if kind is OptionKind.FAST_OPEN_EXPERIMENT:
        return bytes((254, 4 + len(data))) + _FOEXP + data
    if kind is OptionKind.MD5:
        return b"\x13\x12" + (data or bytes(16))
    if kind is OptionKind.ACCECN:
        first = 172 if option.names[:1] == ("e0b",) else 174
        return bytes((first, 2 + 3 * len(numbers))) + b"".join(number.to_bytes(3, "big") for number in numbers)
    return data


def _decode(kind: int, body: bytes, sack_base: int) -> TcpOption:
    """One option of the wire. What has an odd length for its kind becomes ``raw``."""
    if kind == 2 and len(body) == 2:
        return TcpOption(OptionKind.MSS, (int.from_bytes(body, "big"),))
    if kind == 3 and len(body) == 1:
        return TcpOption(OptionKind.WSCALE, (body[0],))
    if kind == 4 and not body:
        return TcpOption(OptionKind.SACK_OK)
    if kind == 5 and body and len(body) % 8 == 0:
        edges = struct.unpack(f"!{len(body) // 4}I", body)
        return TcpOption(OptionKind.SACK, tuple((edge - sack_base) & MASK for edge in edges))
    if kind == 8 and len(body) == 8:
        return TcpOption(OptionKind.TIMESTAMP, struct.unpack("!II", body))
    if kind == 34:
        return TcpOption(OptionKind.FAST_OPEN, data=body)
    if kind == 254 and body[:2] == _FOEXP:
        return TcpOption(OptionKind.FAST_OPEN_EXPERIMENT, data=body[2:])
    if kind == 19 and len(body) == 16:
        return TcpOption(OptionKind.MD5, data=body)
    if kind in (172, 174) and len(body) % 3 == 0:
        names = ("e0b", "ceb", "e1b") if kind == 172 else ("e1b", "ceb", "e0b")
        numbers = tuple(int.from_bytes(body[at : at + 3], "big") for at in range(0, len(body), 3))
        return TcpOption(OptionKind.ACCECN, numbers, names=names[: len(numbers)])
    return TcpOption(OptionKind.RAW, data=bytes((kind, len(body) + 2)) + body)


def find_timestamp(data: bytes) -> tuple[int, int] | None:
    """(val, ecr) among option bytes."""
    at = 0
    while at < len(data) and data[at]:
        if data[at] == 1:
            at += 1
            continue
        length = data[at + 1] if at + 1 < len(data) else 0
        if length < 2:
            return None
        if data[at] == 8 and length == 10 and at + 10 <= len(data):
            val, ecr = struct.unpack_from("!II", data, at + 2)
            return val, ecr
        at += length
    return None
