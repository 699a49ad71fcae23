"""Errors in the command line's terms: what happened, why, and what to do."""

from __future__ import annotations

import os
import re
from shlex import quote

from guestkit.appliance import ApplianceError
from guestkit.errors import CallTimeout, Error, LaunchError

#: The message about a disk name with a guest path appended, in the style of scp and rsync.
_APART = re.compile(r'name the disk "(.*)" and the path "(.*)" in its guest apart$')

#: guestkit's own functions: their errors name the file or disk, which libguestfs' actions do not always do.
_OWN = {"convert", "copy_in", "copy_out", "mount_guest", "open_disk", "probe", "read_chunks"}

#: Actions that the commands use internally to look at a file. The user did not type their names, and their
#: errors name the file, so the action's name is left out.
_LOOKS = {"lstatns", "readlink", "realpath", "statns"}


def sentence(error: Exception) -> str:
    """Say what happened, why, and what to do, in the terms of the command line."""
    if isinstance(error, LaunchError):
        return f"{error.op}: {error.message}{f'; {error.hint}' if error.hint else ''}"
    if isinstance(error, CallTimeout) and error.clock == "call_timeout":
        return f"{error.op}: took longer than --timeout {error.seconds:g}, and was stopped"
    if isinstance(error, Error):
        return options_of(error.message if error.op in _OWN | _LOOKS else str(error))
    if isinstance(error, OSError):
        return f"{os.fsdecode(error.filename)}: {error.strerror}" if error.filename else str(error)
    if isinstance(error, ApplianceError):
        return str(error)
    kind = type(error).__name__
    return f"this is a fault of guestkit: {kind}: {error}; with --debug it shows where: please report it"


def options_of(message: str) -> str:
    """Reword a message about Python arguments in terms of the command's options."""
    for argument, option in (
        ("backing=under(DIRECTORY) or backing=allow", "--backing DIRECTORY or --backing allow"),
        ("state format=", "state --format "),
        ("state in_use=", "state --in-use "),
        (
            "open nbd+unix:///?socket=/tmp/disk.sock with format=raw and protocols=nbd",
            "type: guestkit inspect --format raw 'nbd+unix:///?socket=/tmp/disk.sock'",
        ),
        ("choose one with unpack=UnpackLimits(member=…)", "choose one with --member"),
        ("choose a root of", "choose with --root one of"),
        (
            "give all disks of the guest together",
            "give all disks of the guest together (inspect: --one-guest, others: --add)",
        ),
        ("replace=True replaces it", "--force replaces it"),
    ):
        message = message.replace(argument, option)
    return _APART.sub(lambda found: f"type: guestkit ls {quote(found[1])} {quote(found[2])}", message)
