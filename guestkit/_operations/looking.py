"""What fsspec and the servers tell about a guest's files."""

from __future__ import annotations

import errno
import posixpath
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from guestkit._file_errors import about, failure, is_about_a_file
from guestkit._operations.paths import seen_at
from guestkit.errors import Error
from guestkit.files import FileKind, GuestFile, kind_of, mode_of
from guestkit.handle import Guestfs

if TYPE_CHECKING:
    from guestkit.generated.structs import StatNS

#: What fsspec calls the information about a file.
Entry = dict[str, Any]

#: What fsspec calls the kinds of files; the others are "other".
_TYPES: dict[FileKind, str] = {"-": "file", "d": "directory", "l": "link"}

A = TypeVar("A")


def info(g: Guestfs, path: str) -> Entry:
    """Return what is known about a file; a symlink is followed, and its own target told too."""
    with about(path):
        seen = g.lstatns(path)
        if not stat.S_ISLNK(seen["st_mode"]):
            return _entry(path, seen)
        directory, name = posixpath.split(path)
        (target,) = g.readlinklist(directory, [name])
        return _entry(path, g.statns(path), target)


def status(g: Guestfs, path: str, follow: bool) -> StatNS:
    """Return the whole status of a file. follow: of the one that a symlink leads to."""
    with about(path):
        return g.statns(path) if follow else g.lstatns(path)


def target(g: Guestfs, path: str) -> str:
    """Return what a symlink says."""
    with about(path):
        if not stat.S_ISLNK(g.lstatns(path)["st_mode"]):
            raise failure(errno.EINVAL, path, "no symlink")
        directory, name = posixpath.split(path)
        return g.readlinklist(directory, [name])[0]


def check_there(g: Guestfs, path: str) -> None:
    """Raise OSError if there is no such name; a symlink that leads nowhere is one."""
    with about(path):
        g.lstatns(path)


def listing(g: Guestfs, path: str, most: int) -> list[Entry]:
    """Return what is in a directory, or the file itself. Symlinks in the directory are not followed.

    most: more entries raise OSError with EFBIG
    """
    with about(path):
        seen = g.statns(path)
    if not stat.S_ISDIR(seen["st_mode"]):
        return [info(g, path)]
    return _entries(g, path, seen["st_size"], most)


def tree(
    g: Guestfs,
    path: str,
    *,
    depth: int | None,
    prefix: str,
    most: int,
    failed: Callable[[OSError], object],
) -> dict[str, list[Entry]]:
    """Return the listings of a directory and of all below it. Symlinks are not followed.

    depth: how many levels; None: all
    prefix: what names in the first directory begin with
    most: more entries, all together, raise OSError with EFBIG
    failed: called for each directory below the first one that cannot be read
    """
    with about(path):
        seen = g.statns(path)
    top = _entries(g, path, seen["st_size"], most)
    found = {path: [entry for entry in top if posixpath.basename(entry["name"]).startswith(prefix)]}
    count = len(found[path])
    waiting = [(entry, 1) for entry in reversed(found[path]) if entry["type"] == "directory"]
    while waiting:
        directory, level = waiting.pop()
        if depth is not None and level >= depth:
            continue
        try:
            below = _entries(g, directory["name"], directory["size"], most - count)
        except OSError as error:
            if not is_about_a_file(error):
                raise
            failed(error)
            continue
        count += len(below)
        found[directory["name"]] = below
        waiting += [(entry, level + 1) for entry in reversed(below) if entry["type"] == "directory"]
    return found


def link_count(g: Guestfs, path: str) -> int:
    """Return how many names a file has, 0 if there is none."""
    seen = seen_at(g.statns, path)
    return 0 if seen is None else seen["st_nlink"]


def is_directory(g: Guestfs, path: str) -> bool:
    """Return whether the path is, or leads to, a directory."""
    seen = seen_at(g.statns, path)
    return seen is not None and stat.S_ISDIR(seen["st_mode"])


def _entries(g: Guestfs, path: str, size: int, most: int) -> list[Entry]:
    try:
        files = g._walked(path, 0, most, size)
    except Error as error:
        if error.errno == errno.EFBIG:
            reason = (
                "more files than the limit (max_entries), or names that once took more space;"
                " a directory does not shrink with its files: a copy of it may be small"
            )
            raise failure(errno.EFBIG, path, reason) from error
        with about(path):
            raise
    start = len(path.rstrip("/")) + 1
    # A corrupt filesystem may have names that are no names, and the host's paths are made from these.
    return [_listed(file) for file in files if "/" not in file.path[start:]]


def _entry(path: str, seen: StatNS, target: str | None = None) -> Entry:
    """Return the information about a file with this status. target: of the symlink that led there."""
    mode = seen["st_mode"]
    known: Entry = {
        "name": path,
        "size": seen["st_size"],
        "type": _TYPES.get(kind_of(mode), "other"),
        "mode": mode,
        "uid": seen["st_uid"],
        "gid": seen["st_gid"],
        "mtime": seen["st_mtime_sec"],
        "islink": target is not None,
    }
    if target is not None:
        known["destination"] = target
    return known


def _listed(file: GuestFile) -> Entry:
    """Return the same of a file in a listing, in which symlinks are not followed."""
    known: Entry = {
        "name": file.path,
        "size": file.size,
        "type": _TYPES.get(file.kind, "other"),
        "mode": mode_of(file),
        "uid": file.uid,
        "gid": file.gid,
        "mtime": file.mtime,
        "islink": file.kind == "l",
    }
    if known["islink"]:
        known["destination"] = file.target
    return known
