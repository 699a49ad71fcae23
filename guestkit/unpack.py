"""How compressed disks and archives of them (OVA) are unpacked.

The work is done by guestkit._unpacking. It needs readers for XML and archives, so only packed disks load it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

#: The values of `ImageInfo.content` that can be unpacked.
PACKED = ("gzip", "xz", "zstd", "bzip2", "tar")


@dataclass(frozen=True, slots=True)
class UnpackLimits:
    """Limits for unpacking a disk, and which disk of an archive to take.

    Attributes:
        size: how large the result may become, in bytes; for an archive, all its disks together
        seconds: how long unpacking may take
        member: the name of the one file to take from an archive; None: all disks of its guest
    """

    size: int = 256 << 30
    seconds: float = 3600.0
    member: StrOrBytesPath | None = None


UNPACK = UnpackLimits()
