"""Reading a guest whose filesystems are mounted: its directories as lists, its files piece by piece.

File names and content come from the guest: treat them as hostile.
"""

from __future__ import annotations

import errno
import logging
import stat
from collections.abc import Callable, Generator

from guestkit._text import printable
from guestkit._walk import told, walk
from guestkit.errors import Error
from guestkit.files import CHUNK, GuestFile, kind_of
from guestkit.handle import Guestfs, check_blocking

__all__ = ["list_files", "lstat", "read_chunks"]

_log = logging.getLogger("guestkit")


def _warn(sentence: str) -> None:
    _log.warning("%s", printable(sentence))


def list_files(
    g: Guestfs, path: str, *, recursive: bool = False, left_out: Callable[[str], object] = _warn
) -> list[GuestFile]:
    """Return what is in a directory, or the file itself. A `path` that is a symlink to one is followed.

    recursive: everything below, each directory before its entries; no symlinks are followed there
    left_out: called with a sentence on each directory below that is too deep or cannot be read; default: a
        warning in the log
    """
    check_blocking("list_files", g)
    if not g.is_dir(path, followsymlinks=True):
        return [lstat(g, path)]
    if not recursive:
        return g.walk(path, max_depth=0)
    files, unread = walk(g, path)
    for sentence in told(unread):
        left_out(sentence)
    return files


def lstat(g: Guestfs, path: str) -> GuestFile:
    """Return a file as lstat sees it; raise Error with ENOENT if there is none."""
    check_blocking("lstat", g)
    seen = g.lstatns(path)
    kind = kind_of(seen["st_mode"])
    return GuestFile(
        path=path,
        kind=kind,
        size=seen["st_size"],
        mode=stat.S_IMODE(seen["st_mode"]),
        uid=seen["st_uid"],
        gid=seen["st_gid"],
        mtime=seen["st_mtime_sec"],
        target=g.readlink(path) if kind == "l" else "",
    )


def read_chunks(g: Guestfs, path: str) -> Generator[bytes, None, None]:
    """Yield the content of a regular file of any size; a symlink is followed in the guest.

    Raises Error for anything but a regular file: a FIFO or a device could hang the appliance.
    """
    if not g.is_file(path, followsymlinks=True):
        there = g.exists(path)
        reason = "is no regular file" if there else "no such file"
        raise Error("read_chunks", f"{path}: {reason}", errno.EINVAL if there else errno.ENOENT)
    offset = 0
    while chunk := g.pread(path, CHUNK, offset):
        yield chunk
        offset += len(chunk)
