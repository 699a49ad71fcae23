"""Writes a document to a file, whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat


def write(text: str, path: str, *, through: bool = False) -> None:
    """Write the text to that file, in UTF-8. What is there is replaced when the new one is complete.

    through: write through a link or into a device or FIFO, such as /dev/stdout, if the path is one: for paths
        that the user has chosen. In a directory, who may write there may have put a link.
    """
    if through and _is_link_or_device(path):
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return
    new = os.path.join(os.path.dirname(path), f".guestkit-{secrets.token_hex(8)}")
    try:
        with open(new, "x", encoding="utf-8") as file:
            file.write(text)
        os.replace(new, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise


def obstacle(path: str, *, through: bool = False) -> str:
    """Return the file or directory that `write` has to change and this user may not; "": there is none.

    A regular file is replaced, so that its directory has to be written, and not the file.
    """
    wanted = os.path.dirname(path) or "."
    if through and _is_link_or_device(path):
        wanted = path  # not its realpath: that of /dev/stdout is a name that only the kernel knows, of a pipe
        if not os.path.exists(path):  # the link leads to what is to be made
            wanted = os.path.dirname(os.path.realpath(path))
    return "" if os.access(wanted, os.W_OK) else wanted


def _is_link_or_device(path: str) -> bool:
    return os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode)
