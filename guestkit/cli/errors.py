"""Errors in the command line's terms: what happened, why, and what to do."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from guestkit.errors import CallTimeout, Error

if TYPE_CHECKING:
    from guestkit.fleet import Report

#: guestkit's own functions: their errors name the file or disk, which libguestfs' actions do not always do.
_OWN = {
    "appliance",
    "convert",
    "copy_in",
    "copy_out",
    "diff",
    "mount_guest",
    "mounted",
    "open_disk",
    "probe",
    "read_chunks",
    "report",
    "sbom",
    "serve",
    "shell",
    "unmount",
}

#: Actions that the commands use internally to look at a file. The user did not type their names, and their
#: errors name the file, so the action's name is left out.
_LOOKS = {"lstatns", "readlink", "realpath", "statns"}

#: What to do, by an error's cause, where its hint speaks of arguments of a function.
REMEDIES = {
    "already_exists": "--force replaces it",
    "too_large": "--max-gib N permits more",
    "call_timeout": "give it more time with --timeout",
    "backing_refused": "--backing DIRECTORY or --backing allow permits it",
    "disk_in_use": "shut its guest down, unmount it, or end that in another way; --in-use allow opens it all"
    " the same, but what is read may be inconsistent",
    "disk_locked": "shut its guest down, unmount it, or end that in another way: a disk in use is not"
    " written to",
    "disks_incomplete": "give the guest's other disks with --add",
    "disks_several": "choose one with --member",
    "format_unstated": "state with --format what it is, not what its header says",
    "key_needed": "give its key with --key",
    "kvm": "unset LIBGUESTFS_BACKEND_SETTINGS to have the appliance emulated; guestkit doctor tells more",
    "network_format": "state --format raw, and have the server present the disk itself (qemu-nbd, nbdkit)",
    "not_a_disk": "if it is a disk after all, state --format raw",
    "root_unclear": "choose one of them with --root, or with --mount",
    "url": "then type: guestkit inspect --format raw 'nbd+unix:///?socket=/tmp/disk.sock'",
}


def sentence(error: Exception, disks: Sequence[str] = ()) -> str:
    """Say what happened, why, and what to do, in the terms of the command line.

    disks: the disks as the user typed them
    """
    if isinstance(error, CallTimeout) and error.clock == "call_timeout":
        return f"{error.op}: took longer than --timeout {error.seconds:g}, and was stopped"
    if isinstance(error, Error):
        silent = error.op in _OWN | _LOOKS
        message = error.message if silent else f"{error.op}: {error.message}"
        return explained(message, error.cause, error.hint, disks)
    if isinstance(error, OSError):
        return f"{os.fsdecode(error.filename)}: {error.strerror}" if error.filename else str(error)
    kind = type(error).__name__
    return f"this is a fault of guestkit: {kind}: {error}; with --debug it shows where: please report it"


def explained(message: str, cause: str | None, hint: str, disks: Sequence[str] = ()) -> str:
    """Return the message with what to do about it."""
    return joined(message, remedy(cause, hint, disks))


def remedy(cause: str | None, hint: str, disks: Sequence[str] = ()) -> str:
    """Return what to do, in the terms of the command line; "" if guestkit does not know."""
    if not hint:
        return ""
    if cause == "path_appended":
        return _apart(disks)
    if cause == "not_a_disk" and "format=" not in hint:  # a program that presents the disk in it
        return hint
    return REMEDIES.get(cause or "", hint)


def joined(message: str, what_to_do: str) -> str:
    """Return the message with what to do, if that is known."""
    return f"{message}; {what_to_do}" if what_to_do else message


def of_failure(report: Report) -> str:
    """Return why a disk could not be inspected, and what to do about it; "" if it could."""
    error = report.error
    if error is None:
        return ""
    if error.cause == "call_timeout":
        return f"{report.disk}: took longer than --timeout, and was stopped"
    return explained(error.message, error.cause, error.hint, report.disks)


def told(report: Report) -> dict[str, Any]:
    """Return the report for JSON; what to do is in the terms of the command line."""
    all_of_it = report.to_dict()
    if report.error is not None:
        all_of_it["error"]["hint"] = remedy(report.error.cause, report.error.hint, report.disks)
    return all_of_it


def _apart(names: Sequence[str]) -> str:
    """Tell how to type DISK:/PATH, in the style of scp and rsync, if one of the names is that."""
    for name in names:
        for colon in re.finditer(":/", name):
            disk, path = name[: colon.start()], name[colon.start() + 1 :]
            if os.path.exists(disk) and not os.path.isdir(disk):
                return f"type: guestkit ls {shlex.join([disk, path])}"
    return "give the disk and the path in its guest as two arguments"
