"""Lays out a tree in which the tests see the installed package where the sources are in the repository.

The compiled tree's ``ustack/`` is the installed one, with mypyc's extensions beside their sources. The
pure tree's is the same without those extensions (the C core stays), so every floor is interpreted.

usage: python tools/testtree.py compiled|pure DIRECTORY
"""

import importlib.metadata
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("tests", "tools", "native", ".ci")
FILES = ("pyproject.toml", "README.md", "Makefile", "LICENSE", "CHANGELOG.md", ".gitignore")
JUNK = shutil.ignore_patterns("__pycache__", "*.pyc", ".*_cache", "build")


def installed() -> Path:
    """The folder of the installed package (not of the sources, which a cwd on sys.path would give)."""
    found = importlib.metadata.distribution("ustack").locate_file("ustack")
    folder = Path(str(found))
    if not folder.is_dir():
        raise SystemExit(
            "ustack: the installed package has no files of its own (an editable install?): run 'make install'."
        )
    return folder


def lay_out(form: str, target: Path) -> None:
    """Makes the tree anew."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=JUNK)
    for name in FILES:
        if (ROOT / name).exists():
            shutil.copy2(ROOT / name, target / name)
    package = installed()
    shutil.copytree(package, target / "ustack", ignore=JUNK)
    if form == "compiled":
        for shared in package.parent.glob("ustack__mypyc*.so"):
            shutil.copy2(shared, target / shared.name)
        return
    for extension in (target / "ustack").rglob("*.so"):
        if not extension.name.startswith("_native."):
            extension.unlink()


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("compiled", "pure"):
        raise SystemExit(__doc__)
    lay_out(sys.argv[1], Path(sys.argv[2]))
