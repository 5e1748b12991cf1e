"""Does a packet that came say what the script expected? Pure functions over records; no clock, no socket."""

from __future__ import annotations

from typing import Final

from ustack.packetdrill.codec import ACK, FIN, ICMP, ICMP6, PSH, RST, SYN, TCP, UDP, URG, Seen
from ustack.packetdrill.config import Config
from ustack.packetdrill.flow import MASK, Flow, find_timestamp, flag_bits, flag_text
from ustack.packetdrill.icmpnames import ICMP_CODES, ICMP_TYPES, icmp_name, icmp_number
from ustack.packetdrill.printer import format_option
from ustack.packetdrill.tree import IcmpPacket, IpFields, OptionKind, Packet, TcpOption, TcpPacket, UdpPacket

Differences = list[tuple[str, str, str]]
"""(field, expected, got)."""

_ECN: Final = {"noecn": (0,), "ect1": (1,), "ect0": (2,), "ce": (3,), "ect01": (1, 2)}
_ECN_NAMES: Final = ("noecn", "ect1", "ect0", "ce")
_PROTOCOLS: Final = {TCP: "TCP", UDP: "UDP", ICMP: "ICMP", ICMP6: "ICMPv6"}


def compare_ip(ip: IpFields, seen: Seen, config: Config) -> Differences:
    """IP version always, and what the script wrote of the IP header."""
    found: Differences = list(seen.faults)
    version = 6 if config.is_v6 else 4
    if seen.version != version:
        found.append(("IP version", str(version), str(seen.version)))
    if ip.ecn is not None and seen.tos & 3 not in _ECN[ip.ecn]:
        found.append(("ECN", ip.ecn, _ECN_NAMES[seen.tos & 3]))
    if ip.tos is not None and seen.tos != ip.tos:
        found.append(("TOS", hex(ip.tos), hex(seen.tos)))
    if ip.ttl is not None and seen.ttl != ip.ttl:
        found.append(("TTL", str(ip.ttl), str(seen.ttl)))
    if ip.flow_label is not None and seen.flow_label != ip.flow_label:
        found.append(("flow label", hex(ip.flow_label), hex(seen.flow_label)))
    return found


def compare_tcp(expected: TcpPacket, seen: Seen, flow: Flow, config: Config) -> Differences:
    """Every field of a segment but its time. Learns nothing: ``flow.learn`` comes first."""
    found = compare_ip(expected.ip, seen, config)
    if seen.protocol != TCP:
        found.append(("protocol", "TCP", _PROTOCOLS.get(seen.protocol, str(seen.protocol))))
        return found
    shown = flow.show(seen)
    ace = any(letter.isdigit() for letter in expected.flags)
    bits, got = flag_bits(expected.flags), seen.flags
    if config.ignore_boundaries:
        bits, got = bits & ~PSH, got & ~PSH
    if bits != got:
        found.append(("flags", flag_text(bits, ace), flag_text(got, ace)))
    if shown.seq != expected.seq:
        found.append(("seq", str(expected.seq), _signed(shown.seq)))
    if shown.length != expected.length:
        found.append(("length", str(expected.length), str(shown.length)))
    found += _compare_ack(expected, shown, seen)
    if expected.window is not None and seen.window != expected.window:
        found.append(("window", str(expected.window), str(seen.window)))
    if seen.urgent != (expected.urgent or 0):
        found.append(("urgent pointer", str(expected.urgent or 0), str(seen.urgent)))
    if expected.options is not None:
        found += compare_options(expected.options, shown.options or [])
    if any(seen.payload):
        found.append(("payload", "zeros", f"a byte {next(filter(None, seen.payload)):#04x}"))
    return found


def _signed(number: int) -> str:
    return str(number) if number < 1 << 31 else f"{number} ({number - (1 << 32)})"


def _compare_ack(expected: TcpPacket, shown: TcpPacket, seen: Seen) -> Differences:
    if expected.ack is not None and shown.ack is not None and expected.ack != shown.ack:
        return [("ack", str(expected.ack), _signed(shown.ack))]
    if not seen.flags & ACK and seen.ack != (0 if expected.has(".") else expected.ack or 0):
        return [("ack field", f"{expected.ack or 0}, as the flag '.' is not set", str(seen.ack))]
    if expected.ack is None and expected.has(".") and shown.ack:
        return [("ack", "none written", str(shown.ack))]
    return []


def compare_options(expected: list[TcpOption], got: list[TcpOption]) -> Differences:
    """In exact order, nops included; timestamp values are not compared, an md5 or ``raw`` without data matches any."""
    same = len(expected) == len(got) and all(map(_same_option, expected, got))
    if same:
        return []
    return [("options", _listed(expected), _listed(got))]


def _listed(options: list[TcpOption]) -> str:
    return "<" + ",".join(map(format_option, options)) + ">"


