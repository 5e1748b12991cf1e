"""The build backend: setuptools' own, with the C core and the compiled Python added.

``USTACK_PURE=1`` and editable installs build the C core alone. Everything is built in a fresh temporary
directory: a ``build/`` folder of an earlier build cannot put its files into this wheel.
"""

import os
import re
import shlex
import shutil
import sys
import sysconfig
import tempfile
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import setuptools
from setuptools import Extension, build_meta
from setuptools.command.build_ext import build_ext
from setuptools.command.sdist import sdist

ROOT = Path(__file__).resolve().parent.parent
COMPILED_FILES = (
    "units.py",
    "seqnum.py",
    "ranges.py",
    "windowed.py",
    "memory.py",
    "ring.py",
    "drops.py",
    "settings.py",
    "sockopts.py",
    "counters.py",
    "network.py",
    "events.py",
    "hoststate.py",
    "entropy.py",
    "udp.py",
    "icmp.py",
    "driver/loop.py",
    "socket/core.py",
    "socket/text.py",
    "socket/stream.py",
    "socket/datagram.py",
    "aio/driver.py",
    "aio/ear.py",
    "aio/channel.py",
)  # not errors.py: builtin exceptions twice over
SOURCE_FOLDERS = ("ustack", "native", "tests", "tools", ".ci")
SOURCE_FILES = ("pyproject.toml", "Makefile", "README.md", "CHANGELOG.md", "LICENSE", ".gitignore")
"""What building, testing and reading need: a source distribution holds all of it."""
PRODUCTS = ("*.so", "*.o", "*.py[co]", "*.pcap", "__pycache__", ".*_cache", "node_modules", "target")
COMPILED_PACKAGES = ("wire", "congestion", "recovery", "tcp", "stack", "native")


class BuildExt(build_ext):
    """Strict warnings for our own C files only, and new modules put in place in one step."""

    def build_extensions(self) -> None:
        self.compiler.compile = self.compile_all
        for extension in self.extensions:  # CPython's own flags say -g; names stay, for profilers
            extension.extra_compile_args.append("-g0")
            extension.extra_link_args.append("-Wl,--strip-debug")
        super().build_extensions()

    def compile_all(
        self,
        sources: list[str],
        output_dir: str | None = None,
        macros: Any = None,
        include_dirs: list[str] | None = None,
        debug: bool = False,
        extra_preargs: list[str] | None = None,
        extra_postargs: list[str] | None = None,
        depends: list[str] | None = None,
    ) -> list[str]:
        """What the compiler's own ``compile`` does, on every core."""
        from build import SOURCES, STRICT_FLAGS

        compiler: Any = self.compiler
        macros, objects, flags, pp_opts, build = compiler._setup_compile(
            output_dir, macros, include_dirs, sources, depends, extra_postargs
        )
        cc_args = compiler._get_cc_args(pp_opts, debug, extra_preargs)

        def compile_one(target: str) -> None:
            source, extension = build[target]
            path = Path(source).resolve()
            ours = path.name in SOURCES and path.parent == ROOT / "native"
            compiler._compile(target, source, extension, cc_args, [*flags, *STRICT_FLAGS] if ours else flags, pp_opts)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(compile_one, [target for target in objects if target in build]))
        return list(objects)

    def copy_file(self, infile: Any, outfile: Any, *args: Any, **kwargs: Any) -> Any:
        """Replaces instead of overwriting: a process may have the old module mapped."""
        target = Path(outfile)
        if target.is_dir():
            target = target / Path(infile).name
        fresh = target.with_name(target.name + ".new")
        shutil.copy2(infile, fresh)
        os.replace(fresh, target)
        return str(target), 1


class SourceDistribution(sdist):
    """Holds the repository's own files, named by folder; nothing that a build or a test left there."""

    def make_distribution(self) -> None:
        self.filelist.files = sorted({*self.filelist.files, *source_files()})
        super().make_distribution()


def source_files() -> list[str]:
    """Every file of a source distribution but the metadata, relative to the repository."""
    found = [name for name in SOURCE_FILES if (ROOT / name).is_file()]
    for folder in SOURCE_FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            inside = path.relative_to(ROOT)
            if path.is_file() and not any(fnmatch(part, product) for part in inside.parts for product in PRODUCTS):
                found.append(str(inside))
    return found


