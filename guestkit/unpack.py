"""How compressed disks and archives of them (OVA) are unpacked.

guestkit._unpacking does it. Only a disk that is packed has it loaded, with readers of XML and archives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

#: What `probe` calls the content of a file that can be unpacked.
PACKED = ("gzip", "xz", "zstd", "bzip2", "tar")


@dataclass(frozen=True, slots=True)
class UnpackLimits:
    """How a packed disk is unpacked.

    Attributes:
        size: how large it may become, in bytes; all disks of an archive together
        seconds: how long that may take
        member: the name of the one file of an archive that is wanted; None: all disks of its guest
    """

    size: int = 256 << 30
    seconds: float = 3600.0
    member: StrOrBytesPath | None = None


UNPACK = UnpackLimits()
