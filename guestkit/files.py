"""A guest's files as values: their paths and kinds, and what `Guestfs.walk` and `Guestfs.extract` return."""

from __future__ import annotations

import posixpath
import re
import stat
from typing import cast

from guestkit import _native
from guestkit.generated.values import Extracted, FileKind, GuestFile, SkippedFile

__all__ = [
    "CHUNK",
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_ENTRIES",
    "MAX_TEXT",
    "SMALL_FILE",
    "Extracted",
    "FileKind",
    "GuestFile",
    "SkippedFile",
    "absolute",
    "guest_path",
    "kind_of",
    "mode_of",
    "word_for",
]

#: The largest file that `read_small` and `read_files` read by default, in bytes.
SMALL_FILE = 2 << 20

#: The most that guestkit reads or writes by one message of libguestfs, in bytes.
CHUNK = 2 << 20

# The limits of `Guestfs.walk` and `Guestfs.extract`, unless the caller states others.
#: Levels of directories below the first one.
MAX_DEPTH = _native.MAX_DEPTH
#: Files, and what else has a name.
MAX_ENTRIES = _native.MAX_ENTRIES
#: Bytes of all files together that are copied.
MAX_BYTES = _native.MAX_BYTES
#: Bytes of all paths and targets of symlinks together.
MAX_TEXT = _native.MAX_TEXT

_MODES: dict[FileKind, int] = {
    "-": stat.S_IFREG,
    "d": stat.S_IFDIR,
    "l": stat.S_IFLNK,
    "b": stat.S_IFBLK,
    "c": stat.S_IFCHR,
    "p": stat.S_IFIFO,
    "s": stat.S_IFSOCK,
}

_WORDS: dict[FileKind, str] = {
    "-": "file",
    "d": "directory",
    "l": "symlink",
    "b": "block device",
    "c": "character device",
    "p": "FIFO",
    "s": "socket",
    "?": "unknown",
}


def mode_of(file: GuestFile) -> int:
    """Return the file's kind and permissions as in `st_mode`."""
    return _MODES.get(file.kind, 0) | file.mode


def kind_of(mode: int) -> FileKind:
    """Return the kind in an `st_mode`."""
    return cast(FileKind, stat.filemode(mode)[0])


def word_for(kind: FileKind) -> str:
    """Return what people call such a file."""
    return _WORDS[kind]


def guest_path(path: str) -> str:
    """Return the guest path without `.`, `..` and double slashes. Raise ValueError if it is not absolute."""
    if not path.startswith("/"):
        raise ValueError(f"a path in the guest begins with /: {path!r}{_of_windows(path)}")
    return absolute(path)


def _of_windows(path: str) -> str:
    r"""Return how to spell a path like C:\Windows\win.ini; "" for any other."""
    found = re.match(r"([A-Za-z]):[\\/]*(.*)", path, re.DOTALL)
    if found is None:
        return ""
    instead = "/" + found[2].replace("\\", "/")
    case = "with capitals as the files have them, which case_sensitive_path tells"
    return f"; on the filesystem of drive {found[1]} that is {instead!r}, {case}"


def absolute(text: str) -> str:
    """Return the path in the guest, without `.`, `..` and double slashes: none leads out, whoever names it.

    Without a slash it begins at the root, too.
    """
    return posixpath.normpath("/" + text.lstrip("/"))