def long_description() -> str:
    """README.md for a package index: what leads into the repository leads to its address, or is the plain words."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    home = project.get("urls", {}).get("Source", "")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    if home:
        return re.sub(r"\]\((?!\w+:|#)([^)]+)\)", rf"]({home}/blob/main/\1)", text)
    text = re.sub(r"!\[[^]]*\]\((?!\w+:)[^)]+\)\n*", "", text)
    return re.sub(r"\[([^]]+)\]\((?!\w+:|#)[^)]+\)", r"\1", text)


def native_extension(directory: Path) -> Extension:
    """The C core."""
    from build import SOURCES, STANDARD_FLAGS, write_glue

    return Extension(
        "ustack._native",
        sources=[str(write_glue(directory)), *(f"native/{name}" for name in SOURCES)],
        include_dirs=["native"],
        depends=["native/cdef.h", "native/core.h"],
        extra_compile_args=list(STANDARD_FLAGS),
    )


def compiled_sources() -> list[str]:
    """Every module that mypyc compiles; packages' ``__init__.py`` stay Python, which an import needs anyway."""
    package = ROOT / "ustack"
    found = [package / name for name in COMPILED_FILES if (package / name).exists()]
    for name in COMPILED_PACKAGES:
        found += sorted(path for path in (package / name).rglob("*.py") if path.name != "__init__.py")
    return [str(path.relative_to(ROOT)) for path in found]


def compiled_extensions(directory: Path) -> list[Extension]:
    """Floors 0 to 5 through mypyc. What it cannot compile ends the build."""
    from docstrings import keep_docstrings
    from mypyc.build import mypycify

    # What the compiled modules import is read for its types, not judged: that is `mypy`'s own run.
    options = [
        "--follow-imports=silent",
        "--config-file",
        str(ROOT / "pyproject.toml"),
        "--cache-dir",
        str(directory / "mypy"),
    ]
    generated = directory / "mypyc"
    extensions = mypycify(
        [*options, *compiled_sources()],
        opt_level="2",
        multi_file=True,  # a file for each module: all cores compile
        debug_level="0",
        target_dir=str(generated),
        group_name="ustack",
    )
    keep_docstrings([ROOT / source for source in compiled_sources()], ROOT, generated)
    return extensions


def is_pure() -> bool:
    """Whether floors 0 to 5 stay ordinary Python."""
    return os.environ.get("USTACK_PURE", "") not in ("", "0")


def check_compiler() -> None:
    """Ends the build with one sentence where there is no C compiler, or none of Python's headers."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    if shutil.which(compiler) is None:
        raise SystemExit(
            f"ustack: there is no C compiler ({compiler}), which building ustack needs: install one "
            "(Debian: apt-get install gcc libc6-dev), or install a wheel."
        )
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        raise SystemExit(
            "ustack: Python.h is missing, which building ustack needs: install Python's headers "
            "(Debian: apt-get install python3-dev), or install a wheel."
        )


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory that lives as long as one build."""
    with tempfile.TemporaryDirectory(prefix="ustack-build-") as name:
        yield Path(name)


class Backend(build_meta._BuildMetaBackend):
    """setuptools' backend with our extensions instead of a ``setup.py``."""

    pure = False

    def run_setup(self, setup_script: str = "setup.py") -> None:
        """Runs one setuptools command line; build_meta has put it into ``sys.argv``."""
        if not any(command in sys.argv for command in ("bdist_wheel", "editable_wheel", "build_ext")):
            setuptools.setup(cmdclass={"sdist": SourceDistribution}, **self.readme())
            return
        check_compiler()
        sys.path.insert(0, str(ROOT / "native"))
        with scratch() as directory:
            extensions = [native_extension(directory)]
            if not (self.pure or is_pure()):
                extensions += compiled_extensions(directory)
            setuptools.setup(
                ext_modules=extensions,
                cmdclass={"build_ext": BuildExt},
                options={"build": {"build_base": str(directory / "build")}},
                **self.readme(),
            )

    def readme(self) -> dict[str, str]:
        return {"long_description": long_description(), "long_description_content_type": "text/markdown"}

    def get_requires_for_build_wheel(self, config_settings: Any = None) -> list[str]:
        check_compiler()  # before anything is downloaded
        needed = list(super().get_requires_for_build_wheel(config_settings))
        return needed if is_pure() else [*needed, "mypy[mypyc]>=2.4,<3", "types-cffi", "types-setuptools"]

    def get_requires_for_build_editable(self, config_settings: Any = None) -> list[str]:
        check_compiler()
        return list(super().get_requires_for_build_wheel(config_settings))

    def build_editable(self, wheel_directory: Any, config_settings: Any = None, metadata_directory: Any = None) -> str:
        self.pure = True
        return str(super().build_editable(wheel_directory, config_settings, metadata_directory))


_backend = Backend()
build_wheel = _backend.build_wheel
build_sdist = _backend.build_sdist
build_editable = _backend.build_editable
get_requires_for_build_wheel = _backend.get_requires_for_build_wheel
get_requires_for_build_sdist = _backend.get_requires_for_build_sdist
get_requires_for_build_editable = _backend.get_requires_for_build_editable
prepare_metadata_for_build_wheel = _backend.prepare_metadata_for_build_wheel
prepare_metadata_for_build_editable = _backend.prepare_metadata_for_build_editable
