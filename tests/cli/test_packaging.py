"""What a stranger gets: the package's metadata, the targets of make, what a source distribution holds."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def backend(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs ``code`` with the build backend imported, as pip does in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, 'native'); import backend\n{code}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", **environment},
        check=False,
    )


def test_the_metadata_says_what_an_index_shows() -> None:
    assert PROJECT["license"] == "MIT"
    assert (ROOT / PROJECT["license-files"][0]).read_text().startswith("MIT License")
    assert {"tcp", "simulation"} <= set(PROJECT["keywords"])
    classifiers = PROJECT["classifiers"]
    assert [one for one in classifiers if one.startswith("Development Status")]
    assert not [one for one in classifiers if one.startswith("License")], "the expression says it (PEP 639)"


def test_no_link_of_the_long_description_leads_nowhere() -> None:
    done = backend("print(backend.long_description())")
    text = done.stdout
    assert text.startswith("# ustack"), done.stderr
    assert [link for link in re.findall(r"\]\(([^)]*)\)", text) if "://" not in link] == []
    assert "MIT licence: LICENSE." in text
    assert max(len(line) for line in text.splitlines() if not line.startswith("|")) < 200


@pytest.mark.parametrize("hook", ["get_requires_for_build_wheel", "get_requires_for_build_editable"])
def test_without_a_compiler_a_build_ends_with_one_sentence(hook: str) -> None:
    done = backend(f"backend.{hook}()", CC="nosuchcc -pthread")
    assert done.returncode == 1
    assert done.stderr == (
        "ustack: there is no C compiler (nosuchcc), which building ustack needs: install one "
        "(Debian: apt-get install gcc libc6-dev), or install a wheel.\n"
    )


def test_a_source_distribution_holds_what_building_testing_and_reading_need() -> None:
    done = backend("print(*backend.source_files(), sep='\\n')")
    files = set(done.stdout.splitlines())
    for wanted in ("README.md", "LICENSE", "Makefile", "native/docstrings.py", "native/core.h", "ustack/README.md",
                   "tests/test_floors.py", "tools/preflight.sh", "ustack/py.typed"):  # fmt: skip
        assert wanted in files, done.stderr
    assert not [name for name in files if name.endswith((".so", ".pyc", ".o"))]


def test_make_help_lists_every_target() -> None:
    makefiles = [ROOT / "Makefile", ROOT / "tools/bench/bench.mk"]
    targets = {
        target
        for path in makefiles
        for line in path.read_text().splitlines()
        if line.startswith(".PHONY:")
        for target in line.split()[1:]
    }
    said = subprocess.run(["make", "-s", "help"], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert len(targets) > 15
    assert targets == set(re.findall(r"make ([\w-]+)", said))