def _same_option(expected: TcpOption, got: TcpOption) -> bool:
    if expected.kind is not got.kind:
        return False
    if expected.kind is OptionKind.TIMESTAMP:
        return expected.numbers[1] == got.numbers[1]
    if expected.data is None:
        return True
    return expected.numbers == got.numbers and expected.data == got.data and expected.names == got.names


def compare_stamp(expected: TcpPacket, seen: Seen, flow: Flow, config: Config, at: int) -> Differences:
    """With ``tcp_ts_tick_usecs``, TS val must have grown since the first one as the script says, within tolerance."""
    tick_ns = config.ts_tick_usecs * 1000
    script = next((o for o in expected.options or [] if o.kind is OptionKind.TIMESTAMP), None)
    live = find_timestamp(seen.options)
    if not tick_ns or script is None or live is None or flow.first_stamp is None:
        return []
    first_script, first_live, first_at = flow.first_stamp
    want = (script.numbers[0] - first_script) & MASK
    have = (live[0] - first_live) & MASK
    slack = config.tolerance(at - first_at) // tick_ns + 1
    if min((want - have) & MASK, (have - want) & MASK) > slack:
        return [("TS val", str(script.numbers[0]), str((first_script + have) & MASK))]
    return []


def compare_udp(expected: UdpPacket, seen: Seen, config: Config) -> Differences:
    """A datagram: its length and its zeros."""
    found = compare_ip(expected.ip, seen, config)
    if seen.protocol != UDP:
        return [*found, ("protocol", "UDP", _PROTOCOLS.get(seen.protocol, str(seen.protocol)))]
    if len(seen.payload) != expected.length:
        found.append(("length", str(expected.length), str(len(seen.payload))))
    if any(seen.payload):
        found.append(("payload", "zeros", "other bytes"))
    return found


def compare_icmp(expected: IcmpPacket, seen: Seen, config: Config) -> Differences:
    """An ICMP message: what the script wrote of it."""
    found = compare_ip(expected.ip, seen, config)
    v6 = config.is_v6
    if seen.protocol != (ICMP6 if v6 else ICMP):
        return [*found, ("protocol", "ICMP", _PROTOCOLS.get(seen.protocol, str(seen.protocol)))]
    if seen.icmp_type != icmp_number(ICMP_TYPES, expected.type, v6):
        found.append(("type", expected.type, icmp_name(ICMP_TYPES, seen.icmp_type, v6)))
    if seen.icmp_code != icmp_number(ICMP_CODES, expected.code, v6):
        found.append(("code", str(expected.code), icmp_name(ICMP_CODES, seen.icmp_code, v6)))
    if expected.mtu is not None and seen.icmp_rest != expected.mtu:
        found.append(("mtu", str(expected.mtu), str(seen.icmp_rest)))
    if expected.identifier is not None and seen.icmp_rest >> 16 != expected.identifier:
        found.append(("id", str(expected.identifier), str(seen.icmp_rest >> 16)))
    return found


def compare(expected: Packet, seen: Seen, flow: Flow, config: Config) -> Differences:
    """By the kind of packet that was expected."""
    if isinstance(expected, TcpPacket):
        return compare_tcp(expected, seen, flow, config)
    if isinstance(expected, UdpPacket):
        return compare_udp(expected, seen, config)
    return compare_icmp(expected, seen, config)


def can_join(first: Seen, second: Seen, flags: int) -> bool:
    """``second`` goes on where ``first`` (perhaps joined already) ends, with the same headers but for PSH and FIN."""
    return (
        second.protocol == TCP
        and second.seq == (first.seq + len(first.payload)) & MASK
        and len(second.payload) > 0
        and second.ack == first.ack
        and second.window == first.window
        and second.options == first.options
        and second.tos == first.tos
        and second.ttl == first.ttl
        and not first.flags & (SYN | RST | FIN | URG)
        and (first.flags | flags) & ~(PSH | FIN) == (second.flags | flags) & ~(PSH | FIN)
    )


def _copy(seen: Seen) -> Seen:
    twin = Seen.__new__(Seen)
    twin.__dict__.update(seen.__dict__)
    return twin


def join(whole: Seen, more: Seen) -> Seen:
    """Two consecutive segments as one; it has the flags of the second."""
    joined = _copy(whole)
    joined.payload = whole.payload + more.payload
    joined.flags = more.flags
    joined.faults = whole.faults + more.faults
    return joined


def halve(seen: Seen, length: int) -> tuple[Seen, Seen]:
    """The first ``length`` bytes of a segment, without FIN and PSH, and the rest."""
    first, rest = _copy(seen), _copy(seen)
    first.payload, rest.payload = seen.payload[:length], seen.payload[length:]
    first.flags &= ~(FIN | PSH)
    rest.seq = (seen.seq + length) & MASK
    return first, rest
