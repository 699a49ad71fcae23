"""Writes a document to a file, whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from guestkit._aside import new_file


def write(text: str, path: str, *, through: bool = False) -> None:
    """Write the text to that file, in UTF-8. What is there is replaced when the new one is complete.

    through: where the path is a link, replace what it leads to; and write into a device, a FIFO or an open
        file, such as /dev/stdout: for paths that the user has chosen. In a directory, who may write there may
        have put a link.
    """
    target = _replaced(path) if through else path
    if target is None:
        with open(path, "w", encoding="utf-8") as opened:
            opened.write(text)
        return
    with new_file(Path(target)) as file:
        file.write(text.encode())


def obstacle(path: str, *, through: bool = False) -> str:
    """Return the file or directory that `write` has to change and this user may not; "": there is none.

    A regular file is replaced, so that its directory has to be written, and not the file.
    """
    target = _replaced(path) if through else path
    wanted = path if target is None else os.path.dirname(target) or "."
    return "" if os.access(wanted, os.W_OK) else wanted


def _replaced(path: str) -> str | None:
    """Return the file, which need not be there yet, that is replaced; None: it is written into.

    The links of /proc are no names of files, but open files, as that to which /dev/stdout leads: a new file
    of the same name would be another one.
    """
    if os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode):
        return None
    for _ in range(40):  # as the kernel
        if not os.path.islink(path):
            return path
        if os.path.realpath(os.path.dirname(path)).startswith("/proc/"):
            return None
        path = os.path.join(os.path.dirname(path), os.readlink(path))
    return None  # opening it tells what is wrong
