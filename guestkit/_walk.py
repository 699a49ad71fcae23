"""All files below a directory of a guest, as far as its directories can be read."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace

from guestkit._operations.trees import TOO_DEEP, below
from guestkit._text import at_most
from guestkit.errors import Error, is_final
from guestkit.files import MAX_DEPTH, MAX_ENTRIES, GuestFile
from guestkit.handle import Guestfs


def walk(g: Guestfs, top: str, *, ends: float = math.inf) -> tuple[list[GuestFile], dict[str, str]]:
    """Return the files as `Guestfs.walk` does, and why directories are `not_entered`, by their paths.

    `Guestfs.walk` fails as a whole if one directory cannot be read, such as one of a damaged filesystem. Then
    each one is read by itself, which takes longer. Raises Error, such as where `top` itself cannot be read.

    ends: when no more is read, as `monotonic` tells the time
    """
    try:
        files = g.walk(top)
    except Error as error:
        if _ends_all(error):
            raise
        return _one_by_one(g, top, ends)
    return files, {file.path: TOO_DEEP for file in files if file.not_entered}


def told(unread: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each of the first hundred directories, and one for the rest."""
    return at_most(
        (f"{path}: {reason}: what is in there is not looked at" for path, reason in unread.items()),
        lambda more: f"what is in {more} more directories is not looked at either",
    )


def _ends_all(error: Error) -> bool:
    """Return whether no directory can be read any more: "walk" has limits for all files together.

    That of a single directory, whose size promises too many names, is an error of "readdir".
    """
    return is_final(error) or (error.op == "walk" and error.errno == errno.EFBIG)


def _one_by_one(g: Guestfs, top: str, ends: float) -> tuple[list[GuestFile], dict[str, str]]:
    files: list[GuestFile] = []
    unread: dict[str, str] = {}
    for directory, found in below(g, top, depth=MAX_DEPTH, most=MAX_ENTRIES, ends=ends):
        if isinstance(found, list):
            files += found
        elif isinstance(found, str):
            unread[directory] = found
        elif directory == top or _ends_all(found):
            raise found
        else:
            unread[directory] = os.strerror(found.errno) if found.errno else found.message
    for place, file in enumerate(files):
        if file.not_entered and file.path not in unread:
            files[place] = replace(file, not_entered=False)
    return files, unread
