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
    group = parser.getgroup("packetdrill")
    group.addoption("--packetdrill-live", action="store_true", help="run .pkt files against this machine's kernel (root)")
    parser.addini("packetdrill_options", "options for all scripts, name=value", type="args", default=[])


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "rfc9293(*ids): the test shows these requirements of RFC 9293 (MUST-8, SHLD-1)")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path.suffix == ".pkt":
        return ScriptFile.from_parent(parent, path=file_path)
    return None


class ScriptFailed(Exception):
    """A script did not pass; the text is the whole report."""


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
        from ustack.packetdrill.command import run_path  # noqa: PLC0415 - see the module's docstring

        overrides = [str(option) for option in self.config.getini("packetdrill_options")]
        check(run_path(str(self.path), overrides, live=self.live))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, ScriptFailed):
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


def check(result: Result) -> Result:
    """Raises ScriptFailed with the report, or skips for what is unsupported."""
    from ustack.packetdrill.report import explain  # noqa: PLC0415
    from ustack.packetdrill.runner import Verdict  # noqa: PLC0415

    if result.verdict is Verdict.UNSUPPORTED:
        pytest.skip(f"unsupported: {result.summary}")
    if result.verdict is Verdict.FAIL:
        raise ScriptFailed(explain(result))
    return result


@pytest.fixture
def packetdrill() -> Callable[..., Result]:
    """``packetdrill(text, *options)`` runs a script in virtual time and fails the test when the script fails."""
    from ustack.packetdrill.runner import run_text  # noqa: PLC0415
    from ustack.packetdrill.virtual import VirtualHost  # noqa: PLC0415

    def run(text: str, *options: str, exact: bool = False) -> Result:
        overrides = [option.lstrip("-") for option in options] + (["exact=1"] if exact else [])
        return check(run_text(text, VirtualHost, path="script", overrides=overrides))

    return run
