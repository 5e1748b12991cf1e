"""What shell lines do to a Stack: sysctls become Settings."""

from __future__ import annotations

import dataclasses
import re
from typing import Final

from ustack.congestion import check_name
from ustack.packetdrill.errors import Unsupported
from ustack.packetdrill.shell import SUITE_DEFAULTS, Effects
from ustack.settings import Settings

_FIELDS: Final = {field.name: field for field in dataclasses.fields(Settings)}

# The values of a knob for which ustack does what Linux does; any other is refused by its name, as are knobs that stand
# nowhere. None: any, because on Linux too it changes nothing that a script can see: the reason is beside each.
_HONEST: Final[dict[str, tuple[str, ...] | None]] = {
    # Settings that are kept and not followed yet, or followed for some values.
    "tcp_retrans_collapse": ("1",),
    "tcp_tw_recycle": ("0",),
    "ip_no_pmtu_disc": ("0", "1"),  # 2 and 3: of ICMP that even sockets with IP_PMTUDISC_DO must not believe
    # Knobs that Settings does not have.
    "tcp_no_metrics_save": ("1",),
    "tcp_app_win": ("31",),
    "tcp_mtu_probing": ("0",),
    "tcp_workaround_signed_windows": ("0",),
    "tcp_shrink_window": ("0",),
    "tcp_reflect_tos": ("0",),
    "tcp_thin_dupack": ("0",),
    "tcp_plb_enabled": ("0",),
    "tcp_comp_sack_nr": ("0",),
    "tcp_fwmark_accept": ("0",),
    "tcp_l3mdev_accept": ("0",),
    "tcp_migrate_req": ("0",),
    "ip_forward": ("0",),
    "ip_nonlocal_bind": ("0",),
    "ip_early_demux": None,  # only how a packet is looked up
    "tcp_early_demux": None,
    "tcp_limit_output_bytes": None,  # a TUN device takes packets off the sender's account at once
    "tcp_autocorking": None,  # likewise: there is never a packet of the socket waiting in the device
    "tcp_base_mss": None,  # of MTU probing, which is off
    "tcp_probe_interval": None,
    "tcp_probe_threshold": None,
    "tcp_mtu_probe_floor": None,
    "tcp_fack": None,  # without effect since Linux 4.15
    "tcp_low_latency": None,  # since 4.14
    "tcp_adv_win_scale": None,  # since 6.6
    "tcp_backlog_ack_defer": None,  # only for what arrives during a call
    "tcp_allowed_congestion_control": None,  # root may use all
    "tcp_comp_sack_delay_ns": None,  # of compressed SACKs, which tcp_comp_sack_nr=0 switches off
    "tcp_comp_sack_slack_ns": None,
    "tcp_comp_sack_rtt_percent": None,
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
        if not _is_honest(short, value):
            raise Unsupported(f"sysctl {name}={value}" if short in _HONEST else f"sysctl {name}")
        if short in _FIELDS:
            try:
                found[short] = _convert(getattr(settings, short), value)
                check_name(settings.replace(**{short: found[short]}).tcp_congestion_control)
            except ValueError as error:
                reason = f": {error}" if error.args else ""
                raise Unsupported(f"sysctl {name}='{value}'{reason}") from None
    return found


def _is_honest(short: str, value: str) -> bool:
    if short in _HONEST:
        allowed = _HONEST[short]
        return allowed is None or value in allowed
    return short in _FIELDS or _INTERFACE.fullmatch(short) is not None


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
