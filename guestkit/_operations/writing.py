"""Writing into a guest's files."""

from __future__ import annotations

import errno
import posixpath
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guestkit._file_errors import about, check_regular, failure
from guestkit._operations.paths import resolved, seen_at
from guestkit._operations.replacing import aside_of, make_directories, or_removed
from guestkit.errors import Error
from guestkit.files import CHUNK
from guestkit.handle import Guestfs

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


@dataclass(frozen=True, slots=True)
class Place:
    """Where an open file is written.

    Attributes:
        path: the file
        offset: where in it
        final: whose place it takes in the end; "": it is that file itself
    """

    path: str
    offset: int
    final: str = ""


def begin(
    g: Guestfs, path: str, mode: str, aside: bool, parents: bool, permissions: int | None = None
) -> Place:
    """Create a file, empty it, or find its end, as `mode` says: with "w", "x" or "a".

    aside: write another file, which `settle` puts in its place
    permissions: of a new file, as in chmod(2); None: 0644
    """
    with about(path):
        size = size_at(g, path, exclusive="x" in mode, parents=parents)
        offset = size if size is not None and "a" in mode else 0
        if aside:
            final = path if size is None else resolved(g, path)
            path = aside_of(final)
            with or_removed(g, path):
                # What is to take a secret's place is not for others either; `settle` gives it the mode.
                make(g, path, permissions if size is None else 0o600)
                if offset:
                    copy_content(g, final, path, offset)
            return Place(path, offset, final)
        if size is None:
            make(g, path, permissions)
        elif not offset:
            g.write(path, b"")
        return Place(path, offset)


def settle(g: Guestfs, place: Place, keep: bool) -> None:
    """Put the file in its place, with owner, permissions and labels of what was there; or remove it."""
    with about(place.final):
        if not keep:
            return g.rm(place.path)
        with or_removed(g, place.path):
            old = seen_at(g.statns, place.final)
            if old is not None:
                g.chown(old["st_uid"], old["st_gid"], place.path)  # first: it takes setuid and setgid away
                g.chmod(stat.S_IMODE(old["st_mode"]), place.path)
                try:
                    g.copy_attributes(place.final, place.path, xattributes=True)
                except Error as error:
                    if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS):  # a filesystem without labels
                        raise
            return g.rename(place.path, place.final)


def make(g: Guestfs, path: str, permissions: int | None) -> None:
    """Make an empty file with these permissions, before it has content that they protect; None: 0644."""
    g.write(path, b"")
    if permissions is not None:
        g.chmod(permissions, path)


def write(g: Guestfs, path: str, data: ReadableBuffer, offset: int) -> None:
    """Write into a file that is there."""
    rest = memoryview(data).cast("B")
    with about(path):
        if rest:  # the name may meanwhile be another file's
            check_regular(path, g.statns(path)["st_mode"])
        while rest:
            written = g.pwrite(path, rest[:CHUNK], offset)
            if not written:
                raise failure(errno.EIO, path)
            rest = rest[written:]
            offset += written


def put(
    g: Guestfs, path: str, data: ReadableBuffer, mode: str, parents: bool, permissions: int = 0o644
) -> None:
    """Make the data the content of a file: two calls for a small one.

    permissions: of a new file, as in chmod(2)
    """
    whole = memoryview(data).cast("B")
    with about(path):
        size = size_at(g, path, exclusive="x" in mode, parents=parents)
        if size is None and permissions != 0o644:
            make(g, path, permissions)
        g.write(path, whole[:CHUNK])
    write(g, path, whole[CHUNK:], CHUNK)


def append(g: Guestfs, path: str, data: ReadableBuffer) -> None:
    """Write at the end of a file that is there."""
    with about(path):
        end = g.statns(path)["st_size"]
    write(g, path, data, end)


def touch(g: Guestfs, path: str, truncate: bool, parents: bool) -> None:
    """Create an empty file, or empty it, or only set its time."""
    with about(path):
        size = size_at(g, path, exclusive=False, parents=parents)
        if truncate or size is None:
            g.write(path, b"")
        else:
            g.touch(resolved(g, path))  # which refuses a symlink


def copy_content(g: Guestfs, old: str, new: str, size: int) -> None:
    """Copy a regular file. The other one is not a directory, a FIFO or a device."""
    if size <= CHUNK:
        g.write(new, g.pread(old, size, 0) if size else b"")
        return
    g.write(new, b"")  # creates it where a symlink leads to, in the guest
    g.copy_file_to_file(resolved(g, old), resolved(g, new))


def size_at(g: Guestfs, path: str, *, exclusive: bool, parents: bool) -> int | None:
    """Return the size of the file that is to be written, None if there is none yet; raise OSError.

    exclusive: raise FileExistsError for any that is there
    parents: make the directories above it
    """
    seen = seen_at(g.statns, path)
    if exclusive and (seen or seen_at(g.lstatns, path)):
        raise failure(errno.EEXIST, path)
    if seen is None:
        if parents:
            make_directories(g, posixpath.dirname(path))
        return None
    check_regular(path, seen["st_mode"])
    return seen["st_size"]
