"""The settings of one Stack: Linux's sysctls, with Linux's names, units and defaults.

The names are those below ``/proc/sys/net/ipv4`` (``Documentation/networking/ip-sysctl.rst``);
the defaults are those of Linux 6.18 on a machine with a few GiB of memory. A Stack holds one
frozen record and swaps it whole, so that a reader never sees half a change:

>>> settings = Settings().replace(tcp_syn_retries=2)
>>> settings.tcp_syn_retries
2
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from ustack.units import MILLISECOND

_HIGHEST: Final = {
    **dict.fromkeys(
        (
            "tcp_abort_on_overflow", "tcp_window_scaling", "tcp_sack", "tcp_dsack", "tcp_moderate_rcvbuf",
            "tcp_retrans_collapse", "tcp_thin_linear_timeouts", "tcp_slow_start_after_idle", "tcp_tw_recycle",
            "tcp_rfc1337", "tcp_stdurg", "tcp_autocorking", "icmp_echo_ignore_all",
        ),
        1,
    ),
    **dict.fromkeys(("tcp_timestamps", "tcp_syncookies", "tcp_frto", "tcp_tw_reuse"), 2),
    **dict.fromkeys(("ip_no_pmtu_disc", "tcp_ecn_option", "tcp_ecn_option_beacon"), 3),
    **dict.fromkeys(("tcp_early_retrans",), 4),
    **dict.fromkeys(("tcp_ecn",), 5),
    "tcp_ecn_fallback": 1,
    **dict.fromkeys(("tcp_syn_retries", "tcp_syn_linear_timeouts", "tcp_keepalive_probes"), 127),
    **dict.fromkeys(
        (
            "tcp_synack_retries", "tcp_retries1", "tcp_retries2", "tcp_orphan_retries", "ip_default_ttl",
            "tcp_recovery", "tcp_min_tso_segs", "tcp_tso_rtt_log", "tcp_tso_win_divisor", "tcp_pingpong_thresh",
        ),
        255,
    ),
    "tcp_reordering": 300,
    **dict.fromkeys(("tcp_pacing_ss_ratio", "tcp_pacing_ca_ratio"), 1000),
    **dict.fromkeys(("tcp_keepalive_time", "tcp_keepalive_intvl"), 32767),
    "tcp_tw_reuse_delay": 60_000,
    "tcp_min_snd_mss": 65535,
    "tcp_min_rtt_wlen": 86_400,
    "tcp_rto_max_ms": 120_000,
    "tcp_notsent_lowat": 0xFFFF_FFFF,
}  # fmt: skip
"""The largest value: that of Linux's handler (net/ipv4/sysctl_net_ipv4.c), or the largest that has a meaning where
that is less. Of what is not here it is what a C int holds."""

_LOWEST: Final = {
    **dict.fromkeys(
        (
            "tcp_syn_retries", "ip_default_ttl", "tcp_init_cwnd", "tcp_rto_min_us", "tcp_reordering",
            "tcp_max_reordering", "tcp_min_tso_segs", "tcp_pingpong_thresh", "tcp_tw_reuse_delay",
        ),
        1,
    ),
    "tcp_min_snd_mss": 48,
    "tcp_rto_max_ms": 1000,
    **dict.fromkeys(("rmem_max", "rmem_default"), 2304),
    **dict.fromkeys(("wmem_max", "wmem_default"), 4608),
}  # fmt: skip
"""The smallest value, likewise, where that is not 0."""


def parse_fastopen_keys(text: str) -> list[bytes]:
    """The value of tcp_fastopen_key: one key or two, between commas, each four hexadecimal words. Raises ValueError."""
    keys = []
    for part in text.split(","):
        words = [int(word, 16) for word in part.strip().split("-")]
        if len(words) != 4 or not all(0 <= word < 1 << 32 for word in words):
            raise ValueError(f"tcp_fastopen_key is xxxxxxxx-xxxxxxxx-xxxxxxxx-xxxxxxxx, once or twice, not {text!r}")
        keys.append(b"".join(word.to_bytes(4, "little") for word in words))
    if len(keys) > 2:
        raise ValueError("tcp_fastopen_key: at most two keys")
    return keys


@dataclasses.dataclass(frozen=True)
class Settings:
    """Every setting, in Linux's own unit (seconds, milliseconds, bytes, counts: see each).

    Raises ValueError for a value that no kernel would take, or that would mean nothing.
    """

    # Opening
    tcp_syn_retries: int = 6
    tcp_syn_linear_timeouts: int = 4
    """This many SYN resends wait 1 s each before the doubling begins (Linux 6.5)."""
    tcp_synack_retries: int = 5
    tcp_max_syn_backlog: int = 2048
    tcp_syncookies: int = 1
    """0 never, 1 when the SYN queue is full, 2 always."""
    tcp_abort_on_overflow: int = 0
    somaxconn: int = 4096
    ip_local_port_range: tuple[int, int] = (32768, 60999)

    # Options and their use
    tcp_timestamps: int = 1
    """0 off, 1 with a random offset for each connection, 2 without the offset."""
    tcp_window_scaling: int = 1
    tcp_sack: int = 1
    tcp_dsack: int = 1
    tcp_ecn: int = 2
    """0 never, 1 ask for it and accept it, 2 accept it when the peer asks. With Accurate ECN (RFC 9768): 3 ask for it
    and accept it, 4 accept it and ask for classic ECN, 5 accept it."""
    tcp_ecn_fallback: int = 1
    """A SYN that is lost is sent without asking for ECN (RFC 3168 section 6.1.1.1)."""
    tcp_ecn_option: int = 2
    """Accurate ECN's option: 0 never, 1 where it must be, 2 always, 3 also where the peer's does not get through."""
    tcp_ecn_option_beacon: int = 3
    """Options in a round trip, at least, with tcp_ecn_option = 1."""
    tcp_base_mss: int = 1024
    tcp_min_snd_mss: int = 48

    # Buffers: minimum, default, maximum (bytes, as SO_RCVBUF counts: half of it is window)
    tcp_rmem: tuple[int, int, int] = (4096, 131072, 33554432)
    tcp_wmem: tuple[int, int, int] = (4096, 16384, 4194304)
    tcp_mem: tuple[int, int, int] = (49152, 65536, 98304)
    """Pages of 4096 bytes that all buffers together may take: below the first there is no pressure, above the second
    there is, and more than the third is refused. Linux's on a machine with 4 GiB."""
    rmem_max: int = 4194304
    wmem_max: int = 4194304
    rmem_default: int = 212992
    wmem_default: int = 212992
    tcp_moderate_rcvbuf: int = 1
    tcp_notsent_lowat: int = 4294967295

    # Retransmission and recovery
    tcp_retries1: int = 3
    tcp_retries2: int = 15
    tcp_orphan_retries: int = 0
    """0 means 8 for an orphan (Linux's ``tcp_orphan_retries()``)."""
    tcp_max_orphans: int = 131072
    tcp_rto_min_us: int = 200_000
    tcp_rto_max_ms: int = 120_000
    tcp_frto: int = 2
    tcp_recovery: int = 1
    tcp_reordering: int = 3
    tcp_max_reordering: int = 300
    tcp_early_retrans: int = 3
    tcp_min_rtt_wlen: int = 300
    tcp_retrans_collapse: int = 1
    tcp_thin_linear_timeouts: int = 0

    # Congestion
    tcp_congestion_control: str = "cubic"
    tcp_slow_start_after_idle: int = 1
    tcp_pacing_ss_ratio: int = 200
    tcp_pacing_ca_ratio: int = 120
    tcp_min_tso_segs: int = 2
    """Segments of the shortest run, however low the pacing rate."""
    tcp_tso_rtt_log: int = 9
    """For each 2^9 us of the smallest RTT the longer run of a near peer halves; 0: no longer runs."""
    tcp_tso_win_divisor: int = 3
    """A run may wait for the next ACK while less than this share of the window is free; 0: than three segments."""
    tcp_init_cwnd: int = 10
    """Initial window, segments (RFC 6928); Linux keeps it in the route (``initcwnd``)."""

    # Keepalive and closing
    tcp_keepalive_time: int = 7200
    tcp_keepalive_intvl: int = 75
    tcp_keepalive_probes: int = 9
    tcp_fin_timeout: int = 60
    tcp_timewait_length: int = 60
    """Seconds in TIME-WAIT; a compile-time constant (``TCP_TIMEWAIT_LEN``) on Linux."""
    tcp_max_tw_buckets: int = 131072
    tcp_tw_reuse: int = 2
    """0 off, 1 on, 2 on for loopback only."""
    tcp_tw_reuse_delay: int = 1000
    """Milliseconds that a TIME-WAIT must have lasted before connect() takes its port."""
    tcp_tw_recycle: int = 0
    """PAWS per host, removed in Linux 4.12: here only to show why (scenario E2)."""
    tcp_rfc1337: int = 0
    tcp_stdurg: int = 0

    # Defence
    tcp_challenge_ack_limit: int = 2147483647
    tcp_invalid_ratelimit: int = 500
    """Milliseconds between two ACKs that answer unacceptable segments of one connection."""

    tcp_pingpong_thresh: int = 1
    tcp_autocorking: int = 1
    tcp_fastopen: int = 1
    """Bits: 0x1 clients, 0x2 servers, 0x4 text without a cookie, 0x200 accepted without one, 0x400 every listener."""
    tcp_fastopen_key: str = ""
    """One key for cookies or two, as ``xxxxxxxx-xxxxxxxx-xxxxxxxx-xxxxxxxx``; empty: random."""
    tcp_fastopen_blackhole_timeout_sec: int = 0
    """Seconds without Fast Open after a SYN's text seems to have been swallowed; 0: never."""
    ip_default_ttl: int = 64
    ip_no_pmtu_disc: int = 0
    icmp_ratelimit: int = 1000
    icmp_msgs_per_sec: int = 1000
    icmp_msgs_burst: int = 50
    icmp_echo_ignore_all: int = 0
    ipfrag_high_thresh: int = 4194304
    ipfrag_time: int = 30
    ip6frag_time: int = 60

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check(field.name, field.default, getattr(self, field.name))
        if self.tcp_fastopen_key:
            parse_fastopen_keys(self.tcp_fastopen_key)

    def replace(self, **changes: Any) -> Settings:
        """A copy with some settings changed. Raises TypeError for an unknown name, ValueError for a wrong value."""
        for field in dataclasses.fields(self):
            if field.name in changes:  # before the compiled constructor, which only knows types
                _check(field.name, field.default, changes[field.name])
        return dataclasses.replace(self, **changes)

    @property
    def rto_min(self) -> int:
        """The least retransmission timeout, ns."""
        return self.tcp_rto_min_us * 1000

    @property
    def rto_max(self) -> int:
        """The largest retransmission timeout, ns."""
        return self.tcp_rto_max_ms * MILLISECOND


def _check(name: str, default: object, value: object) -> None:
    """Raises ValueError with a sentence for a wrong value."""
    if isinstance(default, str):
        if not isinstance(value, str) or (default and not value):
            raise ValueError(f"{name} is a name, not {value!r}")
        return
    numbers = value if isinstance(default, tuple) and isinstance(value, tuple) else (value,)
    wanted = len(default) if isinstance(default, tuple) else 1
    if len(numbers) != wanted or not all(isinstance(number, int) for number in numbers):
        raise ValueError(f"{name} is {wanted} whole number{'s' if wanted > 1 else ''}, not {value!r}")
    low = 1 if wanted > 1 else _LOWEST.get(name, 0)
    high = _HIGHEST.get(name, 0xFFFF if name == "ip_local_port_range" else 0x7FFF_FFFF)
    if not all(low <= number <= high for number in numbers):
        raise ValueError(f"{name} is between {low} and {high}, not {value!r}")
    if list(numbers) != sorted(numbers):
        raise ValueError(f"{name} must ascend, unlike {value!r}")
