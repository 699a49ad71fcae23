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
    if through and os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
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
