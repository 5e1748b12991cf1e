"""Who owns what, as a test: a field is written by its owner's folder only, and no class on a packet's way is large.

A connection is made of parts (``ustack/README.md``, "Where things are"). Anybody may read them; what changes one is a
function or a method of the part's own folder, named for what happens. A write is an assignment to a field, to an item
of it, or a call that changes a container that it holds, through a name such as ``tcb.sender`` or a local name for it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_floors import EACH, FLOORS, MODULES, PACKAGE, ROOT, SANS_IO, Module

OWNERS = {
    "sender": "ustack.tcp.sender",
    "receiver": "ustack.tcp.receiver",
    "agreed": "ustack.tcp.agreed",
    "ecn": "ustack.tcp.ecn",
    "emitter": "ustack.tcp.emit",
    "timers": "ustack.tcp.timers",
    "owed": "ustack.tcp.owed",
    "flow": "ustack.tcp.flow",
    "tcb": "ustack.tcp.connection",
    "connection": "ustack.tcp.connection",
}
"""The name that a part has wherever it is held: the folder or file that may write it. What hangs on a part is its."""

RECORDS = frozenset({"Settings", "SocketOptions", "TcpInfo"})
"""Options and reports: a field for each that Linux has, and there are many."""

MOST_FIELDS = 45
MUTATORS = frozenset({"append", "appendleft", "extend", "insert", "pop", "popleft", "remove", "clear", "update", "add"})
LIST_FIELDS = frozenset({"add"})
"""``add`` is a method of sets and of Owed alike: only the parts' own methods are called so."""

HELD = frozenset({"owner"})
"""Of an endpoint: set by whoever holds it."""


def chain(node: ast.expr, aliases: dict[str, list[str]]) -> list[str]:
    """The names of ``tcb.sender.marks``, outermost first; a local name stands for what it was assigned."""
    names: list[str] = []
    while isinstance(node, ast.Attribute | ast.Subscript):
        if isinstance(node, ast.Attribute):
            names.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        names += reversed(aliases.get(node.id, [node.id]))
    return names[::-1]


def writes(function: ast.AST) -> Iterator[tuple[list[str], str, int]]:
    """What a function writes: the chain of what is written to, the field, the line."""
    aliases: dict[str, list[str]] = {}
    for node in ast.walk(function):  # the names first: they may be given a line below the function's head
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Attribute):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    aliases[target.id] = chain(node.value, {})
    for node in ast.walk(function):
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Delete):
            targets = node.targets if isinstance(node, ast.Assign | ast.Delete) else [node.target]
            for target in targets:
                yield from _targets(target, aliases)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
            held = chain(node.func.value, aliases)
            if node.func.attr not in LIST_FIELDS and len(held) > 1:
                yield held[:-1], held[-1], node.lineno


def _targets(target: ast.expr, aliases: dict[str, list[str]]) -> Iterator[tuple[list[str], str, int]]:
    if isinstance(target, ast.Tuple | ast.List):
        for each in target.elts:
            yield from _targets(each, aliases)
    elif isinstance(target, ast.Attribute | ast.Subscript):
        names = chain(target, aliases)
        if len(names) > 1:
            yield names[:-1], names[-1], target.lineno


def wall_faults(module: Module) -> Iterator[str]:
    if module.place not in FLOORS:
        return
    functions = [node for node in ast.walk(module.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for function in functions:
        for names, field, line in writes(function):
            part = next((name for name in reversed(names) if name in OWNERS), None)
            if part is not None and not module.name.startswith(OWNERS[part]) and field not in HELD:
                yield f"{module.name}:{line}: writes {'.'.join([*names, field])}, which is {OWNERS[part]}'s"


def fields(node: ast.ClassDef) -> set[str]:
    """What an object has: annotations of the class, and what its methods assign to ``self``."""
    annotated = [item.target for item in node.body if isinstance(item, ast.AnnAssign)]
    found = {target.id for target in annotated if isinstance(target, ast.Name)}
    for method in node.body:
        if isinstance(method, ast.FunctionDef):
            found |= {field for names, field, _ in writes(method) if names == ["self"]}
    return found


def size_faults(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef) and node.name not in RECORDS and len(fields(node)) > MOST_FIELDS:
            yield f"{module.name}.{node.name}: {len(fields(node))} fields"


def acquaintances(module: Module) -> Iterator[str]:
    """The sender does not know the receiver, nor the other way round."""
    for here, there in (("sender", "receiver"), ("receiver", "sender")):
        if not module.name.startswith(f"ustack.tcp.{here}"):
            continue
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"ustack.tcp.{there}"):
                yield f"{module.name}:{node.lineno}: imports the {there}"
            if isinstance(node, ast.Attribute) and node.attr == there:
                yield f"{module.name}:{node.lineno}: reaches for the {there}"


@EACH
def test_a_field_is_written_by_its_owner(module: Module) -> None:
    assert list(wall_faults(module)) == []


@EACH
def test_no_class_has_too_many_fields(module: Module) -> None:
    if module.place in FLOORS:
        assert list(size_faults(module)) == []


@EACH
def test_sender_and_receiver_do_not_know_each_other(module: Module) -> None:
    assert list(acquaintances(module)) == []


UNTYPED = {
    "ustack.sockopts: congestion_class": "a class of floor 2 or a user's own; sender/control.py checks what it makes"
}
"""Fields of the sans-IO floors that are typed ``object``, and why."""


def test_no_field_is_typed_object() -> None:
    found = [
        f"{module.name}: {node.target.attr}"
        for module in MODULES
        if FLOORS.get(module.place, 9) <= SANS_IO
        for node in ast.walk(module.tree)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Attribute)
        if re.search(r"\bobject\b", ast.unparse(node.annotation))
    ]
    assert found == list(UNTYPED)


