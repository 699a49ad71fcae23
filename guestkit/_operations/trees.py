"""The directories of a guest's tree, each read by itself."""

from __future__ import annotations

import errno
import math
from collections.abc import Iterable, Iterator
from time import monotonic

from guestkit.errors import Error
from guestkit.files import MAX_TEXT, GuestFile
from guestkit.handle import Guestfs

#: Why a directory is not looked into: an error, or one of these.
Reason = Error | str
TOO_DEEP = "too deep"
TIME_IS_OVER = "the time is over (timeout)"


def below(
    g: Guestfs, top: str, *, depth: float, most: int, ends: float = math.inf
) -> Iterator[tuple[str, list[GuestFile] | Reason]]:
    """Yield `top` and each directory below it, with what is in it or why that is not known.

    A directory comes before those in it; symlinks are not followed. The caller may take files out of a list
    before it asks for the next: these are not looked into, and count only while their own directory is read.

    Goes on after an Error, unless there are too many files: whether that ends all is the caller's to say.

    depth: levels of directories below `top`
    most: more files in all are an Error of "walk" with EFBIG, and so are more than `MAX_TEXT` bytes of paths
        and targets of symlinks; a single directory that promises more names is one of "readdir"
    ends: when nothing but `top` is read any more, as `monotonic` tells the time
    """
    count = text = 0
    waiting = [(top, -1, 0)]  # with the size, where it is known, and the level
    while waiting:
        directory, size, level = waiting.pop()
        if level > depth:
            yield directory, TOO_DEEP
            continue
        if level and monotonic() >= ends:
            yield directory, TIME_IS_OVER
            continue
        try:
            files = g._walked(directory, 0, most, size)  # all of `most`: what is left tells nothing of one
        except Error as error:
            yield directory, error
            continue
        reason = ""
        if count + len(files) > most:
            reason = f"{top}: more than {most} files"
        elif text + _text_of(files) > MAX_TEXT:
            reason = f"{top}: the paths have more than {MAX_TEXT} bytes"
        if reason:
            yield directory, Error("walk", reason, errno.EFBIG)
            return
        yield directory, files
        count += len(files)
        text += _text_of(files)
        waiting += [(file.path, file.size, level + 1) for file in reversed(files) if file.kind == "d"]


def _text_of(files: Iterable[GuestFile]) -> int:
    """Return how many bytes the paths and the targets of symlinks take."""
    return sum(len((file.path + file.target).encode(errors="surrogateescape")) for file in files)
