#!/bin/sh
# Looks whether this machine has what a make target needs, and says in one sentence what to install.
# usage: tools/preflight.sh build|demo|kernel [PYTHON]
set -u
what=${1:-build}
python=${2:-python3}
missing=0

complain() {
    printf 'ustack: %s\n' "$1" >&2
    missing=1
}

have() { command -v "$1" >/dev/null 2>&1; }

check_build() {
    if ! have "$python"; then
        complain "$python is missing: install Python 3.11 or newer (Debian: apt-get install python3-dev python3-venv)."
        return
    fi
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        complain "$("$python" --version 2>&1) is too old: ustack needs Python 3.11 or newer (make PYTHON=/path/to/python3.12)."
        return
    fi
    have "${CC:-cc}" || complain "no C compiler (${CC:-cc}): install one (Debian: apt-get install gcc libc6-dev)."
    "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
        complain "Python.h is missing: install the headers of $python (Debian: apt-get install python3-dev)."
    "$python" -c 'import venv' 2>/dev/null ||
        complain "the venv module is missing: install it (Debian: apt-get install python3-venv)."
    "$python" -c 'import ensurepip' 2>/dev/null || "$python" -m pip --version >/dev/null 2>&1 ||
        complain "$python has neither ensurepip nor pip: install one (Debian: apt-get install python3-venv)."
}

check_tun() {
    if [ "$(uname -s)" != Linux ]; then
        complain "TUN devices and network namespaces need Linux; this is $(uname -s)."
        return
    fi
    if ! have unshare; then
        complain "unshare is missing: install util-linux."
        return
    fi
    if [ ! -e /dev/net/tun ]; then
        complain "/dev/net/tun is missing: load the driver as root with 'modprobe tun' (in a container: --device /dev/net/tun)."
    elif [ ! -r /dev/net/tun ] || [ ! -w /dev/net/tun ]; then
        complain "you may not open /dev/net/tun: run this as root, or let root say 'chmod 666 /dev/net/tun'."
    fi
    if [ "$(id -u)" = 0 ]; then
        unshare -n true 2>/dev/null ||
            complain "root may not make a network namespace here (a container without CAP_SYS_ADMIN): start it with --privileged."
    else
        unshare -Urn true 2>/dev/null ||
            complain "you may not make a user namespace here: run this as root (or 'sysctl kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0')."
    fi
}

case $what in
build) check_build ;;
demo)
    check_tun
    have curl || complain "curl is missing: install it (Debian: apt-get install curl)."
    ;;
kernel) check_tun ;;
*) complain "tools/preflight.sh knows build, demo and kernel, not $what." ;;
esac
exit $missing
