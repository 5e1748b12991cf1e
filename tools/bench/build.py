"""Builds the benchmark's own C programs and the peers whose toolchain is there: into `build/bench`, never the tree."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUTPUT = HERE.parents[1] / "build" / "bench"
C_FLAGS = ("-O2", "-std=gnu11", "-Wall", "-Wextra", "-Wconversion", "-Werror")
CLIENT_SOURCES = ("client.c", "common.c", "serve.c", "hold.c", "flood.c")


def compile_c(name: str, sources: tuple[str, ...], *more: str) -> Path:
    """Compiles when a source is newer than the program. Raises CalledProcessError with the compiler's words shown."""
    target = OUTPUT / name
    inputs = [HERE / source for source in sources]
    headers = [header for folder in {source.parent for source in inputs} for header in folder.glob("*.h")]
    newest = max(path.stat().st_mtime for path in [*inputs, *headers])
    if not target.exists() or target.stat().st_mtime < newest:
        OUTPUT.mkdir(parents=True, exist_ok=True)
        fresh = target.with_suffix(".new")
        subprocess.run(["cc", *C_FLAGS, "-o", str(fresh), *map(str, inputs), *more], check=True)
        fresh.rename(target)
    return target


@lru_cache(maxsize=1)
def client() -> Path:
    """The C client, which is the kernel's server too."""
    return compile_c("bench-client", CLIENT_SOURCES)


@lru_cache(maxsize=1)
def ceiling() -> Path:
    """The do-nothing programs behind TUN: one only acknowledges, one only sends."""
    return compile_c("bench-ceiling", ("ceilings/ceiling.c", "ceilings/packet.c"))


@lru_cache(maxsize=1)
def link() -> Path:
    """The emulated link of P9."""
    return compile_c("bench-link", ("link.c",), "-lm")


def peer_lwip() -> None:
    """Needs Debian's liblwip-dev."""
    compile_c("peer-lwip", ("peers/lwip/lwip.c",), "-I/usr/include/lwip", "-Wno-conversion", "-llwip", "-lpthread")


def peer_smoltcp() -> None:
    """Needs cargo."""
    folder = HERE / "peers" / "smoltcp"
    target = OUTPUT / "cargo"
    subprocess.run(
        ["cargo", "build", "--release", "--locked", "-j1", "--manifest-path", str(folder / "Cargo.toml"),
         "--target-dir", str(target)],
        check=True,
    )  # fmt: skip
    shutil.copy2(target / "release" / "peer-smoltcp", OUTPUT / "peer-smoltcp")


def peer_gvisor() -> None:
    """Needs go."""
    folder = HERE / "peers" / "gvisor"
    subprocess.run(["go", "build", "-p", "1", "-o", str(OUTPUT / "peer-gvisor"), "."], cwd=folder, check=True)


def peer_pytcp() -> None:
    """A virtual environment of its own: the fork's dependencies are none of ours."""
    home = OUTPUT / "pytcp"
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    subprocess.run([str(home / "bin" / "pip"), "install", "-q", "pmd-pytcp==0.3.8"], check=True)


PEERS = {"lwip": peer_lwip, "smoltcp": peer_smoltcp, "gvisor": peer_gvisor, "pytcp": peer_pytcp}


def build_peers(names: list[str]) -> dict[str, str]:
    """Builds each; returns the reasons of those that could not be, by name."""
    failed: dict[str, str] = {}
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for name in names:
        print(f"building {name} ...", flush=True)
        try:
            PEERS[name]()
        except (OSError, subprocess.CalledProcessError) as error:
            failed[name] = str(error)
            print(f"{name} is left out: {error}", flush=True)
    return failed


def forms() -> list[str]:
    """Lays out the package twice, interpreted and compiled, below OUTPUT; returns what is missing and why.

    The compiled form is the installed one when that is compiled (`make install`), else a wheel built here.
    """
    source = HERE.parents[1] / "ustack"
    missing: list[str] = []
    _copy_pure(source, OUTPUT / "pure.new" / "ustack")
    _swap(OUTPUT / "pure.new", OUTPUT / "pure")
    compiled = OUTPUT / "compiled"
    stamp = compiled / ".stamp"
    newest = max(path.stat().st_mtime for folder in (source, HERE.parents[1] / "native")
                 for path in folder.rglob("*") if path.suffix in (".py", ".c", ".h"))  # fmt: skip
    if stamp.exists() and stamp.stat().st_mtime >= newest:
        return missing
    fresh = OUTPUT / "compiled.new"
    shutil.rmtree(fresh, ignore_errors=True)
    installed = _installed()
    if installed is not None:
        fresh.mkdir(parents=True)
        shutil.copytree(installed, fresh / "ustack")
        for helper in installed.parent.glob("*__mypyc*.so"):
            shutil.copy2(helper, fresh)
    else:
        print("building the compiled form (make install keeps one) ...", file=sys.stderr, flush=True)
        words = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--target",
            str(fresh),
            str(HERE.parents[1]),
        ]
        if subprocess.run(words, check=False).returncode:
            missing.append("the compiled form could not be built")
            return missing
    (fresh / ".stamp").touch()
    _swap(fresh, compiled)
    return missing


def _swap(fresh: Path, target: Path) -> None:
    """Puts a folder in place of another at once: a run beside this one keeps what it has open."""
    old = target.with_suffix(".old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    fresh.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _installed() -> Path | None:
    """The installed package's folder, when it is compiled and no older than the sources."""
    for entry in map(Path, sys.path):
        found = entry / "ustack" / "tcp"
        if entry != HERE.parents[1] and list(found.glob("state.*.so")):
            return found.parent
    return None


def _copy_pure(source: Path, target: Path) -> None:
    if target.exists():
        shutil.rmtree(target)

    def compiled(folder: str, names: list[str]) -> set[str]:
        return {
            name
            for name in names
            if name == "__pycache__" or (name.endswith(".so") and not name.startswith("_native."))
        }

    shutil.copytree(source, target, ignore=compiled)
    if not list(target.glob("_native*.so")):  # the sources are not installed in place: `make install` has the C core
        for entry in map(Path, sys.path):
            for core in (entry / "ustack").glob("_native*.so"):
                shutil.copy2(core, target)
                return
