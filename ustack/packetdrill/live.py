"""The world of ``--live``: the machine's own kernel, behind a TUN device in a network namespace of its own."""

from __future__ import annotations

import collections
import contextlib
import ctypes
import fcntl
import os
import queue
import select
import struct
import subprocess
import threading
import time
from pathlib import Path
from typing import Final

from ustack.packetdrill.calls import Outcome, Prepared
from ustack.packetdrill.codec import ICMP6, TCP, Seen, pseudo_sum
from ustack.packetdrill.config import Config
from ustack.packetdrill.errors import Mismatch, Unsupported
from ustack.packetdrill.host import BLOCKING, Host, Pending
from ustack.packetdrill.kernelsystem import KernelSystem
from ustack.packetdrill.shell import SUITE_DEFAULTS, Effects, understand
from ustack.packetdrill.symbols import SYMBOLS
from ustack.packetdrill.tcpinfo import TCP_INFO_SIZE, read_tcp_info

CLONE_NEWNET: Final = 0x40000000
TUNSETIFF: Final = 0x400454CA
IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
VNET: Final = struct.Struct("=BBHHHH")
"""struct virtio_net_hdr: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset."""
_NO_VNET: Final = bytes(VNET.size)
_MCL_ALL: Final = 3


def enter_namespace() -> None:
    """A network namespace for this process alone. Raises OSError (it takes root)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"no network namespace of its own: {os.strerror(code)} (--live needs root)")


def be_punctual() -> None:
    """Real-time priority and locked memory, if they are to be had: 4 ms of tolerance is not much."""
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(20))
    ctypes.CDLL(None).mlockall(_MCL_ALL)


class LiveHost(Host):
    """The kernel's TCP. Made inside the namespace, by the process that will run the script."""

    is_live = True

    def __init__(self, config: Config, tun_name: str = "tun0") -> None:
        self.config = config
        self.tun_name = tun_name
        self.kernel = KernelSystem()
        self.system = self.kernel
        self._t0 = time.monotonic_ns()
        self._wall0 = time.time_ns()
        self._emitted: collections.deque[tuple[int, bytes]] = collections.deque()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK)
        self._jobs: queue.SimpleQueue[Pending | None] = queue.SimpleQueue()
        self._tun = self._open_tun()
        self._configure()
        self._start_worker()

    # Setting up

    def _open_tun(self) -> int:
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        request = struct.pack("=16sH22x", self.tun_name.encode(), IFF_TUN | IFF_NO_PI | IFF_VNET_HDR)
        fcntl.ioctl(fd, TUNSETIFF, request)
        return fd

    def _configure(self) -> None:
        config, tun = self.config, self.tun_name
        lines = ["link set lo up", f"link set {tun} mtu {config.mtu} up"]
        if config.is_v6:
            _write_sysctl("net.ipv6.conf.all.accept_ra", "0")
            lines += [f"addr add {config.local}/{config.prefix} dev {tun} nodad"]
            lines += [f"route add {config.gateway}/128 dev {tun}", f"route add default via {config.gateway} dev {tun}"]
        else:
            via = "" if config.gateway == config.local else f"via {config.gateway} onlink"
            lines += [f"addr add {config.local}/{config.prefix} dev {tun}", f"route add default dev {tun} {via}"]
        made = subprocess.run(
            ["ip", "-batch", "-"], input="\n".join(lines), text=True, capture_output=True, check=False
        )
        if made.returncode:
            raise OSError(f"cannot set up {tun}: {made.stderr.strip()}")

    def _start_worker(self) -> None:
        threading.Thread(target=self._work, daemon=True, name="packetdrill-calls").start()

    def start(self) -> None:
        self._read_device()
        self._emitted.clear()
        self._t0 = time.monotonic_ns()
        self._wall0 = time.time_ns()

    def wall_clock(self) -> int:
        return self._wall0

    # Time and packets

    def now(self) -> int:
        return time.monotonic_ns() - self._t0

    def _watch(self, until: int) -> None:
        """Sleep until the device, a finished call or the clock says something; keep what was sent."""
        left = max(until - self.now(), 0) / 1e9
        readable, _, _ = select.select([self._tun, self._wake_read], [], [], left)
        if self._tun in readable:
            self._read_device()
        if self._wake_read in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_read, 64)

    def _read_device(self) -> None:
        at = self.now()
        while True:
            try:
                data = os.read(self._tun, 65600)
            except BlockingIOError:
                return
            self._emitted.append((at, data[VNET.size :]))
            at = self.now()

    def wait_until(self, at: int) -> None:
        while self.now() < at:
            self._watch(at)
        self._read_device()

    def take(self, limit: int) -> tuple[int, bytes] | None:
        while True:
            while self._emitted:
                at, packet = self._emitted.popleft()
                if not _is_noise(packet):
                    return at, packet
            if self.now() >= limit:
                return None
            self._watch(limit)

    def waiting(self) -> list[tuple[int, bytes]]:
        self._read_device()
        return [kept for kept in self._emitted if not _is_noise(kept[1])]

    def inject(self, packet: bytes, segment_size: int) -> None:
        os.write(self._tun, (_super_segment(packet, segment_size) if segment_size else _NO_VNET + packet))
        self._read_device()

    # Calls

    def _work(self) -> None:
        """The thread in which calls are made, so that one that blocks does not stop the clock's reader."""
        while (pending := self._jobs.get()) is not None:
            try:
                outcome = pending.prepared.attempt()
                pending.finished_at = self.now()
                pending.outcome = outcome
            except BaseException as failure:  # handed to the thread that asked
                pending.finished_at = self.now()
                pending.failure = failure
                pending.outcome = Outcome(-1)
            os.write(self._wake_write, b"x")

    def begin(self, prepared: Prepared) -> Pending:
        pending = Pending(prepared, self.now())
        self._jobs.put(pending)
        # The call must have begun before the next event: a moment for the other thread.
        self._watch(self.now() + 300_000)
        return pending

    def settle(self, pending: Pending, limit: int) -> bool:
        while pending.outcome is None:
            if self.now() >= limit:
                return False
            self._watch(limit)
        return True

    def call(self, prepared: Prepared, limit: int) -> Outcome:
        pending = Pending(prepared, self.now())
        self._jobs.put(pending)
        if not self.settle(pending, limit):
            raise Mismatch(
                f"{prepared.call.name}() blocks: write 'TIME...END' before a call that does", hints=[BLOCKING]
            )
        self._read_device()
        if pending.failure is not None:
            raise pending.failure
        assert pending.outcome is not None
        return pending.outcome

    # Commands

    def command(self, text: str, path: str) -> None:
        """A real shell, in the script's folder. Helper scripts that are not there are done by ourselves."""
        folder = Path(path).resolve().parent if path else Path.cwd()
        try:
            pieces = understand(text)
        except Unsupported:
            pieces = []
        if all((folder / script).exists() for piece in pieces for script in piece.scripts):
            self._shell(text, folder)
            return
        for piece in pieces:
            self._emulate(piece, folder)

    def _emulate(self, piece: Effects, folder: Path) -> None:
        if not piece.scripts:
            self._shell(piece.text, folder)
        if piece.defaults:
            apply_defaults()
        for name, value in piece.sysctls if piece.scripts else []:
            _write_sysctl(name if "." in name else f"net.ipv4.{name}", value)

    def _shell(self, text: str, folder: Path) -> None:
        running = subprocess.Popen(
            text,
            shell=True,
            cwd=folder,
            env={**os.environ, "PACKETDRILL_PID": str(os.getpid())},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )  # what --live is for: the script's own commands, in a namespace of their own
        while running.poll() is None:
            self._watch(self.now() + 1_000_000)
        output = running.stdout.read().decode(errors="replace").strip() if running.stdout else ""
        if running.stdout:
            running.stdout.close()
        if running.returncode:
            summary = f"the command failed with status {running.returncode}: {text.strip()}"
            raise Mismatch(summary + (f"\n{output}" if output else ""))

    # What assertions and reports see

    def info(self, fd: int) -> dict[str, object]:
        tcp, sol = SYMBOLS["SOL_TCP"], SYMBOLS["SOL_SOCKET"]
        data = self.system.get_option(fd, tcp, SYMBOLS["TCP_INFO"], TCP_INFO_SIZE)
        values: dict[str, object] = dict(read_tcp_info(data))
        with contextlib.suppress(OSError):
            name = self.system.get_option(fd, tcp, SYMBOLS["TCP_CONGESTION"], 16).split(b"\0")[0].decode()
            values["tcpi_congestion"] = name
            values.update(_congestion(name, self.system.get_option(fd, tcp, SYMBOLS["TCP_CC_INFO"], 64)))
        with contextlib.suppress(OSError):
            memory = self.system.get_option(fd, sol, SYMBOLS["SO_MEMINFO"], 64)
            values["sk_meminfo"] = values["SK_MEMINFO"] = values["skmeminfo"] = [
                number for (number,) in struct.iter_unpack("=I", memory)
            ]
        return values

    def describe(self, fd: int | None) -> list[str]:
        if fd is None:
            return []
        try:
            values = self.info(fd)
        except OSError as error:
            return [f"TCP_INFO: {error}"]
        names = (
            "state",
            "ca_state",
            "snd_cwnd",
            "snd_ssthresh",
            "unacked",
            "sacked",
            "lost",
            "retrans",
            "backoff",
            "rto",
            "rtt",
        )
        return ["  ".join(f"{name} {values[f'tcpi_{name}']}" for name in names if f"tcpi_{name}" in values)]

    def close(self) -> None:
        self._jobs.put(None)
        self.kernel.release()
        for fd in (self._tun, self._wake_read, self._wake_write):
            os.close(fd)


