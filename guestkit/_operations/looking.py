"""What fsspec and the servers tell about a guest's files."""

from __future__ import annotations

import errno
import math
import posixpath
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from guestkit._file_errors import about, failure, is_about_a_file
from guestkit._operations.paths import seen_at
from guestkit._operations.trees import below
from guestkit.errors import Error
from guestkit.files import MAX_TEXT, FileKind, GuestFile, kind_of, mode_of
from guestkit.handle import Guestfs

if TYPE_CHECKING:
    from guestkit.generated.structs import StatNS

#: What fsspec calls the information about a file.
Entry = dict[str, Any]

#: What fsspec calls the kinds of files; the others are "other".
_TYPES: dict[FileKind, str] = {"-": "file", "d": "directory", "l": "link"}

#: Why a directory is not listed, by what has reached its limit: all files together, or a single directory.
_TOO_LARGE = {
    "walk": f"more files than the limit (max_entries), or {MAX_TEXT >> 20} MiB of paths",
    "readdir": "names that once took more space than the limit (max_entries) permits; a directory does not"
    " shrink with its files: a copy of it may be small",
}


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
    with about(path, _TOO_LARGE):
        files = g._walked(path, 0, most, seen["st_size"])
    return [_listed(file) for file in _named(files, path)]


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
    found: dict[str, list[Entry]] = {}
    for directory, files in below(g, path, depth=math.inf if depth is None else depth - 1, most=most):
        if isinstance(files, list):
            files[:] = _named(files, directory, prefix if directory == path else "")
            found[directory] = [_listed(file) for file in files]
        elif isinstance(files, Error):
            try:
                with about(directory, _TOO_LARGE):
                    raise files
            except OSError as error:
                if directory == path or not is_about_a_file(error):
                    raise
                failed(error)
    return found


def link_count(g: Guestfs, path: str) -> int:
    """Return how many names a file has, 0 if there is none."""
    seen = seen_at(g.statns, path)
    return 0 if seen is None else seen["st_nlink"]


def is_directory(g: Guestfs, path: str) -> bool:
    """Return whether the path is, or leads to, a directory."""
    seen = seen_at(g.statns, path)
    return seen is not None and stat.S_ISDIR(seen["st_mode"])


def _named(files: list[GuestFile], directory: str, prefix: str = "") -> list[GuestFile]:
    """Return the files in a directory whose names begin so.

    A corrupt filesystem may have names that are no names, and the host's paths are made from these.
    """
    start = len(directory.rstrip("/")) + 1
    named = ((file.path[start:], file) for file in files)
    return [file for name, file in named if "/" not in name and name.startswith(prefix)]


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
