"""What went wrong, in one sentence, with what to do about it."""

from __future__ import annotations

import errno
import os
import sys

from ustack.cli.values import shown


class Complaint(Exception):  # noqa: N818 (it is what the user reads, not a fault of the program)
    """Ends a command: ``str()`` is the sentence that the user reads."""

    def __init__(self, sentence: str, status: int = 1) -> None:
        super().__init__(sentence)
        self.status = status


def about_tun(name: str, error: OSError) -> Complaint:
    """Why the TUN device ``name`` could not be had."""
    if error.errno == errno.EBUSY:
        return Complaint(
            f"the device {name} is in use by another program. Choose another name (and another subnet) with "
            f"--tun and --address, or end the other program."
        )
    if error.errno == errno.ENOENT:
        return Complaint(
            "this machine has no /dev/net/tun. Load the driver as root with 'modprobe tun' "
            "(in a container: start it with --device /dev/net/tun)."
        )
    if error.errno in (errno.EPERM, errno.EACCES):
        if error.errno == errno.EACCES or not os.access("/dev/net/tun", os.R_OK | os.W_OK):
            return Complaint(
                f"you may not open /dev/net/tun. Run this as root: sudo {_command()}, "
                "or let root say 'chmod 666 /dev/net/tun' and try again inside 'unshare -Urn bash'."
            )
        return Complaint(
            f"making the device {name} needs root's rights over this network namespace. Run it as root: "
            f"sudo {_command()}, or without root in a namespace of your own: unshare -Urn {_command()}"
        )
    if error.errno == errno.EINVAL:
        return Complaint(
            f"{name} is no name for a TUN device: it is empty, longer than 15 characters, holds a '/' or a space, "
            "or belongs to a device of another kind. Choose another with --tun."
        )
    return Complaint(f"the device {name} could not be set up: {error.strerror or error}.")


def about_file(path: str, error: OSError) -> Complaint:
    """Why a file or folder could not be used."""
    return Complaint(f"{shown(path, 200)}: {error.strerror or error}.", 2)


def _command() -> str:
    return " ".join(["ustack", *sys.argv[1:]])