def _is_noise(packet: bytes) -> bool:
    """What an IPv6 interface says by itself: neighbour and router discovery, multicast listeners."""
    if packet[0] >> 4 != 6:
        return False
    seen = Seen(packet)
    return (seen.protocol == ICMP6 and seen.icmp_type in (130, 131, 132, 133, 134, 135, 136, 143)) or seen.destination[
        0
    ] == 0xFF


def _super_segment(packet: bytes, segment_size: int) -> bytes:
    """A TCP packet as one GSO frame: the kernel may sum and cut it."""
    seen = Seen(packet)
    v6 = seen.version == 6
    start = 40 if v6 else (packet[0] & 15) * 4
    header = start + (packet[start + 12] >> 4) * 4
    total = pseudo_sum(seen.source, seen.destination, TCP, len(packet) - start)
    partial = packet[: start + 16] + total.to_bytes(2, "big") + packet[start + 18 :]
    return VNET.pack(1, 4 if v6 else 1, header, segment_size, start, 16) + partial


def _write_sysctl(name: str, value: str) -> None:
    path = Path("/proc/sys") / name.replace(".", "/")
    try:
        path.write_text(value)
    except OSError as error:
        raise Mismatch(f"the sysctl {name} cannot be set to '{value}': {error.strerror}") from None


