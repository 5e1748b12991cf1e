#!/bin/sh
# Builds the C core under AddressSanitizer and UBSan (gcc is enough), and runs tests/native and the ring tests in it.
# Nothing is installed: the instrumented module shadows the installed one by coming first on the path.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cp -r "$root/ustack" "$work/ustack"
find "$work" -name '*.so' -delete
"$python" - "$root" "$work" <<'PY'
import subprocess, sys, sysconfig
from pathlib import Path

root, work = map(Path, sys.argv[1:])
sys.path.insert(0, str(root / "native"))
from build import SOURCES, STRICT_FLAGS, write_glue

flags = ["-std=gnu11", "-D_GNU_SOURCE", "-O1", "-g", "-fno-omit-frame-pointer", "-fPIC", f"-I{root / 'native'}"]
flags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
objects = []
for source in [*(root / "native" / name for name in SOURCES), write_glue(work)]:
    objects.append(work / (source.stem + ".o"))
    ours = source.parent == root / "native"
    extra = list(STRICT_FLAGS) if ours else [f"-I{sysconfig.get_path('include')}"]
    subprocess.run(["cc", *flags, *extra, "-c", source, "-o", objects[-1]], check=True)
target = work / "ustack" / ("_native" + sysconfig.get_config_var("EXT_SUFFIX"))
subprocess.run(["cc", "-shared", *flags, *objects, "-o", target], check=True)
PY

cd "$root"
# Python itself leaks by design at exit, so leaks are not looked for; the soak tests watch memory instead.
LD_PRELOAD="$(cc -print-file-name=libasan.so):$(cc -print-file-name=libubsan.so)" \
    ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 \
    UBSAN_OPTIONS=print_stacktrace=1 \
    PYTHONMALLOC=malloc \
    PYTHONPATH="$work" \
    "$python" - "$work" "$@" <<'PY'
import sys

work = sys.argv[1]
sys.path.insert(0, work)
import pytest

arguments = sys.argv[2:] or ["tests/native", "tests/test_ring.py"]
status = pytest.main(["-q", "-p", "no:cacheprovider", "--capture=sys", "-o", "pythonpath=", *arguments])
loaded = sys.modules["ustack._native"].__file__
assert loaded is not None and loaded.startswith(work), f"{loaded} was tested, which is not instrumented"
sys.exit(status)
PY
