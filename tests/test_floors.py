"""The house as a test: who may import whom, what the sans-IO floors may not touch, and how large a thing may grow.

The page is house.md: "A module imports lower floors and its own package only: never up, never sideways, never inside
a function, always absolute." An exception stands in a table below with its reason; one that nobody needs any
longer fails too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "ustack"

FLOOR_0 = (
    "units",
    "entropy",
    "seqnum",
    "ranges",
    "windowed",
    "memory",
    "ring",
    "errors",
    "drops",
    "settings",
    "counters",
    "sockopts",
    "network",
    "events",
    "hoststate",
)
"""Floor 0 has no packages: a module there may import those that stand before it."""

FLOORS: dict[str, int] = {
    **dict.fromkeys(FLOOR_0, 0),
    "wire": 1,
    "congestion": 2,
    "recovery": 2,
    "tcp": 3,
    "udp": 3,
    "icmp": 3,
    "stack": 4,
    "native": 5,
    "trace": 5,
    "device": 6,
    "driver": 7,
    "socket": 8,
    "aio": 9,
    "patch": 9,
}
BESIDE = frozenset({"sim", "packetdrill", "lab", "cli", "iperf3", "explain", "plot", "sweep", "__main__"})
"""Tools beside the tower: they may use all of it, and each other; nothing in the tower knows them."""
DOOR = ""
"""``ustack/__init__.py``: opens onto floor 8 and below."""

SANS_IO = 4
IO_MODULES = frozenset({"time", "threading", "asyncio", "socket", "select", "selectors", "os", "random", "cffi"})

MAX_FILE, MAX_CLASS, MAX_FUNCTION, MAX_ARGUMENTS = 450, 400, 60, 6

_RECORD = "a record: its constructor is where many arguments become one"
_HEADER = "the fields of a header, each once, with the usual values at the tail"

EXCEPTIONS: dict[str, str] = {
    "ustack.network.Outgoing.__init__: arguments": _RECORD,
    "ustack.wire.records.Segment.__init__: arguments": _RECORD,
    "ustack.wire.records.IcmpMessage.__init__: arguments": _RECORD,
    "ustack.wire.records.Fragment.__init__: arguments": _RECORD,
    "ustack.wire.records.Refused.__init__: arguments": _RECORD,
    "ustack.wire.records.OtherPacket.__init__: arguments": _RECORD,
    "ustack.wire.records.Transmit.__init__: arguments": _RECORD,
    "ustack.wire.tcp.TcpHeader.__init__: arguments": _RECORD,
    "ustack.wire.ipv4.build: arguments": _HEADER,
    "ustack.wire.ipv4.build_header: arguments": _HEADER,
    "ustack.wire.ipv6.build: arguments": _HEADER,
    "ustack.wire.ipv6.build_header: arguments": _HEADER,
    **dict.fromkeys(
        (
            f"ustack.aio.host.AsyncHost.{name}: arguments"
            for name in ("create_connection", "create_server", "create_datagram_endpoint")
        ),
        "the arguments of asyncio's own function",
    ),
    "ustack.socket.tls.TLSSocket._create: arguments": "the arguments of the standard library's own function",
    "ustack.lab.question.question: arguments": "the heading of a question, each field by its name",
    "ustack.sockopts.SocketOptions.__init__: function": "one line for each option that Linux has, and there are many",
    "ustack.stack.stack.Stack.connect: arguments": "connect(2) between two ends, with options and a bind() before it",
}
"""Fault, as the tests report it: why it may stay."""


@dataclass(frozen=True)
class Module:
    name: str  # ustack.wire.tcp
    path: Path
    tree: ast.Module
    lines: int

    @property
    def place(self) -> str:
        """wire, of ustack.wire.tcp."""
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 else DOOR


def load() -> list[Module]:
    modules = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text()
        modules.append(Module(name, path, ast.parse(text), text.count("\n")))
    return modules


MODULES = load()
NAMES = {module.name for module in MODULES} | {"ustack._native"}
EACH = pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)


def is_type_checking(node: ast.stmt) -> bool:
    if not isinstance(node, ast.If):
        return False
    test = node.test
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def imports(node: ast.AST, depth: int = 0) -> Iterator[tuple[ast.Import | ast.ImportFrom, int]]:
    """Every import statement, with the number of functions around it; without what only a type checker sees."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, depth
        elif isinstance(child, ast.If) and is_type_checking(child):
            for other in child.orelse:
                yield from imports(ast.Module([other], []), depth)
        else:
            is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from imports(child, depth + is_function)


def imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    """Modules that the statement loads: of ``from ustack.wire import tcp`` the submodule."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    base = node.module or ""
    names = []
    for alias in node.names:
        whole = f"{base}.{alias.name}"
        names.append(whole if whole in NAMES else base)
    return names


def may_import(importer: Module, target: str) -> bool:
    """Whether ``importer`` may know ``target``, a place such as ``wire``."""
    place = importer.place
    if target == "_native":
        return place == "native"
    if place == target or place in BESIDE:
        return True
    if target == DOOR or target in BESIDE:
        return False
    if place == DOOR:
        return True
    here, there = FLOORS[place], FLOORS[target]
    if here == there == 0:
        return FLOOR_0.index(target) < FLOOR_0.index(place)
    return there < here


def import_faults(module: Module) -> Iterator[str]:
    for node, depth in imports(module.tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield f"{module.name}: relative import in line {node.lineno}"
        if depth:
            yield f"{module.name}: import inside a function: {', '.join(imported(node))}"
        for name in imported(node):
            head, _, rest = name.partition(".")
            if head == "ustack":
                target = rest.partition(".")[0]
                if not may_import(module, target):
                    yield f"{module.name}: imports {name}"
            elif FLOORS.get(module.place, 9) <= SANS_IO and head in IO_MODULES:
                yield f"{module.name}: imports {name}, which is not sans-IO"


def hidden_import_faults(module: Module) -> Iterator[str]:
    """An import that no import statement shows; the door may, since its names load at their first use."""
    for node in ast.walk(module.tree):
        name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
        if name in ("import_module", "__import__") and module.place in FLOORS:
            yield f"{module.name}: {name}"


def size_faults(module: Module) -> Iterator[str]:
    if module.lines > MAX_FILE:
        yield f"{module.name}: file"
    yield from sizes_within(module.tree, module.name)


def sizes_within(node: ast.AST, name: str) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            inner = f"{name}.{child.name}"
            if length(child) > MAX_CLASS:
                yield f"{inner}: class"
            yield from sizes_within(child, inner)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = f"{name}.{child.name}"
            if length(child) > MAX_FUNCTION:
                yield f"{inner}: function"
            if arguments(child) > MAX_ARGUMENTS:
                yield f"{inner}: arguments"
            yield from sizes_within(child, inner)
        elif isinstance(child, ast.stmt):
            yield from sizes_within(child, name)


ALL_FAULTS = (import_faults, hidden_import_faults, size_faults)


def length(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Without ``self`` and ``cls``, and without ``*`` and ``**``."""
    named = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return sum(1 for argument in named if argument.arg not in ("self", "cls"))


@EACH
def test_every_module_has_its_floor(module: Module) -> None:
    assert module.place in FLOORS or module.place in BESIDE or module.place == DOOR, f"where does {module.name} stand?"


@EACH
def test_nobody_looks_up_or_sideways(module: Module) -> None:
    faults = [*import_faults(module), *hidden_import_faults(module)]
    assert [fault for fault in faults if fault not in EXCEPTIONS] == []


@EACH
def test_nothing_is_too_large(module: Module) -> None:
    assert [fault for fault in size_faults(module) if fault not in EXCEPTIONS] == []


def test_no_exception_is_left_over() -> None:
    found = {fault for module in MODULES for faults in ALL_FAULTS for fault in faults(module)}
    assert sorted(set(EXCEPTIONS) - found) == []
    assert all(reason.strip() for reason in EXCEPTIONS.values())


@pytest.mark.parametrize(
    ("place", "text", "fault"),
    [
        ("wire", "from ustack.tcp import state", "imports ustack.tcp.state"),
        ("udp", "import ustack.icmp", "imports ustack.icmp"),
        ("ranges", "from ustack.ring import SendRing", "imports ustack.ring"),
        ("stack", "import os.path", "imports os.path, which is not sans-IO"),
        ("device", "from ustack.cli import main", "imports ustack.cli"),
        ("device", "import ustack", "imports ustack"),
        ("sim", "from ustack._native import lib", "imports ustack._native"),
        ("tcp", "importlib.import_module('time')", "import_module"),
        ("tcp", "__import__('time')", "__import__"),
        ("tcp", "from . import state", "relative import in line 1"),
        ("tcp", "def f():\n    import struct", "import inside a function: struct"),
        ("tcp", "class A:\n  def f(self):\n    if self:\n      import struct", "import inside a function: struct"),
        ("tcp", "if x:\n    import random", "imports random, which is not sans-IO"),
        ("tcp", "if TYPE_CHECKING:\n    pass\nelse:\n    import time", "imports time, which is not sans-IO"),
        ("tcp", "def f(a, b, c, d, e, f, *, g): pass", "arguments"),
        ("tcp", "def f():\n" + "    pass\n" * 60, "function"),
        ("tcp", "class F:\n" + "    x = 1\n" * 400, "class"),
        ("tcp", "x = 1\n" * 451, "file"),
    ],
)
def test_the_test_can_fail(place: str, text: str, fault: str) -> None:
    module = Module(f"ustack.{place}", Path(place), ast.parse(text), text.count("\n"))
    faults = [found for each in ALL_FAULTS for found in each(module)]
    assert any(found.endswith(fault) for found in faults), faults


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("tcp", "from ustack.wire.tcp import ACK\nfrom ustack.tcp import state\nimport struct"),
        ("ring", "from ustack.ranges import RangeSet"),
        ("wire", "if TYPE_CHECKING:\n    from ustack.tcp import state"),
        ("sim", "import ustack\nimport time\nfrom ustack.cli import main"),
        ("driver", "import time"),
        ("tcp", "def f(self, a, b, c, d, e, f): pass"),
    ],
)
def test_what_is_allowed_passes(place: str, text: str) -> None:
    module = Module(f"ustack.{place}", Path(place), ast.parse(text), text.count("\n"))
    assert [found for each in ALL_FAULTS for found in each(module)] == []
