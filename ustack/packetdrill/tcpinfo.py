"""``struct tcp_info`` (Linux 6.18, include/uapi/linux/tcp.h) and its neighbours, as the variables of assertions."""

from __future__ import annotations

import struct
from typing import Final

_BYTES: Final = ("state", "ca_state", "retransmits", "probes", "backoff", "options")
_REST: Final = (
    "I rto, I ato, I snd_mss, I rcv_mss, I unacked, I sacked, I lost, I retrans, I fackets, I last_data_sent, "
    "I last_ack_sent, I last_data_recv, I last_ack_recv, I pmtu, I rcv_ssthresh, I rtt, I rttvar, I snd_ssthresh, "
    "I snd_cwnd, I advmss, I reordering, I rcv_rtt, I rcv_space, I total_retrans, Q pacing_rate, Q max_pacing_rate, "
    "Q bytes_acked, Q bytes_received, I segs_out, I segs_in, I notsent_bytes, I min_rtt, I data_segs_in, "
    "I data_segs_out, Q delivery_rate, Q busy_time, Q rwnd_limited, Q sndbuf_limited, I delivered, I delivered_ce, "
    "Q bytes_sent, Q bytes_retrans, I dsack_dups, I reord_seen, I rcv_ooopack, I snd_wnd, I rcv_wnd, I rehash, "
    "H total_rto, H total_rto_recoveries, I total_rto_time, I received_ce, I delivered_e1_bytes, "
    "I delivered_e0_bytes, I delivered_ce_bytes, I received_e1_bytes, I received_e0_bytes, I received_ce_bytes, "
    "H accecn_fail_mode, H accecn_opt_seen"
)
TCP_INFO_SIZE: Final = 320
"""More than the kernel has today: it says how much it filled in."""


def _layout() -> list[tuple[str, str, int]]:
    rows: list[tuple[str, str, int]] = []
    at = 8
    for field in _REST.split(", "):
        form, name = field.split()
        size = struct.calcsize(form)
        at += -at % size
        rows.append((name, form, at))
        at += size
    return rows


LAYOUT: Final = _layout()
"""(name, struct form, offset) of what follows the first eight bytes."""

FIELDS: Final = frozenset(_BYTES) | {name for name, _, _ in LAYOUT} | {"snd_wscale", "rcv_wscale"}


def read_tcp_info(data: bytes) -> dict[str, int]:
    """``tcpi_*`` variables from what getsockopt(TCP_INFO) returned; an older kernel's shorter form gives fewer."""
    values = {f"tcpi_{name}": data[at] for at, name in enumerate(_BYTES)}
    values["tcpi_snd_wscale"] = data[6] & 15
    values["tcpi_rcv_wscale"] = data[6] >> 4
    values["tcpi_delivery_rate_app_limited"] = data[7] & 1
    values["tcpi_fastopen_client_fail"] = data[7] >> 1 & 3
    for name, form, at in LAYOUT:
        if at + struct.calcsize(form) > len(data):
            break
        values[f"tcpi_{name}"] = struct.unpack_from("=" + form, data, at)[0]
    return values


def pack_tcp_info(values: dict[str, int]) -> bytes:
    """The inverse, for a stack that is not a kernel; names without ``tcpi_``, what is missing is 0."""
    size = LAYOUT[-1][2] + struct.calcsize(LAYOUT[-1][1])
    data = bytearray(size)
    for at, name in enumerate(_BYTES):
        data[at] = values.get(name, 0) & 0xFF
    data[6] = values.get("snd_wscale", 0) & 15 | (values.get("rcv_wscale", 0) & 15) << 4
    for name, form, at in LAYOUT:
        most = (1 << 8 * struct.calcsize(form)) - 1
        struct.pack_into("=" + form, data, at, max(0, min(values.get(name, 0), most)))
    return bytes(data)
