"""Disk images, examined before QEMU opens them.

    info = probe("disk.qcow2")
    print(info.format, info.virtual_size, info.references)

guestkit reads the headers itself, because QEMU would guess the format and open any other file that the image
names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guestkit import _native
from guestkit.errors import Error
from guestkit.generated.values import ImageExtent, ImageInfo, ImageReference, ImageSnapshot
from guestkit.unpack import PACKED

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath


__all__ = [
    "ImageExtent",
    "ImageInfo",
    "ImageReference",
    "ImageSnapshot",
    "packed_by",
    "probe",
]


def probe(path: StrOrBytesPath, format: str | None = None) -> ImageInfo:
    """Find out what the disk image is, and everything outside the file that it refers to.

    Reads the header and, of a qcow2, at most 160 MiB of tables; opens no other file and starts nothing.
    Takes only regular files and block devices, so a FIFO cannot make it hang. Raises Error that says what is
    wrong with the image, and at which offset.

    format: QEMU's name; None: detect it from the start of the file. A guest can make its raw disk look like
        any other format, so state "raw" if you know that it is
    """
    return ImageInfo.from_native(_native.probe(path, format))


def packed_by(path: StrOrBytesPath) -> str:
    """Return how the file is packed: one of PACKED, or "" for a disk or anything else."""
    try:
        content = probe(path, "raw").content  # as raw, so that the tables of a large disk are not read
        return content if content in PACKED and probe(path).format == "raw" else ""
    except Error:
        return ""
