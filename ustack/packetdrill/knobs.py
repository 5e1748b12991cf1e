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
_INTERFACE: Final = re.compile(r"conf\.\w+\.(rp_filter|accept_ra|accept_dad|forwarding|autoconf|disable_ipv6)")
_PREFIXES: Final = ("net.core.", "net.ipv6.", "net.ipv4.")


def changes(settings: Settings, sysctls: list[tuple[str, str]]) -> dict[str, object]:
    """The fields of Settings that sysctls change.

    Raises Unsupported for a knob, or a value of it, that ustack does not have."""
    found: dict[str, object] = {}
    for name, value in sysctls:
        short = name
        for prefix in _PREFIXES:
            short = short.removeprefix(prefix)
        if short in _FIELDS:
            try:
                found[short] = _convert(getattr(settings, short), value)
            except ValueError:
                raise Unsupported(f"sysctl {name}='{value}'") from None
        elif not _is_neutral(short, value):
            raise Unsupported(f"sysctl {name}={value}" if short in _NEUTRAL else f"sysctl {name}")
    return found


def _is_neutral(short: str, value: str) -> bool:
    if short in _NEUTRAL:
        allowed = _NEUTRAL[short]
        return allowed is None or value in allowed
    return _INTERFACE.fullmatch(short) is not None


def _convert(old: object, value: str) -> object:
    if isinstance(old, tuple):
        numbers = tuple(int(word) for word in value.split())
        if len(numbers) != len(old):
            raise ValueError
        return numbers
    return value if isinstance(old, str) else int(value, 0)


def apply(settings: Settings, all_effects: list[Effects]) -> Settings:
    """Everything of some commands that becomes a setting."""
    found: dict[str, object] = {}
    for effects in all_effects:
        if effects.defaults:
            found |= changes(settings, list(SUITE_DEFAULTS.items()))
        found |= changes(settings, effects.sysctls)
        found |= _routed(effects)
    return settings.replace(**found) if found else settings


def _routed(effects: Effects) -> dict[str, object]:
    found: dict[str, object] = {}
    route = effects.route
    for word in ("advmss", "initrwnd", "quickack", "reordering", "hoplimit"):
        if word in route:
            raise Unsupported(f"route {word}")
    if "initcwnd" in route:
        found["tcp_init_cwnd"] = route["initcwnd"]
    if "rto_min" in route:
        found["tcp_rto_min_us"] = route["rto_min"] * 1000
    return found
