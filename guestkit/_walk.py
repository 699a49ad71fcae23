"""All files below a directory of a guest, as far as its directories can be read."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from time import monotonic

from guestkit._text import some
from guestkit.errors import Error, is_final
from guestkit.files import MAX_DEPTH, MAX_ENTRIES, MAX_TEXT, GuestFile
from guestkit.handle import Guestfs


#: Why something is left out.
TIME_IS_OVER = "the time is over (timeout)"
_TOO_DEEP = "too deep"


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
    return files, {file.path: _TOO_DEEP for file in files if file.not_entered}


def told(unread: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each of the first hundred directories, and one for the rest."""
    return some(
        (f"{path}: {reason}: what is in there is not looked at" for path, reason in unread.items()),
        lambda more: f"what is in {more} more directories is not looked at either",
    )


def _ends_all(error: Error) -> bool:
    """Return whether no directory can be read any more: "walk" has limits for all files together.

    That of a single directory, whose size promises too many names, is an error of "readdir".
    """
    return is_final(error) or (error.op == "walk" and error.errno == errno.EFBIG)


def _one_by_one(g: Guestfs, top: str, ends: float) -> tuple[list[GuestFile], dict[str, str]]:
    files = g.walk(top, max_depth=0)
    unread: dict[str, str] = {}
    text = _text(files)
    waiting = [(place, 1) for place in reversed(range(len(files)))]
    while waiting:
        place, depth = waiting.pop()
        directory = files[place]
        if directory.kind != "d":
            continue
        if depth > MAX_DEPTH:
            unread[directory.path] = _TOO_DEEP
            continue
        if monotonic() >= ends:
            unread[directory.path] = TIME_IS_OVER
            continue
        try:
            below = g._walked(directory.path, 0, MAX_ENTRIES - len(files), directory.size)
        except Error as error:
            if _ends_all(error):
                raise
            unread[directory.path] = os.strerror(error.errno) if error.errno else error.message
            continue
        if (text := text + _text(below)) > MAX_TEXT:
            raise Error("walk", f"{top}: the paths have more than {MAX_TEXT} characters", errno.EFBIG)
        files[place] = replace(directory, not_entered=False)
        waiting += [(len(files) + number, depth + 1) for number in reversed(range(len(below)))]
        files += below
    return files, unread


def _text(files: list[GuestFile]) -> int:
    return sum(len(file.path) + len(file.target) for file in files)
