"""What shell lines do to a Stack: sysctls become Settings."""

from __future__ import annotations

import dataclasses
import re
from typing import Final

from ustack.packetdrill.errors import Unsupported
from ustack.packetdrill.shell import SUITE_DEFAULTS, Effects
from ustack.settings import Settings

_FIELDS: Final = {field.name: field for field in dataclasses.fields(Settings)}

# Knobs that Settings does not have: the values for which ustack behaves as Linux does (None: any).
_NEUTRAL: Final[dict[str, tuple[str, ...] | None]] = {
    "tcp_no_metrics_save": None,
    "tcp_tso_win_divisor": None,
    "tcp_min_tso_segs": None,
    "tcp_tso_rtt_log": None,
    "tcp_limit_output_bytes": None,
    "tcp_fastopen_key": None,
    "tcp_fastopen_blackhole_timeout_sec": None,
    "tcp_early_demux": None,
    "tcp_available_congestion_control": None,
    "tcp_allowed_congestion_control": None,
    "tcp_fack": None,
    "tcp_app_win": None,
    "tcp_probe_interval": None,
    "tcp_probe_threshold": None,
    "tcp_adv_win_scale": None,
    "tcp_mem": None,
    "tcp_low_latency": None,
    "tcp_backlog_ack_defer": None,
    "tcp_pacing_ss_ratio": None,
    "tcp_pacing_ca_ratio": None,
    "tcp_ecn_fallback": None,
    "tcp_ecn_option": None,
    "tcp_ecn_option_beacon": None,
    "tcp_mtu_probing": ("0",),
    "tcp_workaround_signed_windows": ("0",),
    "tcp_shrink_window": ("0",),
    "tcp_reflect_tos": ("0",),
    "tcp_thin_dupack": ("0",),
    "tcp_plb_enabled": ("0",),
    "tcp_comp_sack_nr": ("0",),
    "tcp_comp_sack_delay_ns": None,
    "tcp_comp_sack_slack_ns": None,
    "tcp_comp_sack_rtt_percent": None,
    "tcp_rcvbuf_low_rtt": None,
    "ip_forward": ("0",),
    "ip_nonlocal_bind": ("0",),
}
_PREFIXES: Final = ("net.core.", "net.ipv6.", "net.ipv4.")


def change(settings: Settings, name: str, value: str) -> Settings:
    """One sysctl. Raises Unsupported for a knob, or a value of it, that ustack does not have."""
    short = name
    for prefix in _PREFIXES:
        short = short.removeprefix(prefix)
    if re.fullmatch(r"conf\.\w+\.(rp_filter|accept_ra|accept_dad|forwarding|autoconf|disable_ipv6)", short):
        return settings
    if short not in _FIELDS:
        if short in _NEUTRAL:
            allowed = _NEUTRAL[short]
            if allowed is None or value in allowed:
                return settings
            raise Unsupported(f"sysctl {name}={value}")
        raise Unsupported(f"sysctl {name}")
    try:
        return settings.replace(**{short: _convert(getattr(settings, short), value)})
    except ValueError:
        raise Unsupported(f"sysctl {name}='{value}'") from None


def _convert(old: object, value: str) -> object:
    if isinstance(old, tuple):
        numbers = tuple(int(word) for word in value.split())
        if len(numbers) != len(old):
            raise ValueError
        return numbers
    return value if isinstance(old, str) else int(value, 0)


def suite_defaults(settings: Settings) -> Settings:
    """What the kernel's suite sets before each script."""
    for name, value in SUITE_DEFAULTS.items():
        settings = change(settings, name, value)
    return settings


def apply(settings: Settings, effects: Effects) -> Settings:
    """Everything of a command that becomes a setting."""
    if effects.defaults:
        settings = suite_defaults(settings)
    for name, value in effects.sysctls:
        settings = change(settings, name, value)
    route = effects.route
    for word in ("advmss", "initrwnd", "quickack", "reordering", "hoplimit"):
        if word in route:
            raise Unsupported(f"route {word}")
    if "initcwnd" in route:
        settings = settings.replace(tcp_init_cwnd=route["initcwnd"])
    if "rto_min" in route:
        settings = settings.replace(tcp_rto_min_us=route["rto_min"] * 1000)
    return settings
