"""The errors of the filesystem: OSError of the kinds that fsspec's users expect, with guestkit's as cause."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from guestkit.errors import Error
from guestkit.files import kind_of, word_for

_NOTHING: Mapping[str, str] = MappingProxyType({})


@contextmanager
def about(path: str, too_large: Mapping[str, str] = _NOTHING) -> Iterator[None]:
    """Raise what libguestfs says of a file as the OSError of that kind, about this path.

    What is wrong with the handle rather than with a file stays what it is: ApplianceCrashed, CallTimeout, …

    too_large: the reasons that are told for EFBIG, by the op of the error
    """
    try:
        yield
    except Error as error:
        if type(error) is not Error:
            raise
        reason = too_large.get(error.op, "") if error.errno == errno.EFBIG else ""
        raise failure(error.errno or errno.EIO, path, reason) from error


def failure(number: int, path: str, reason: str = "") -> OSError:
    """Return the OSError of that number. Only the reason reaches a terminal as it is: no text of a guest."""
    kind = PermissionError if number == errno.EROFS else OSError  # OSError chooses its subclass by the number
    return kind(number, reason or os.strerror(number), path)


def is_about_a_file(error: OSError) -> bool:
    """Return whether the error tells something of a file: CallTimeout is an OSError, too.

    EFBIG does so if a single directory promises too many names; else it is the limit of all files together.
    """
    if error.errno == errno.EFBIG:
        return isinstance(error.__cause__, Error) and error.__cause__.op == "readdir"
    return not isinstance(error, Error) and error.errno != errno.EINTR


#: What `exists` answers with False.
NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


def check_regular(path: str, mode: int) -> None:
    """Raise OSError if a file of that mode, as in stat, is not regular: opening a FIFO might never end."""
    kind = kind_of(mode)
    if kind == "d":
        raise failure(errno.EISDIR, path)
    if kind != "-":
        what = "no regular file" if kind == "?" else f"a {word_for(kind)}"
        raise failure(errno.EINVAL, path, f"{what}, which is not opened")
