"""Directories of this user alone."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from guestkit import _native


def make_private(directory: Path, mode: int) -> str:
    """Create the directory and missing parents with that mode, unless it is there.

    Return why it must not be used, such as that another user could change it; "" if it may be. Where it must
    not, nothing that was made for it is left.
    """
    made: list[Path] = []
    try:
        for folder in reversed((directory, *directory.parents)):
            if not folder.is_dir():
                with suppress(FileExistsError):  # another process was faster
                    folder.mkdir(mode)
                    made.append(folder)
                    folder.chmod(mode)  # regardless of the umask
        fault = private_fault(directory)
    except OSError as error:
        fault = f"{directory} cannot be made: {error.strerror}"
    if fault:
        # In the home of another user, root's directories would keep that user from making their own.
        with suppress(OSError):  # another process has put something there
            for folder in reversed(made):
                folder.rmdir()
        return fault
    return "" if os.access(directory, os.W_OK) else f"{directory} cannot be written by this user"


def private_fault(directory: Path) -> str:
    """Return why the directory must not be used, such as that another user could change it; else ""."""
    if directory.is_symlink():  # whose mode cannot be repaired
        return f"{directory} is a link: name the directory that it leads to"
    return _native.private_directory_fault(directory)
