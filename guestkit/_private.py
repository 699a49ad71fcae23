"""Directories of this user alone."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from guestkit import _native


def make_private(directory: Path, mode: int) -> str:
    """Create the directory and missing parents with that mode, unless it is there.

    Return why it must not be used, such as that another user could change it; "" if it may be.
    """
    try:
        for folder in reversed((directory, *directory.parents)):
            if not folder.is_dir():
                with suppress(FileExistsError):  # another process was faster
                    folder.mkdir(mode)
                    folder.chmod(mode)  # regardless of the umask
    except OSError as error:
        return f"{directory} cannot be made: {error.strerror}"
    if fault := _native.private_directory_fault(directory):
        return fault
    return "" if os.access(directory, os.W_OK) else f"{directory} cannot be written by this user"
