"""pytest plugin: a ``.pkt`` file is a test, and a fixture runs scripts given as text.

Loaded by every pytest run where ustack is installed, so it imports the rest only when there is a script.

A script may say of itself, in comments of its head:

    // expected failure: REASON      a strict xfail in virtual time
    // kernel: slow                  not run live by default;  kernel: differs, REASON   an xfail live

Options: ``--packetdrill-live`` runs the collected scripts against the kernel (root).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ustack.packetdrill.runner import Result


def pytest_addoption(parser: pytest.Parser) -> None:
    """The plugin's options."""
    group = parser.getgroup("packetdrill")
    group.addoption(
        "--packetdrill-live", action="store_true", help="run .pkt files against this machine's kernel (root)"
    )
    parser.addini("packetdrill_options", "options for all scripts, name=value", type="args", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """The mark that names requirements."""
    config.addinivalue_line("markers", "rfc9293(*ids): the test shows these requirements of RFC 9293 (MUST-8, SHLD-1)")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A ``.pkt`` file is a test."""
    if file_path.suffix == ".pkt":
        return ScriptFile.from_parent(parent, path=file_path)
    return None


class ScriptFile(pytest.File):
    """One ``.pkt`` file."""

    def collect(self) -> Iterator[pytest.Item]:
        yield ScriptItem.from_parent(self, name=self.path.name)


class ScriptItem(pytest.Item):
    """The test that a script is."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.live = bool(self.config.getoption("--packetdrill-live"))
        directives = _directives(self.path)
        expected = directives.get("expected failure")
        kernel = directives.get("kernel", "")
        if self.live:
            if kernel.startswith("differs"):
                self.add_marker(pytest.mark.xfail(reason=kernel, strict=False))
            elif kernel.startswith("slow"):
                self.add_marker(pytest.mark.skip(reason="slow in real time"))
        elif expected:
            self.add_marker(pytest.mark.xfail(reason=expected, strict=True))

    def runtest(self) -> None:
        overrides = [str(option) for option in self.config.getini("packetdrill_options")]
        _checking(self.config).check_file(self.path, overrides, self.live)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, _checking(self.config).ScriptFailed):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, self.name


def _directives(path: Path) -> dict[str, str]:
    """The ``// name: text`` lines before the first event, read without the parser: a wrong script collects too."""
    found: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("//") and ": " in line:
            name, _, text = line[2:].strip().partition(": ")
            found.setdefault(name, text)
    return found


def _checking(config: pytest.Config) -> Any:
    """The module that runs scripts, loaded when the first one is there."""
    config.pluginmanager.import_plugin("ustack.packetdrill.checking")
    return config.pluginmanager.get_plugin("ustack.packetdrill.checking")


@pytest.fixture
def packetdrill(request: pytest.FixtureRequest) -> Callable[..., Result]:
    """``packetdrill(text, *options)`` runs a script in virtual time and fails the test when the script fails."""
    run: Callable[..., Result] = _checking(request.config).check_text
    return run
