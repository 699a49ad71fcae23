"""The content of a guest's files, whole or in part."""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from guestkit._file_errors import about, check_regular, failure, is_about_a_file
from guestkit._operations.looking import status
from guestkit.errors import Error
from guestkit.files import CHUNK
from guestkit.handle import Guestfs

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

    from guestkit.generated.structs import StatNS

_ZEROS = bytes(CHUNK)

A = TypeVar("A")

T = TypeVar("T")


def read(g: Guestfs, path: str, start: int | None, end: int | None, most: int) -> bytes:
    """Return a part of a regular file, as a slice.

    most: a larger part raises OSError with EFBIG; it is what is left of max_bytes
    """
    return _read(g, path, status(g, path, True), slice(start, end), most)


def part(g: Guestfs, path: str, start: int, size: int) -> tuple[StatNS, bytes]:
    """Return the status of a regular file and, of its content, that part as far as there is one.

    size: at most `CHUNK`
    """
    return _part(g, path, status(g, path, True), start, size)


def read_each(g: Guestfs, wanted: Sequence[tuple[str, slice]], most: int) -> list[bytes | OSError]:
    """Return parts of many files, all together of at most that size, or why one cannot be read."""
    left = most

    def read_next(path: str, seen: StatNS, wanted: slice) -> bytes:
        nonlocal left
        data = _read(g, path, seen, wanted, left)
        left -= len(data)
        return data

    return _each(g, wanted, read_next)


def beginnings(g: Guestfs, wanted: Sequence[tuple[str, int]]) -> list[tuple[StatNS, bytes] | OSError]:
    """Return what `part` does of the beginning of many files, to that size, or why one cannot be read."""
    return _each(g, wanted, lambda path, seen, size: _part(g, path, seen, 0, size))


def at_once(path: str, flags: int) -> int:
    """Open a file of this host, for `open`: a FIFO that nobody else has open is no wait that nothing ends.

    To write into it is an error then, and to read from it finds its end.
    """
    descriptor = os.open(path, flags | os.O_NONBLOCK, 0o666)
    os.set_blocking(descriptor, True)
    return descriptor


def save_whole(g: Guestfs, path: str, size: int, target: StrOrBytesPath) -> None:
    """Copy a regular file of at most `CHUNK` to the host."""
    with open(target, "wb", opener=at_once) as file:
        if size:
            save(g, path, 0, file, False)


def save(g: Guestfs, path: str, offset: int, file: BinaryIO, holes: bool) -> int:
    """Copy the next part of a regular file into a file on the host; return its size, 0 at the end.

    holes: leave a hole for a part of zeros; the caller sets the file's size in the end
    """
    with about(path):
        part = g.pread(path, CHUNK, offset, memoryview=True)
    if holes and bytes(part) == _ZEROS[: len(part)]:  # a memoryview compares item by item
        file.seek(len(part), 1)
    else:
        file.write(part)
    return len(part)


def _read(g: Guestfs, path: str, seen: StatNS, wanted: slice, most: int) -> bytes:
    check_regular(path, seen["st_mode"])
    first, last, _ = wanted.indices(seen["st_size"])
    if last - first > most:
        raise failure(
            errno.EFBIG,
            path,
            f"{last - first} bytes are more than the {most} that max_bytes leaves to this call:"
            " read parts, or fewer files at once",
        )
    parts: list[memoryview] = []
    with about(path):
        while first < last:
            part = g.pread(path, min(CHUNK, last - first), first, memoryview=True)
            if not part:
                break
            parts.append(part)
            first += len(part)
    return b"".join(parts)


def _part(g: Guestfs, path: str, seen: StatNS, start: int, size: int) -> tuple[StatNS, bytes]:
    check_regular(path, seen["st_mode"])
    size = min(size, seen["st_size"] - start)
    with about(path):
        return seen, g.pread(path, size, start) if size > 0 else b""


def _each(
    g: Guestfs, wanted: Sequence[tuple[str, A]], function: Callable[[str, StatNS, A], T]
) -> list[T | OSError]:
    """Return what the function makes of each file, its status and what is wanted of it, or why it cannot."""
    known = _statuses(g, [path for path, _ in wanted])
    found: list[T | OSError] = []
    for path, what in wanted:
        try:
            found.append(function(path, known.get(path) or status(g, path, True), what))
        except OSError as error:
            if isinstance(error, (Error, InterruptedError)):
                raise
            found.append(error)
    return found


def _statuses(g: Guestfs, paths: Iterable[str]) -> dict[str, StatNS]:
    """Return what is known of files after one call for each directory.

    Missing are those of which it tells too little: symlinks, files that are not there, and all that are alone
    in their directory.
    """
    names: dict[str, list[str]] = {}
    for path in dict.fromkeys(paths):
        directory, name = posixpath.split(path)
        names.setdefault(directory, []).append(name)
    known: dict[str, StatNS] = {}
    for directory, several in names.items():
        if len(several) == 1:
            continue
        try:
            with about(directory):
                found = g.lstatnslist(directory, several)
        except OSError as error:  # what is wrong is told of each file
            if not is_about_a_file(error):
                raise
            continue
        for name, seen in zip(several, found, strict=True):
            if seen["st_ino"] != -1 and not stat.S_ISLNK(seen["st_mode"]):
                known[posixpath.join(directory, name)] = seen
    return known
