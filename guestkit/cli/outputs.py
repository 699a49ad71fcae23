"""Checks of the files that commands write."""

from __future__ import annotations

import os
from collections.abc import Sequence

from guestkit.cli.usage import UsageError


def check_output(path: str, disks: Sequence[str], *, through: bool = True) -> None:
    """Raise UsageError if `write` could not write an output there, or if that is one of the disks."""
    from guestkit._writing import obstacle  # only commands with an output pay for this import

    directory = os.path.dirname(path) or "."
    if not os.path.isdir(directory):
        raise UsageError(f"there is no directory for the output {path!r}")
    if os.path.isdir(path):
        raise UsageError(f"the output {path!r} is a directory: give the name of a file")
    if found := obstacle(path, through=through):
        raise UsageError(f"you may not write to {found!r}, as the output {path!r} needs it")
    for disk in disks:
        if is_same_file(path, disk):
            raise UsageError(f"the output {path!r} is the disk {disk!r}")


def is_same_file(path: str, other: str) -> bool:
    """Return whether both are there, and one file."""
    return os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other)
