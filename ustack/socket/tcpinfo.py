"""``struct tcp_info`` as getsockopt(TCP_INFO) hands it out (include/uapi/linux/tcp.h, Linux 6.18: 280 bytes)."""

from __future__ import annotations

import struct
from typing import Any, Final

_HEAD: Final = (
    "state",
    "ca_state",
    "retransmits",
    "probes",
    "backoff",
    "options",
)
_WORDS: Final = (
    "rto",
    "ato",
    "snd_mss",
    "rcv_mss",
    "unacked",
    "sacked",
    "lost",
    "retrans",
    "fackets",
    "last_data_sent",
    "last_ack_sent",
    "last_data_recv",
    "last_ack_recv",
    "pmtu",
    "rcv_ssthresh",
    "rtt",
    "rttvar",
    "snd_ssthresh",
    "snd_cwnd",
    "advmss",
    "reordering",
    "rcv_rtt",
    "rcv_space",
    "total_retrans",
)
_TAIL: Final = (
    ("Q", "pacing_rate"),
    ("Q", "max_pacing_rate"),
    ("Q", "bytes_acked"),
    ("Q", "bytes_received"),
    ("I", "segs_out"),
    ("I", "segs_in"),
    ("I", "notsent_bytes"),
    ("I", "min_rtt"),
    ("I", "data_segs_in"),
    ("I", "data_segs_out"),
    ("Q", "delivery_rate"),
    ("Q", "busy_time"),
    ("Q", "rwnd_limited"),
    ("Q", "sndbuf_limited"),
    ("I", "delivered"),
    ("I", "delivered_ce"),
    ("Q", "bytes_sent"),
    ("Q", "bytes_retrans"),
    ("I", "dsack_dups"),
    ("I", "reord_seen"),
    ("I", "rcv_ooopack"),
    ("I", "snd_wnd"),
    ("I", "rcv_wnd"),
    ("I", "rehash"),
    ("H", "total_rto"),
    ("H", "total_rto_recoveries"),
    ("I", "total_rto_time"),
    ("I", "received_ce"),
    ("I", "delivered_e1_bytes"),
    ("I", "delivered_e0_bytes"),
    ("I", "delivered_ce_bytes"),
    ("I", "received_e1_bytes"),
    ("I", "received_e0_bytes"),
    ("I", "received_ce_bytes"),
    ("H", "accecn_fail_mode"),
    ("H", "accecn_opt_seen"),
)
LAYOUT: Final = struct.Struct("=8B" + "I" * len(_WORDS) + "".join(code for code, _ in _TAIL))
FIELDS: Final = (*_HEAD, "snd_wscale", "rcv_wscale", *_WORDS, *(name for _, name in _TAIL))
_MOST: Final = {"B": 0xFF, "H": 0xFFFF, "I": 0xFFFFFFFF, "Q": 0xFFFFFFFFFFFFFFFF}
_UNLIMITED: Final = (1 << 62) - 1


def _value(info: Any, name: str, code: str) -> int:
    """One field, cut to what its place holds; 0 for what this stack does not count."""
    value = int(getattr(info, "tcpi_" + name, 0))
    if value >= _UNLIMITED and name.endswith("pacing_rate"):
        return _MOST["Q"]
    return max(0, min(value, _MOST[code]))


def pack_tcp_info(info: object) -> bytes:
    """The kernel's struct for a record that has ``tcpi_*`` fields."""
    head = [_value(info, name, "B") for name in _HEAD]
    scales = _value(info, "snd_wscale", "B") & 15 | (_value(info, "rcv_wscale", "B") & 15) << 4
    flags = _value(info, "delivery_rate_app_limited", "B") & 1 | (_value(info, "fastopen_client_fail", "B") & 3) << 1
    words = [_value(info, name, "I") for name in _WORDS]
    tail = [_value(info, name, code) for code, name in _TAIL]
    return LAYOUT.pack(*head, scales, flags, *words, *tail)


def unpack_tcp_info(data: bytes) -> dict[str, int]:
    """The fields of a ``struct tcp_info`` (shorter ones of older kernels too), without ``tcpi_``."""
    values = LAYOUT.unpack(data[: LAYOUT.size].ljust(LAYOUT.size, b"\0"))
    names = (*_HEAD, "_scales", "_flags", *_WORDS, *(name for _, name in _TAIL))
    found = dict(zip(names, values, strict=True))
    scales, flags = found.pop("_scales"), found.pop("_flags")
    found["snd_wscale"], found["rcv_wscale"] = scales & 15, scales >> 4
    found["delivery_rate_app_limited"], found["fastopen_client_fail"] = flags & 1, flags >> 1 & 3
    return found