def callers(wanted: str) -> list[str]:
    """Where a class is made: ``module.function``."""
    found = []
    for module in MODULES:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef):
                calls = [call.func for call in ast.walk(node) if isinstance(call, ast.Call)]
                if any(isinstance(call, ast.Name) and call.id == wanted for call in calls):
                    found.append(f"{module.name}.{node.name}")
    return found


def test_one_place_makes_headers() -> None:
    assert callers("Transmit") == ["ustack.tcp.emit.header"]


def test_one_function_settles_the_terms() -> None:
    made = {"ustack.tcp.agreed.our_offer", "ustack.tcp.agreed.agree"}
    held = {"ustack.tcp.common.__init__", "ustack.tcp.connection.tcb.__init__"}  # before anything is agreed upon
    assert set(callers("Agreed")) == made | held


def look_ups(function: ast.FunctionDef) -> int:
    """How often a function asks the table of connections."""
    calls = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
    asked = [call.value for call in calls if isinstance(call, ast.Attribute) and call.attr == "get"]
    return sum(chain(table, {})[-1:] == ["connections"] for table in asked)


def test_one_place_looks_a_segment_up() -> None:
    functions = [
        (module.name, node)
        for module in MODULES
        if FLOORS.get(module.place, 9) <= SANS_IO
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef)
    ]
    asking = [f"{name}.{function.name}" for name, function in functions if look_ups(function)]
    assert asking == ["ustack.stack.tcp_layer.find", "ustack.stack.tcp_layer._drop"]  # the second lets one go


def test_the_recipes_name_files_that_exist() -> None:
    """``Adding things`` of ustack/README.md; a bare file name stands beside the file that was named before it."""
    recipes = (PACKAGE / "README.md").read_text().partition("## Adding things")[2]
    folder = PACKAGE
    named = 0
    for word in re.findall(r"`([\w./]+)`", recipes):
        path = ROOT / word
        if "/" in word:
            assert path.exists(), word
            folder = path if path.is_dir() else path.parent
            named += 1
        elif word.endswith(".py"):
            assert (folder / word).exists(), word
    assert named > 30


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ustack.tcp.listener", "def f(tcb):\n    tcb.sender.snd_una = 1"),
        ("ustack.tcp.listener", "def f(tcb):\n    tcb.sender.marks.more += 1"),
        ("ustack.tcp.listener", "def f(tcb):\n    board = tcb.sender.scoreboard\n    board.mss = 1"),
        ("ustack.tcp.listener", "def f(tcb):\n    tcb.error, tcb.receiver.oob = 1, 2"),
        ("ustack.tcp.sender.acks", "def f(sender):\n    sender.ecn.echo = True"),
        ("ustack.tcp.sender.acks", "def f(sender):\n    sender.timers.at[1] = 5"),
        ("ustack.tcp.sender.acks", "def f(receiver):\n    receiver.recent_blocks.clear()"),
        ("ustack.tcp.connection.closing", "def f(tcb):\n    del tcb.sender.marks.cuts[1:]"),
        ("ustack.socket.stream", "class A:\n  def f(self):\n    self.connection.error = 0"),
        ("ustack.stack.stack", "class A:\n" + "  def f(self):\n" + "".join(f"    self.x{n} = 1\n" for n in range(46))),
        ("ustack.tcp.sender.acks", "from ustack.tcp.receiver import window"),
        ("ustack.tcp.receiver.window", "def f(tcb):\n    return tcb.sender"),
    ],
)
def test_the_test_can_fail(name: str, text: str) -> None:
    module = Module(name, Path(name), ast.parse(text), text.count("\n"))
    assert [*wall_faults(module), *size_faults(module), *acquaintances(module)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ustack.tcp.sender.acks", "def f(sender):\n    sender.marks.more = False"),
        ("ustack.tcp.listener", "def f(tcb):\n    tcb.owed.add(1)\n    x = tcb.sender.snd_una"),
        ("ustack.tcp.listener", "def f(tcb):\n    una = tcb.sender.snd_una\n    una += 1"),
        (
            "ustack.socket.stream",
            "class A:\n  def f(self):\n    self.connection.owner = self\n    self.connection = None",
        ),
        ("ustack.cli.ladder", "def f(sender):\n    sender.snd_una = 1"),
    ],
)
def test_what_is_allowed_passes(name: str, text: str) -> None:
    module = Module(name, Path(name), ast.parse(text), text.count("\n"))
    assert [*wall_faults(module), *size_faults(module), *acquaintances(module)] == []
