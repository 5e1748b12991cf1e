"""Shell lines that the runner understands without a shell, as effects.

Whatever is not in this file is refused by its name: a script must never pass because a command of it was ignored.
"""

from __future__ import annotations

import functools
import math
import os
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ustack.packetdrill.errors import Unsupported
from ustack.packetdrill.shellfiles import FILE_COMMANDS, FileEffect, file_effects

# What the kernel's own suite sets before each of its scripts, under net.ipv4.
SUITE_DEFAULTS: Final[dict[str, str]] = {
    "tcp_rmem": "4096 540000 15728640",
    "tcp_wmem": "4096 262144 4194304",
    "tcp_timestamps": "1",
    "tcp_syn_retries": "5",
    "tcp_synack_retries": "5",
    "tcp_frto": "2",
    "tcp_sack": "1",
    "tcp_dsack": "1",
    "tcp_reordering": "3",
    "tcp_congestion_control": "cubic",
    "tcp_slow_start_after_idle": "0",
    "tcp_early_retrans": "4",
    "tcp_recovery": "1",
    "tcp_tso_win_divisor": "3",
    "tcp_ecn": "0",
    "tcp_pacing_ss_ratio": "200",
    "tcp_pacing_ca_ratio": "120",
    "tcp_notsent_lowat": "4294967295",
    "tcp_fastopen": "3",
    "tcp_fastopen_key": "a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4",
    "tcp_syncookies": "1",
}


@dataclass
class Effects:
    """What one command does to the stack under test."""

    text: str = ""
    sysctls: list[tuple[str, str]] = field(default_factory=list)
    """(name with dots, value with single spaces)."""
    route: dict[str, int] = field(default_factory=dict)
    """mtu, advmss, initcwnd, initrwnd, rto_min (ms), quickack."""
    link_mtu: int = 0
    forgets_metrics: bool = False
    sleep_ns: int = 0
    defaults: bool = False
    scripts: list[str] = field(default_factory=list)
    """Paths of helper scripts that were named (they need not exist)."""
    files: list[FileEffect] = field(default_factory=list)
    status: int = 0
    """What ``exit N`` says; nothing after it is carried out."""
    own_script: str = ""
    """Path of a shell script that is not one of the well-known: it must exist, and every line of it be understood."""


_PRODUCT: Final = re.compile(r"\$\(\(\s*(\d+(?:\s*\*\s*\d+)*)\s*\)\)")
"""``$((15*1024*1024))``."""
_SEPARATOR: Final = re.compile(r"\n|;|&&")
_QUIET: Final = re.compile(r"\s*(?:[12&]?>{1,2}\s*(?:/dev/null|&[12]))+|\s*\|\|\s*true\b")
_DISTURBING: Final = frozenset({"netem", "tbf", "ingress", "clsact", "red", "codel", "fq_codel", "htb"})
"""Queueing disciplines that delay, mark or drop: not to be passed over in silence."""
_ROUTE_NUMBERS: Final = ("mtu", "advmss", "initcwnd", "initrwnd", "quickack", "rto_min", "reordering", "hoplimit")
_ROUTE_WORDS: Final = ("via", "dev", "src", "table", "proto", "scope", "metric", "type", "congctl", "features", "from")


@functools.lru_cache(maxsize=1024)
def understand(text: str) -> list[Effects]:
    """All commands of one backquoted text, in order (shared: not to be changed).

    Raises Unsupported with the first that is not understood."""
    found: list[Effects] = []
    for piece in _split(text.replace("\\\n", " ")):
        words = _words(piece)
        if words:
            effects = Effects(piece.strip())
            _one(words, effects)
            found.append(effects)
            if words[0] == "exit":
                break
    return found


def _split(text: str) -> list[str]:
    lines = [line.split(" #")[0] for line in text.split("\n") if not line.lstrip().startswith("#")]
    return [piece for piece in _SEPARATOR.split("\n".join(lines)) if piece.strip()]


def _words(piece: str) -> list[str]:
    try:
        words = shlex.split(_QUIET.sub("", piece))
    except ValueError:
        raise Unsupported(f"command: {piece.strip()}") from None
    words = [part for word in words for part in ([">", word[1:]] if word[:1] == ">" and word[1:] else [word])]
    while words and (words[0] in ("sudo", ".", "source", "sh", "bash", "python", "python3") and len(words) > 1):
        words = words[1:]
    return words


def _refuse_plumbing(words: list[str]) -> None:
    """Pipes, redirections and the like do more than what the first command of them says."""
    writes = words[0] in ("echo", "head") and words[-2] == ">"
    for word in words[:-2] if writes else words:
        if word[0] in "|<>&" or "`" in word or "$(" in word.replace("$((", ""):
            raise Unsupported(f"command: {' '.join(words)}")


def _one(words: list[str], effects: Effects) -> None:
    name = os.path.basename(words[0])
    _refuse_plumbing(words)
    if name in ("true", ":", "nstat", "set"):
        return
    if name in FILE_COMMANDS:
        effects.files += file_effects(words)
    elif name == "exit":
        _exit(words, effects)
    elif name.endswith(".sh") or name == "set_sysctls.py" or name.startswith("sysctl_restore_"):
        _helper(name, words, effects)
    elif name in _COMMANDS:
        _COMMANDS[name](words, effects)
    else:
        raise Unsupported(f"command: {' '.join(words)}")


