"""What the options of a script and of the command line say, as one record."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ustack.packetdrill.errors import ScriptError
from ustack.packetdrill.hints import did_you_mean
from ustack.packetdrill.tree import Script

IPV4, MAPPED, IPV6 = "ipv4", "ipv4-mapped-ipv6", "ipv6"


@dataclass(frozen=True)
class Config:
    """Everything that holds for a whole run."""

    ip_version: str = IPV4
    mss: int = 0
    """Inbound segments larger than this arrive as one super-segment; 0: never."""
    mtu: int = 1500
    bind_port: int = 8080
    connect_port: int = 8080
    local_ip: str = ""
    remote_ip: str = ""
    gateway_ip: str = ""
    netmask_ip: str = ""
    tolerance_ns: int = 4_000_000
    tolerance_percent: float = 12.5
    ts_tick_usecs: int = 0
    ts_ecr_scaled: bool = False
    strict_segments: bool = False
    exact: bool = False
    """ustack's own scripts: no tolerance in virtual time, and nothing may be left unexpected at the end."""
    ignore_boundaries: bool = False
    """``--boundaries=ignore``: PSH and the ends of super-segments are not compared."""
    non_fatal: str = ""
    """``packet``, ``syscall`` or both: what differs there is reported, and the script goes on."""
    init_scripts: str = ""
    """Files that run before the init command, between commas."""
    dry_run: bool = False
    """Read the script, and no more."""
    trace: bool = False
    """State, timers and refusals of the stack are noted after every event."""

    @property
    def is_v6(self) -> bool:
        """Packets on the wire are IPv6."""
        return self.ip_version == IPV6

    @property
    def local(self) -> str:
        return self.local_ip or ("fd3d:0a0b:17d6::1" if self.is_v6 else "192.168.0.1")

    @property
    def remote(self) -> str:
        return self.remote_ip or ("fd3d:fa7b:d17d::1" if self.is_v6 else "192.0.2.1")

    @property
    def gateway(self) -> str:
        return self.gateway_ip or ("fd3d:0a0b:17d6:8888::1" if self.is_v6 else "192.168.0.2")

    @property
    def prefix(self) -> int:
        """Length of the local network's prefix."""
        if self.is_v6:
            return 64
        return ipaddress.ip_network(f"0.0.0.0/{self.netmask_ip or '255.255.0.0'}").prefixlen

    def tolerance(self, gap_ns: int) -> int:
        """How far from its time an event ``gap_ns`` after the one before may happen."""
        return max(self.tolerance_ns, int(gap_ns * self.tolerance_percent / 100))


def _flag(text: str) -> bool:
    if text.lower() in ("", "1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError


def _number(text: str) -> int:
    return int(text, 0)


def _version(text: str) -> str:
    if text not in (IPV4, MAPPED, IPV6):
        raise ValueError
    return text


def _address(text: str) -> str:
    return str(ipaddress.ip_address(text))


def _kinds(text: str) -> str:
    if not set(text.split(",")) <= {"packet", "syscall"}:
        raise ValueError
    return text


def _boundaries(text: str) -> bool:
    return {"ignore": True, "strict": False}[text]


# name -> (field, reader, what it takes)
_OPTIONS: Final[dict[str, tuple[str, Callable[[str], object], str]]] = {
    "ip_version": ("ip_version", _version, "ipv4, ipv4-mapped-ipv6 or ipv6"),
    "mss": ("mss", _number, "bytes"),
    "mtu": ("mtu", _number, "bytes"),
    "bind_port": ("bind_port", _number, "a port"),
    "connect_port": ("connect_port", _number, "a port"),
    "local_ip": ("local_ip", _address, "an address"),
    "remote_ip": ("remote_ip", _address, "an address"),
    "gateway_ip": ("gateway_ip", _address, "an address"),
    "netmask_ip": ("netmask_ip", _address, "a netmask"),
    "tolerance_usecs": ("tolerance_ns", lambda text: _number(text) * 1000, "microseconds"),
    "tolerance_percent": ("tolerance_percent", float, "per cent"),
    "tcp_ts_tick_usecs": ("ts_tick_usecs", _number, "microseconds"),
    "tcp_ts_ecr_scaled": ("ts_ecr_scaled", _flag, "nothing"),
    "strict_segments": ("strict_segments", _flag, "nothing"),
    "exact": ("exact", _flag, "nothing"),
    "boundaries": ("ignore_boundaries", _boundaries, "ignore or strict"),
    "dry_run": ("dry_run", _flag, "nothing"),
    "trace": ("trace", _flag, "nothing"),
    "non_fatal": ("non_fatal", _kinds, "packet, syscall or both between commas"),
    "init_scripts": ("init_scripts", str, "files between commas"),
}

# Understood, and without effect here: what they steer does not exist in this runner.
_ACCEPTED: Final = frozenset(
    {
        "define", "send_omit_free", "speed", "code_sockopt", "code_command", "code_format", "persistent_tun_dev",
        "no_cleanup", "fm_filename", "verbose", "debug", "tun_dev", "wire_client",
        "wire_server", "so_filename", "so_flags", "is_anyip",
    }
)  # fmt: skip


def configure(script: Script, overrides: list[str] | None = None, base: Config | None = None) -> Config:
    """The script's options, then ``overrides`` (``name=value`` each), over ``base``.

    Raises ScriptError for an unknown name (with the nearest known ones) or a value that does not fit."""
    changes: dict[str, object] = {}
    for setting in script.settings:
        _apply(changes, setting.name, setting.value, setting.line, script)
    for override in overrides or []:
        name, _, value = override.partition("=")
        _apply(changes, name.lstrip("-"), value, 0, script)
    return dataclasses.replace(base or Config(), **changes)  # type: ignore[arg-type]  # names and types are _OPTIONS'


def _apply(changes: dict[str, object], name: str, value: str | None, line: int, script: Script) -> None:
    if name in _ACCEPTED:
        return
    source = script.text.split("\n")[line - 1] if line else ""
    if name not in _OPTIONS:
        near = did_you_mean(name, _OPTIONS)
        known = near or f"expected one of: {', '.join(sorted(_OPTIONS))}"
        raise ScriptError(f"no option --{name}; {known}", line, 1, path=script.path, source=source)
    field, read, takes = _OPTIONS[name]
    try:
        changes[field] = read(value or "")
    except (ValueError, KeyError):
        message = f"--{name} takes {takes}, not '{value}'"
        raise ScriptError(message, line, 1, path=script.path, source=source) from None
