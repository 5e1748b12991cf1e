"""Who is measured: each subject, the link it stands on, and the words that start it in each of its roles."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tools.bench import build
from tools.bench.netns import REPOSITORY, Link

SUBJECTS = REPOSITORY / "tools" / "bench" / "subjects"


@dataclass(frozen=True)
class Subject:
    """One row of the table. `roles` maps a role (services, many, http, idle) to a command with {places}."""

    name: str
    title: str
    kind: str
    """kernel, ustack, ceiling or peer."""
    link: Link
    roles: dict[str, tuple[str, ...]] = field(default_factory=dict)
    mtu: int = 1500
    needs: tuple[Path, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    form: str = ""
    """What a ustack subject must say of itself: compiled or interpreted."""

    def missing(self, role: str) -> str | None:
        """Why this subject cannot play that role here, or None."""
        if role not in self.roles:
            return f"{self.name} has no program for this case"
        for path in self.needs:
            if not path.exists():
                return "not built here (make bench-peers)" if self.kind == "peer" else f"{path.name} is not there yet"
        if shutil.which(self.roles[role][0]) is None:
            return f"{self.roles[role][0]} is not there"
        return None

    def words(self, role: str, *, address: str, device: str, mtu: int) -> list[str]:
        """The command of a role with the places filled in."""
        return [word.format(address=address, device=device, mtu=mtu) for word in self.roles[role]]


PURE = (("PYTHONPATH", str(build.OUTPUT / "pure")),)
COMPILED = (("PYTHONPATH", str(build.OUTPUT / "compiled")),)
"""Copies of the package: one whose floors are interpreted (the C core stays), one compiled. See `build.forms`."""


def _kernel(name: str, title: str, link: Link) -> Subject:
    serve = (str(build.OUTPUT / "bench-client"), "serve", "{address}")
    return Subject(
        name,
        title,
        "kernel",
        link,
        {"services": serve, "many": (*serve, "--many"), "idle": (*serve, "--many"), "http": (*serve, "--many")},
    )


def _python_words(program: str, stack: str, *more: str) -> tuple[str, ...]:
    return (sys.executable, str(SUBJECTS / program), "--stack", stack, "--address", "{address}", *more)


def _kernel_python(name: str, title: str) -> Subject:
    return Subject(
        name,
        title,
        "kernel",
        Link.VETH,
        {
            "services": _python_words("services.py", "kernel"),
            "many": _python_words("services.py", "kernel"),
            "busy": _python_words("services.py", "kernel", "--busy"),
            "http": _python_words("http_server.py", "kernel"),
            "idle": _python_words("idle.py", "kernel"),
            "crowd": _python_words("idle.py", "kernel", "--echo"),
        },
    )


def _ustack(
    name: str, title: str, link: Link, *more: str, environment: tuple[tuple[str, str], ...] = COMPILED
) -> Subject:
    device = ("--device", "{device}", "--mtu", "{mtu}", *more)
    return Subject(
        name,
        title,
        "ustack",
        link,
        {
            "services": _python_words("services.py", "ustack", *device),
            "many": _python_words("services.py", "ustack", *device),
            "busy": _python_words("services.py", "ustack", "--busy", *device),
            "http": _python_words("http_server.py", "ustack", *device),
            "idle": _python_words("idle.py", "ustack", *device),
            "crowd": _python_words("idle.py", "ustack", "--echo", *device),
        },
        environment=environment,
        form="interpreted" if environment == PURE else "compiled",
    )


def _ceiling(name: str, title: str, link: Link, *more: str) -> Subject:
    words = (str(build.OUTPUT / "bench-ceiling"), "{device}", "7000", *more)
    return Subject(name, title, "ceiling", link, {"services": words})


def _peer(name: str, title: str, program: str, link: Link, *more: str, mtu: int = 1500) -> Subject:
    binary = build.OUTPUT / program
    words = (str(binary), "{device}", "{address}", "7000", "{mtu}", *more)
    return Subject(
        name, title, "peer", link, {role: (*words, role) for role in ("services", "many", "http")}, mtu, needs=(binary,)
    )


def _pytcp() -> Subject:
    python = build.OUTPUT / "pytcp" / "bin" / "python"
    program = REPOSITORY / "tools" / "bench" / "peers" / "pytcp" / "main.py"
    words = (str(python), str(program), "{device}", "{address}", "7000", "{mtu}")
    return Subject(
        "pytcp", "PyTCP's fork pmd-pytcp 0.3.8", "peer", Link.TUN,
        dict.fromkeys(("services", "many", "http"), words), needs=(python, program),
    )  # fmt: skip


ALL = {
    subject.name: subject
    for subject in (
        _kernel("kernel-loopback", "the kernel over loopback", Link.LOOPBACK),
        _kernel("kernel-veth", "the kernel over veth", Link.VETH),
        _kernel("kernel-veth-plain", "the kernel over veth, every offload off", Link.VETH_PLAIN),
        _kernel_python("kernel-python", "the same Python program on kernel sockets, over veth"),
        _ustack("ustack", "ustack, compiled, offload", Link.TUN_OFFLOAD),
        _ustack("ustack-plain", "ustack, compiled, no offload", Link.TUN, "--no-offload"),
        _ustack("ustack-pure", "ustack, interpreted, offload", Link.TUN_OFFLOAD, environment=PURE),
        _ustack("ustack-pure-plain", "ustack, interpreted, no offload", Link.TUN, "--no-offload", environment=PURE),
        _ceiling("ceiling", "do-nothing C behind TUN, offload", Link.TUN_OFFLOAD, "--offload"),
        _ceiling("ceiling-plain", "do-nothing C behind TUN, no offload", Link.TUN),
        _peer("smoltcp", "smoltcp 0.14 (Rust), MTU 1500", "peer-smoltcp", Link.TUN),
        _peer("smoltcp-65535", "smoltcp 0.14, MTU 65535", "peer-smoltcp", Link.TUN, mtu=65535),
        _peer("gvisor", "gVisor netstack (Go), MTU 1500", "peer-gvisor", Link.TUN),
        _peer("gvisor-65535", "gVisor netstack, MTU 65535", "peer-gvisor", Link.TUN, mtu=65535),
        _peer("gvisor-gso", "gVisor netstack, offload (host GSO)", "peer-gvisor", Link.TUN_OFFLOAD, "--offload"),
        _peer("lwip", "lwIP 2.1.3 (C)", "peer-lwip", Link.TUN),
        _pytcp(),
    )
}


def named(names: str) -> list[Subject]:
    """Subjects by comma-separated names or beginnings (`kernel,smoltcp`). Raises ValueError for one nobody has."""
    found: list[Subject] = []
    for name in names.split(","):
        matching = [subject for subject in ALL.values() if subject.name.startswith(name.strip())]
        if not matching:
            raise ValueError(f"no subject begins with {name!r}; there are {', '.join(ALL)}")
        found.extend(subject for subject in matching if subject not in found)
    return found
