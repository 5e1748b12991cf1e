"""The Python twins say what the C core says: one packet at a time in, where nothing merges; any run out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.packet import Raw

from ustack.ring import SendRing
from ustack.wire.address import parse_address
from ustack.wire.frame import Frame, Segment, Transmit
from ustack.wire.ipv4 import with_checksum
from ustack.wire.parse import parse_packet
from ustack.wire.split import cut

native = pytest.importorskip("ustack.native")
pytestmark = pytest.mark.native

V4 = IP(src="10.0.0.1", dst="10.0.0.2")
V6 = IPv6(src="fd00::1", dst="fd00::2")
SEEDS = [
    bytes(V4 / TCP(flags="S", options=[("MSS", 1460), ("WScale", 7), ("Timestamp", (1, 2))])),
    bytes(V4 / TCP(flags="PA", options=[("NOP", None), ("NOP", None), ("Timestamp", (1, 2))]) / b"payload"),
    bytes(V4 / UDP() / b"hello"),
    bytes(V4 / ICMP() / b"hello"),
    bytes(IP(src="10.0.0.1", dst="10.0.0.2", flags="MF") / Raw(b"x" * 16)),
    bytes(V6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrFragment(nh=17, m=1) / Raw(b"x" * 16)),
    bytes(V6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / TCP() / b"payload"),
    bytes(V6 / ICMPv6EchoRequest()),
]


def seen(frame: Frame) -> dict[str, object]:
    """Every field of a frame, and its class; a payload as bytes."""
    fields = {name: getattr(frame, name) for name in dir(frame) if name[0] != "_"}
    if isinstance(frame, Segment):
        fields["payload"] = native.payload_bytes(frame.payload, 0, frame.payload_length)
    fields.pop("protocol" if type(frame).__name__ == "Refused" else "", None)
    fields["class"] = type(frame).__name__
    return fields


def as_c_sees(packet: bytes) -> dict[str, object]:
    receiver = native.Receiver(1 << 17, 4)
    (frame,) = receiver.receive_packets([packet])
    return seen(frame)


@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 90), st.integers(0, 255)), max_size=4),
    st.integers(0, 8),
    st.booleans(),
)
def test_they_parse_alike(seed: bytes, changes: list[tuple[int, int]], cut_off: int, mend: bool) -> None:
    wire = bytearray(seed)
    for at, value in changes:
        if at < len(wire):
            wire[at] = value
    packet = bytes(wire[: len(wire) - cut_off])
    if mend and packet[0] >> 4 == 4 and len(packet) >= 20:  # else most damage ends at the header's checksum
        length = (packet[0] & 15) * 4
        if 20 <= length <= len(packet):
            packet = with_checksum(packet[:length]) + packet[length:]
    twin = seen(parse_packet(packet))
    core = as_c_sees(packet)
    if twin["class"] == "Refused":  # C has fewer fields to give
        assert {name: core[name] for name in ("class", "reason")} == {name: twin[name] for name in ("class", "reason")}
    else:
        assert core == twin


@given(
    st.booleans(),
    st.integers(0, 2**32 - 1),
    st.integers(0, 0xFFF),
    st.binary(max_size=40).filter(lambda options: len(options) % 4 == 0),
    st.binary(max_size=300),
    st.integers(0, 400),
    st.integers(0, 65535),
)
def test_they_cut_alike(
    six: bool, seq: int, flags: int, options: bytes, payload: bytes, size: int, number: int
) -> None:
    source, destination = ("fd00::1", "fd00::2") if six else ("10.0.0.1", "10.0.0.2")
    runs = []
    for ring in (SendRing(4096), native.NativeRings().send_ring(4096)):
        ring.write(payload)
        runs.append(
            Transmit(
                parse_address(source),
                parse_address(destination),
                number,
                80,
                seq,
                7,
                flags,
                number,
                3,
                options,
                ring,
                0,
                len(payload),
                size,
                number & 0xFF,
                63,
                number,
                bool(number & 1),
                number,
            )
        )
    assert native.cut(runs[1]) == cut(runs[0])
