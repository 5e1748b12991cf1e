#!/bin/sh
# Makes a virtual environment with pip in it, also where Python came without ensurepip.
# usage: tools/venv.sh PYTHON DIRECTORY
set -eu
python=$1
directory=$2
[ -x "$directory/bin/python" ] && "$directory/bin/python" -m pip --version >/dev/null 2>&1 && exit 0
echo "== making $directory"
if "$python" -c 'import ensurepip' 2>/dev/null && "$python" -m venv "$directory"; then
    exit 0
fi
"$python" -m venv --clear --without-pip "$directory"
"$python" -m pip --python "$directory/bin/python" install --quiet pip || {
    echo "ustack: could not install pip into $directory: install ensurepip (Debian: apt-get install python3-venv) or pip 22.3 or newer." >&2
    exit 1
}
