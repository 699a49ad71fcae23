"""A guest's files as values: what `Guestfs.walk` and `Guestfs.extract` return."""

from __future__ import annotations

import stat

from guestkit.generated.values import Extracted, FileKind, GuestFile, SkippedFile

__all__ = ["SMALL_FILE", "Extracted", "FileKind", "GuestFile", "SkippedFile", "mode_of"]

#: The largest file that `read_small` and `read_files` read by default, in bytes.
SMALL_FILE = 2 << 20

_KINDS: dict[FileKind, int] = {
    "-": stat.S_IFREG,
    "d": stat.S_IFDIR,
    "l": stat.S_IFLNK,
    "b": stat.S_IFBLK,
    "c": stat.S_IFCHR,
    "p": stat.S_IFIFO,
    "s": stat.S_IFSOCK,
}


def mode_of(file: GuestFile) -> int:
    """Return the file's kind and permissions as in `st_mode`."""
    return _KINDS.get(file.kind, 0) | file.mode
