import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ustack.wire import address as a

ADDRESS = st.one_of(st.binary(min_size=16, max_size=16), st.binary(min_size=4, max_size=4).map(a.V4_PREFIX.__add__))


@given(ADDRESS)
def test_text_and_back(address: bytes) -> None:
    assert a.parse_address(a.format_address(address)) == address


@given(st.ip_addresses(v=4))
def test_ipv4_is_mapped(address: ipaddress.IPv4Address) -> None:
    ours = a.parse_address(str(address))
    assert ours == a.V4_PREFIX + socket.inet_aton(str(address))
    assert a.is_v4(ours)
    assert a.format_address(ours) == str(address)
    assert a.is_multicast(ours) == address.is_multicast
    assert a.is_loopback(ours) == address.is_loopback
    assert a.is_link_local(ours) == address.is_link_local
    assert a.is_any(ours) == address.is_unspecified


@given(st.ip_addresses(v=6).filter(lambda address: address.ipv4_mapped is None))
def test_ipv6_is_itself(address: ipaddress.IPv6Address) -> None:
    ours = a.parse_address(str(address))
    assert ours == address.packed
    assert a.is_multicast(ours) == address.is_multicast
    assert a.is_loopback(ours) == address.is_loopback
    assert a.is_link_local(ours) == address.is_link_local
    assert a.is_any(ours) == address.is_unspecified
    assert a.is_unicast(ours) == (not address.is_multicast and not address.is_unspecified)


@pytest.mark.parametrize("text", ["", "10.0.0", "10.0.0.256", "fd00:::1", "a.b.c.d", "::ffff:1.2.3"])
def test_what_is_no_address_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        a.parse_address(text)


def test_a_scope_is_ignored() -> None:
    assert a.parse_address("fe80::1%eth0") == a.parse_address("fe80::1")


@given(st.ip_addresses(v=4), st.ip_addresses(v=4), st.integers(0, 32))
def test_in_prefix_is_what_ipaddress_says(one: object, other: object, prefix: int) -> None:
    network = ipaddress.ip_network(f"{other}/{prefix}", strict=False)
    ours, net = a.parse_address(str(one)), a.parse_address(str(other))
    assert a.in_prefix(ours, net, prefix) == (one in network)
    assert not a.in_prefix(ours, bytes(16), 0)


@given(ADDRESS, st.integers(0, 65535), ADDRESS, st.integers(0, 65535))
def test_keys_turn_round(source: bytes, sport: int, destination: bytes, dport: int) -> None:
    key = a.flow_key(source, sport, destination, dport)
    assert len(key) == 36
    assert a.reverse_key(key) == a.flow_key(destination, dport, source, sport)
    assert a.reverse_key(a.reverse_key(key)) == key


def test_who_may_be_a_host() -> None:
    for text in ("10.0.0.1", "127.0.0.1", "223.255.255.255", "fe80::1", "::1"):
        assert a.is_unicast(a.parse_address(text)), text
    for text in ("0.0.0.0", "0.1.2.3", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "ff02::1"):
        assert not a.is_unicast(a.parse_address(text)), text
    assert a.is_broadcast(a.parse_address("255.255.255.255"))
    assert not a.is_broadcast(a.parse_address("10.0.0.255"))
