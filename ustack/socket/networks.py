"""Which addresses lead to a stack, for those who send some to it and leave others to the kernel."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from ustack.stack.stack import Stack
from ustack.wire.address import format_address


class Networks:
    """Those named (``["198.18.0.0/15"]``); None: those that the stack has addresses in. Raises ValueError."""

    def __init__(self, stack: Stack, names: Sequence[str] | None) -> None:
        if names is None:
            names = [f"{format_address(address)}/{bits}" for address, bits in stack.ip.addresses()]
        self._networks: list[IPv4Network | IPv6Network] = [ip_network(name, strict=False) for name in names]

    def cover(self, address: str, wildcard: bool) -> bool:
        """Whether a numeric address is the stack's; ``wildcard``: the unspecified one is, too."""
        try:
            found = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if found.is_unspecified:
            return wildcard
        if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        return any(found in network for network in self._networks)
