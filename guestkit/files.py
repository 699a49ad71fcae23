"""A guest's files as values: what `Guestfs.walk` and `Guestfs.extract` return."""

from __future__ import annotations

from guestkit.generated.values import Extracted, FileKind, GuestFile, SkippedFile

__all__ = ["SMALL_FILE", "Extracted", "FileKind", "GuestFile", "SkippedFile"]

#: The largest file that `read_small` and `read_files` read by default, in bytes.
SMALL_FILE = 2 << 20
