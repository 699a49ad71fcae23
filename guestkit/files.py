"""A guest's files as values: what `Guestfs.walk` and `Guestfs.extract` return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

#: The most that `read_small` and `read_files` take of a file by default, in bytes.
SMALL_FILE = 2 << 20

FileKind = Literal["-", "d", "l", "b", "c", "p", "s", "?"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestFile:
    """A file of the guest, as lstat sees it.

    Attributes:
        kind: as in `ls -l`: "-" regular, "d" directory, "l" symlink, "b", "c" devices, "p" FIFO, "s" socket
        mode: the permissions
        mtime: in seconds since 1970
        target: where a symlink points
    """

    path: str
    kind: FileKind
    size: int
    mode: int
    uid: int
    gid: int
    mtime: int
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedFile:
    """A file that `extract` did not copy, or not to its end, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracted:
    """What `extract` has copied."""

    files: int
    directories: int
    symlinks: int
    bytes: int
    skipped: Sequence[SkippedFile]


def extracted(found: Mapping[str, Any]) -> Extracted:
    """Make the value of the bindings' dict."""
    return Extracted(**{**found, "skipped": tuple(SkippedFile(**file) for file in found["skipped"])})
