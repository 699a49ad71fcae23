"""Hashes of disks, read in pieces."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guestkit._text import without_secrets

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

#: Bytes that are read at once.
PIECE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskHash:
    """The hash of a disk: of the file as it lies on the host, not of what an image contains.

    Attributes:
        name: the last part of the disk's name
        sha256: in hexadecimal; "" if the disk could not be read to its end
        failure: why not
    """

    name: str
    sha256: str
    failure: str = ""


def hash_disks(
    disks: Iterable[StrOrBytesPath], progress: Callable[[int], object] | None = None
) -> tuple[DiskHash, ...]:
    """Return the hash of each disk. One that cannot be read has a failure instead.

    progress: called with the number of bytes read of the current disk
    """
    if isinstance(disks, (str, bytes, os.PathLike)):  # whose letters would be disks
        raise TypeError("hash_disks() takes a sequence of disks")
    return tuple(_hashed(os.fsdecode(disk), progress) for disk in disks)


def _hashed(disk: str, progress: Callable[[int], object] | None) -> DiskHash:
    shown = without_secrets(disk)
    name = os.path.basename(shown) or shown
    try:
        return DiskHash(name=name, sha256=_sha256(disk, progress))
    except OSError as error:
        return DiskHash(name=name, sha256="", failure=error.strerror or str(error))


def _sha256(disk: str, progress: Callable[[int], object] | None) -> str:
    # Opening a FIFO would otherwise wait for a writer.
    with open(
        disk, "rb", buffering=0, opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)
    ) as file:
        mode = os.fstat(file.fileno()).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
            raise OSError(errno.EINVAL, "neither a file nor a block device")
        digest, piece, done = hashlib.sha256(), bytearray(PIECE), 0
        while count := file.readinto(piece):
            digest.update(memoryview(piece)[:count])
            done += count
            if progress is not None:
                progress(done)
        return digest.hexdigest()
