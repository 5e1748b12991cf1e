"""Where a sample belongs: which layer of ustack, of the interpreter or of the kernel was at work."""

from __future__ import annotations

import re
from dataclasses import dataclass

COPY = "copies"
WAKE = "wake-ups and locks"
READ = "system calls: reading the device"
WRITE = "system calls: writing the device"
PEER = "the other end's kernel, inside our write"
POLL = "system calls: waiting for readiness"
CALL = "system calls: others"
CORE = "C core"
BINDING = "C core: cffi's crossing"
FLOORS = "Python floors"
INTERPRETER = "interpreter"
OTHER = "others"

COLOURS = {
    COPY: "#f2cc60", WAKE: "#ff7b72", READ: "#79c0ff", WRITE: "#a5d6ff", PEER: "#d0d7de", POLL: "#56d4dd",
    CALL: "#b6e3ff", CORE: "#7ee787", BINDING: "#aff5b4", FLOORS: "#d2a8ff", INTERPRETER: "#ffa657", OTHER: "#e6edf3",
}  # fmt: skip

COPIES = re.compile(
    r"copy_(to|from)_iter|copy_user|rep_movs|memmove|memcpy|skb_copy_bits|clear_page|memset|csum_partial_copy"
)
WAKES = re.compile(
    r"try_to_wake_up|wake_up|futex|schedule$|__schedule|eventfd_|finish_task_switch|take_gil|drop_gil|"
    r"sem_(wait|post)|pthread_cond|PyThread_(acquire|release)|lock_PyThread"
)
PEERS = re.compile(r"netif_receive_skb|__netif_receive|tcp_v[46]_rcv|napi_gro|process_backlog|do_softirq")
FLOOR_NAME = re.compile(r"CPy(?:Def|Py)_(\w+?)___(.*)")


@dataclass(frozen=True)
class Frame:
    """One line of a stack: the function and the file that it is in."""

    name: str
    file: str

    @property
    def in_kernel(self) -> bool:
        return "kernel" in self.file or self.file.endswith(".ko")

    def label(self) -> str:
        """`tcp.connection: Connection.write` for compiled Python, the symbol for the rest."""
        match = FLOOR_NAME.match(self.name)
        if match:
            return f"{match[1].replace('___', '.')}: {match[2].replace('___', '.')}"
        return self.name

    def layer(self) -> str:
        """What this function is by itself, whoever called it."""
        if self.in_kernel:
            return CALL
        if COPIES.search(self.name):
            return COPY
        if WAKES.search(self.name):
            return WAKE
        if "_native" in self.file:
            return BINDING if self.name.startswith("_cffi") else CORE
        if "__mypyc" in self.file or "ustack" in self.file:
            return FLOORS
        if "python" in self.file or self.file.endswith("(inlined)"):
            return INTERPRETER
        return OTHER


def layer(stack: list[Frame]) -> str:
    """The layer of a sample; the innermost frame comes first. Raises IndexError for an empty stack."""
    if not stack[0].in_kernel and stack[0].layer() in (COPY, WAKE):
        return stack[0].layer()
    leaf = next((frame for frame in stack if frame.file != "inlined"), stack[0])
    if not leaf.in_kernel:
        return leaf.layer()
    inside = [frame for frame in stack if frame.in_kernel]
    names = " ".join(frame.name for frame in inside)
    if COPIES.search(leaf.name):
        return COPY
    writes = "tun_chr_write_iter" in names or "tun_get_user" in names
    if writes and PEERS.search(names):
        return PEER
    if WAKES.search(names) and "tun_" not in names and "poll" not in names:
        return WAKE
    if "tun_chr_read_iter" in names or "tun_do_read" in names:
        return READ
    if writes:
        return WRITE
    return POLL if "poll" in names else CALL


def parse(text: str) -> list[list[Frame]]:
    """Stacks out of `perf script -F comm,tid,ip,sym,dso`, innermost frame first."""
    stacks: list[list[Frame]] = []
    stack: list[Frame] = []
    for line in text.splitlines():
        if not line.strip():
            if stack:
                stacks.append(stack)
            stack = []
            continue
        match = re.match(r"\s+[0-9a-f]+ (.*) \(([^()]*)\)$", line) or re.match(r"\s+[0-9a-f]+ (.*) \((\[.*\])\)$", line)
        if match:
            stack.append(Frame(match[1].split("+0x")[0], match[2]))
    if stack:
        stacks.append(stack)
    return stacks