def _helper(name: str, words: list[str], effects: Effects) -> None:
    """The scripts that a suite brings along."""
    if name.endswith(".sh") and name != "defaults.sh" and not name.startswith("sysctl_restore_"):
        if len(words) > 1:
            raise Unsupported(f"command: {' '.join(words)}")
        effects.own_script = words[0]
        return
    effects.scripts.append(words[0])
    effects.defaults = effects.defaults or name == "defaults.sh"
    for assignment in words[1:] if name == "set_sysctls.py" else []:
        _assign(assignment, words, effects)


def _tc(words: list[str], effects: Effects) -> None:
    if words[1:2] != ["qdisc"] or _DISTURBING.intersection(words):
        raise Unsupported(f"command: {' '.join(words)}")


def _exit(words: list[str], effects: Effects) -> None:
    if len(words) > 2 or not all(word.isdecimal() for word in words[1:]):
        raise Unsupported(f"command: {' '.join(words)}")
    effects.status = int(words[1]) & 0xFF if len(words) == 2 else 0


def _sleep(words: list[str], effects: Effects) -> None:
    try:
        effects.sleep_ns += int(float(words[1]) * 1_000_000_000)
    except (IndexError, ValueError):
        raise Unsupported(f"command: {' '.join(words)}") from None


def _echo(words: list[str], effects: Effects) -> None:
    if words[2:3] != [">"] or not words[-1].startswith("/proc/sys/"):
        raise Unsupported(f"command: {' '.join(words)}")
    _assign(f"{words[-1]}={words[1]}", words, effects)


def _assign(assignment: str, words: list[str], effects: Effects) -> None:
    name, equals, value = assignment.partition("=")
    value = _PRODUCT.sub(lambda found: str(math.prod(map(int, found[1].split("*")))), value)
    if not equals:
        raise Unsupported(f"command: {' '.join(words)}")
    name = name.removeprefix("/proc/sys/").replace("/", ".").strip()
    effects.sysctls.append((name, " ".join(value.split())))


def _sysctl(words: list[str], effects: Effects) -> None:
    for word in words[1:]:
        if word.startswith("-"):
            if word.strip("-") not in ("q", "w", "e", "qw", "wq", "qe", "eq"):
                raise Unsupported(f"command: {' '.join(words)}")
            continue
        if "=" in word:
            _assign(word, words, effects)


def _ip(words: list[str], effects: Effects) -> None:
    rest = [word for word in words[1:] if word not in ("-4", "-6", "-f", "inet", "inet6")]
    what = rest[0] if rest else ""
    if what in ("tcp_metrics", "tcp_metric", "tcpm", "tcpmetrics"):
        effects.forgets_metrics = True
    elif (
        what in ("route", "r", "ro")
        and rest[1:2]
        and rest[1] in ("add", "replace", "change", "append", "show", "flush")
    ):
        if rest[1] == "flush" and rest[2:3] != ["cache"]:
            raise Unsupported(f"command: {' '.join(words)}")
        _route(rest[2:], words, effects)
    elif what in ("link", "l") and rest[1:2] == ["set"]:
        _link(rest[2:], words, effects)
    else:
        raise Unsupported(f"command: {' '.join(words)}")


def _route(rest: list[str], words: list[str], effects: Effects) -> None:
    at = 0
    while at < len(rest):
        word = rest[at]
        if word in _ROUTE_NUMBERS and at + 1 < len(rest):
            value = rest[at + 1]
            at += 1
            if value == "lock":
                at += 1
                value = rest[at]
                effects.route[f"{word}_lock"] = 1
            found = re.fullmatch(r"(\d+)(ms|s|us)?", value)
            if found is None:
                raise Unsupported(f"command: {' '.join(words)}")
            effects.route[word] = int(found[1]) * (1000 if found[2] == "s" else 1)
        elif word in _ROUTE_WORDS:
            if word in ("congctl", "features"):
                raise Unsupported(f"route {word} {rest[at + 1] if at + 1 < len(rest) else ''}")
            at += 1
        at += 1


def _link(rest: list[str], words: list[str], effects: Effects) -> None:
    for at, word in enumerate(rest):
        if word == "mtu" and at + 1 < len(rest) and rest[at + 1].isdigit():
            effects.link_mtu = int(rest[at + 1])
            return
        if word in ("gso_max_size", "gso_max_segs", "gso_ipv4_max_size", "txqueuelen", "up"):
            return
    raise Unsupported(f"command: {' '.join(words)}")


def _ethtool(words: list[str], effects: Effects) -> None:
    features = words[3:]
    known = {"tso", "gso", "gro", "tx", "rx", "sg", "lro"}
    if words[1:2] != ["-K"] or not features or not set(features[::2]) <= known:
        raise Unsupported(f"command: {' '.join(words)}")


_COMMANDS: Final[dict[str, Callable[[list[str], Effects], None]]] = {
    "sysctl": _sysctl,
    "ip": _ip,
    "tc": _tc,
    "sleep": _sleep,
    "ethtool": _ethtool,
    "echo": _echo,
}
