"""``help()`` says in the compiled build what the source says: every public name has its docstring and its signature."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

from tests.test_floors import FLOORS, MODULES, Module

NATIVE = 5
COMPILED = [
    module for module in MODULES if FLOORS.get(module.place, 9) <= NATIVE and "__init__" not in str(module.path)
]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def documented(module: Module) -> Iterator[tuple[str, Any, Any]]:
    """Public names of a module that have a docstring: the name, what help() is given, the source's node."""
    found = import_module(module.name)
    yield module.name, found, module.tree
    for node in module.tree.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield f"{module.name}.{node.name}", getattr(found, node.name), node
            if isinstance(node, ast.ClassDef):
                for item in node.body:
                    if isinstance(item, Function) and not item.name.startswith("_") and not is_setter(item):
                        name = f"{module.name}.{node.name}.{item.name}"
                        yield name, inspect.getattr_static(getattr(found, node.name), item.name), item


def is_setter(node: Function) -> bool:
    return any(isinstance(word, ast.Attribute) and word.attr == "setter" for word in node.decorator_list)


def arguments(node: ast.arguments) -> list[str]:
    found = [*node.posonlyargs, *node.args, node.vararg, *node.kwonlyargs, node.kwarg]
    return [one.arg for one in found if one is not None]


@pytest.mark.parametrize("module", COMPILED, ids=lambda module: module.name)
def test_every_docstring_is_there(module: Module) -> None:
    bare = []
    for name, thing, node in documented(module):
        wanted = ast.get_docstring(node)
        if wanted is not None and (inspect.cleandoc(thing.__doc__ or "")) != wanted:
            bare.append(name)
    assert bare == []


@pytest.mark.parametrize("module", COMPILED, ids=lambda module: module.name)
def test_every_signature_names_its_arguments(module: Module) -> None:
    for name, thing, node in documented(module):
        function = getattr(thing, "__func__", thing)
        if isinstance(node, Function) and callable(function):
            assert list(inspect.signature(function).parameters) == arguments(node.args), name


def test_an_attribute_has_the_string_below_it() -> None:
    """In the compiled form; in the interpreted one an attribute of an object is nothing of its class."""
    base = import_module("ustack.congestion.base")
    if str(base.__file__).endswith(".py"):
        assert not hasattr(base.AckSample, "acked")
        return
    assert base.AckSample.acked.__doc__ == "Newly acknowledged cumulatively."
