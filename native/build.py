"""How the C core becomes ``ustack._native``: cffi in API mode, which drops the GIL around every call."""

from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
SOURCES = (
    "checksum.c",
    "deferred.c",
    "emit.c",
    "gro.c",
    "gso.c",
    "loan.c",
    "parse.c",
    "place.c",
    "pool.c",
    "ring.c",
    "tun.c",
    "vnet.c",
    "window.c",
)
STANDARD_FLAGS = ("-std=gnu11", "-D_GNU_SOURCE", "-O3", "-fno-semantic-interposition", "-fvisibility=hidden")
STRICT_FLAGS = ("-Wall", "-Wextra", "-Wconversion", "-Werror")


def builder() -> FFI:
    """Declares what ``cdef.h`` declares; the glue that cffi writes includes ``core.h``."""
    ffi = FFI()
    ffi.cdef((HERE / "cdef.h").read_text())
    ffi.set_source("ustack._native", '#include "core.h"')
    return ffi


def write_glue(directory: Path) -> Path:
    """Writes cffi's C file into ``directory`` and returns its path."""
    glue = directory / "_native.c"
    builder().emit_c_code(str(glue))
    return glue
