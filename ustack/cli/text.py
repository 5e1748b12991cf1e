"""Figures as people read them: sizes, rates, durations."""

from __future__ import annotations

_BINARY = ("bytes", "KiB", "MiB", "GiB", "TiB")
_BITS = ("bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s")
_TIMES = ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"))


def size_text(count: int) -> str:
    """1536 bytes are '1.5 KiB'."""
    value = float(count)
    step = 0
    while value >= 1024 and step < len(_BINARY) - 1:
        value /= 1024
        step += 1
    if step == 0:
        return f"{count} byte{'' if count == 1 else 's'}"
    return f"{value:.1f} {_BINARY[step]}"


def rate_text(count: int, elapsed: int) -> str:
    """``count`` bytes in ``elapsed`` ns, as bits per second."""
    value = count * 8e9 / max(elapsed, 1)
    step = 0
    while value >= 1000 and step < len(_BITS) - 1:
        value /= 1000
        step += 1
    return f"{value:.0f} {_BITS[step]}" if value >= 100 else f"{value:.1f} {_BITS[step]}"


def time_text(elapsed: int) -> str:
    """``elapsed`` in ns, with three figures."""
    for size, unit in _TIMES:
        if elapsed >= size:
            return f"{elapsed / size:.3g} {unit}" if elapsed < 100 * size else f"{elapsed / size:.0f} {unit}"
    return f"{elapsed} ns"


def host_text(host: str, port: int) -> str:
    """An endpoint as in a URL: 198.18.0.2:80, [fd00::2]:80. A v4-mapped address is shown as IPv4."""
    host = host.removeprefix("::ffff:") if "." in host else host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
