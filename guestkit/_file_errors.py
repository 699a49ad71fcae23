"""The errors of the filesystem: OSError of the kinds that fsspec's users expect, with guestkit's as cause."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from guestkit.errors import Error


@contextmanager
def about(path: str) -> Iterator[None]:
    """Raise what libguestfs says of a file as the OSError of that kind, about this path.

    What is wrong with the handle rather than with a file stays what it is: ApplianceCrashed, CallTimeout, …
    """
    try:
        yield
    except Error as error:
        if type(error) is not Error:
            raise
        raise failure(error.errno or errno.EIO, path) from error


def failure(number: int, path: str, reason: str = "") -> OSError:
    """Return the OSError of that number. Only the reason reaches a terminal as it is: no text of a guest."""
    kind = PermissionError if number == errno.EROFS else OSError  # OSError chooses its subclass by the number
    return kind(number, reason or os.strerror(number), path)


def is_about_a_file(error: OSError) -> bool:
    """Return whether the error tells something of a file: CallTimeout is an OSError, too."""
    return not isinstance(error, Error) and error.errno not in (errno.EINTR, errno.EFBIG)


#: What `exists` answers with False.
NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)

_SPECIAL = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a block device",
    stat.S_IFCHR: "a character device",
}


def check_regular(path: str, mode: int) -> None:
    """Raise OSError if a file of that mode, as in stat, is not regular: opening a FIFO might never end."""
    if stat.S_ISDIR(mode):
        raise failure(errno.EISDIR, path)
    if not stat.S_ISREG(mode):
        what = _SPECIAL.get(stat.S_IFMT(mode), "no regular file")
        raise failure(errno.EINVAL, path, f"{what}, which is not opened")