def apply_defaults() -> None:
    """The kernel suite's own settings, as far as this kernel has them."""
    for name, value in SUITE_DEFAULTS.items():
        with contextlib.suppress(Mismatch):
            _write_sysctl(f"net.ipv4.{name}", value)


def _congestion(name: str, data: bytes) -> dict[str, object]:
    """TCP_CC_INFO: the congestion control's own figures."""
    forms: dict[str, tuple[str, tuple[str, ...]]] = {
        "bbr": ("=5I", ("bbr_bw_lo", "bbr_bw_hi", "bbr_min_rtt", "bbr_pacing_gain", "bbr_cwnd_gain")),
        "dctcp": ("=2H3I", ("dctcp_enabled", "dctcp_ce_state", "dctcp_alpha", "dctcp_ab_ecn", "dctcp_ab_tot")),
        "vegas": ("=4I", ("tcpv_enabled", "tcpv_rttcnt", "tcpv_rtt", "tcpv_minrtt")),
    }
    if name not in forms:
        return {}
    form, names = forms[name]
    if len(data) < struct.calcsize(form):
        return {}
    return {f"tcpi_{key}": value for key, value in zip(names, struct.unpack_from(form, data), strict=True)} | dict(
        zip(names, struct.unpack_from(form, data), strict=True)
    )
