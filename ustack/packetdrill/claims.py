"""What ustack does not claim: a script that needs it is unsupported, not failed.

Only what shows in the script itself stands here; a missing socket option, sysctl or system call is
found when the script asks for it. The list is to become shorter.
"""

from __future__ import annotations

from typing import Final

from ustack.packetdrill.tree import Array, Binary, Expression, OptionKind, Record, Script, Symbol, SystemCall, TcpPacket

_OPTIONS: Final = {
    OptionKind.MD5: "TCP MD5 signatures",
}
_SYMBOLS: Final = {
    "MSG_ZEROCOPY": "MSG_ZEROCOPY",
    "SO_ZEROCOPY": "MSG_ZEROCOPY",
    "MSG_ERRQUEUE": "MSG_ERRQUEUE",
    "IP_MINTTL": "IP_MINTTL",
    "IPV6_MINHOPCOUNT": "IPV6_MINHOPCOUNT",
    "SO_TIMESTAMPING": "SO_TIMESTAMPING",
    "SO_TIMESTAMP": "SO_TIMESTAMP",
    "SO_TIMESTAMPNS": "SO_TIMESTAMPNS",
    "TCP_MD5SIG": "TCP MD5 signatures",
    "IPPROTO_MPTCP": "MPTCP",
    "TCP_ZEROCOPY_RECEIVE": "TCP_ZEROCOPY_RECEIVE",
    "TCP_REPAIR": "TCP_REPAIR",
    "TCP_ULP": "TCP_ULP",
    "TCP_TX_DELAY": "TCP_TX_DELAY",
}


def unclaimed(script: Script) -> str | None:
    """The first thing in the script that ustack does not have; None when there is nothing of the kind."""
    for event in script.events:
        action = event.action
        if isinstance(action, TcpPacket):
            for option in action.options or []:
                if option.kind in _OPTIONS:
                    return _OPTIONS[option.kind]
        elif isinstance(action, SystemCall):
            for argument in action.arguments:
                for name in _symbols(argument):
                    if name in _SYMBOLS:
                        return _SYMBOLS[name]
    return None


def _symbols(value: Expression) -> list[str]:
    if isinstance(value, Symbol):
        return [value.name]
    if isinstance(value, Binary):
        return _symbols(value.left) + _symbols(value.right)
    if isinstance(value, Array):
        return [name for item in value.items for name in _symbols(item)]
    if isinstance(value, Record):
        return [name for member in value.members for name in _symbols(member.value)]
    return []
