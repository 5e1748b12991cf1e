"""ICMP types and codes by the words of the notation, for IPv4 and IPv6.

The numbers are IANA's (RFC 792, RFC 1122, RFC 1812; RFC 4443). A word that one of the two does not have is None.
"""

from __future__ import annotations

from typing import Final

ICMP_TYPES: Final[dict[str, tuple[int | None, int | None]]] = {
    "unreachable": (3, 1),
    "packet_too_big": (None, 2),
    "time_exceeded": (11, 3),
    "parameter_problem": (12, 4),
    "source_quench": (4, None),
    "redirect": (5, 137),
    "echo_request": (8, 128),
    "echo_reply": (0, 129),
    "router_advertisement": (9, 134),
    "router_solicitation": (10, 133),
    "timestamp": (13, None),
    "timestamp_reply": (14, None),
    "info_request": (15, None),
    "info_reply": (16, None),
}

ICMP_CODES: Final[dict[str, tuple[int | None, int | None]]] = {
    "net_unreachable": (0, 0),
    "host_unreachable": (1, 3),
    "protocol_unreachable": (2, None),
    "port_unreachable": (3, 4),
    "frag_needed": (4, None),
    "source_route_failed": (5, None),
    "net_unknown": (6, None),
    "host_unknown": (7, None),
    "source_host_isolated": (8, None),
    "net_prohibited": (9, None),
    "host_prohibited": (10, None),
    "net_unreachable_for_tos": (11, None),
    "host_unreachable_for_tos": (12, None),
    "packet_filtered": (13, 1),
    "admin_prohibited": (13, 1),
    "precedence_violation": (14, None),
    "precedence_cutoff": (15, None),
    "no_route": (None, 0),
    "not_neighbour": (None, 2),
    "beyond_scope": (None, 2),
    "addr_unreachable": (None, 3),
    "address_unreachable": (None, 3),
    "policy_fail": (None, 5),
    "reject_route": (None, 6),
    "ttl_exceeded": (0, 0),
    "exc_ttl": (0, 0),
    "exc_fragtime": (1, 1),
    "header_field": (0, 0),
    "unknown_next_header": (None, 1),
    "unknown_option": (1, 2),
}


def icmp_number(table: dict[str, tuple[int | None, int | None]], word: str | None, v6: bool) -> int | None:
    """The number of a word (or of a number written out); None when this IP version has none. No word is 0."""
    if word is None:
        return 0
    if word.isdigit():
        return int(word)
    return table[word][1 if v6 else 0]


def icmp_name(table: dict[str, tuple[int | None, int | None]], number: int, v6: bool) -> str:
    """The first word for a number, or the number itself."""
    column = 1 if v6 else 0
    return next((word for word, numbers in table.items() if numbers[column] == number), str(number))
