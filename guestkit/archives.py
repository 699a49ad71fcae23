"""Archives of disks, examined without unpacking them.

for disk in disks_in_archive("web.ova"):
    print(printable(disk.name), disk.size)
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guestkit._unpacking import listed
from guestkit.errors import Error

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

__all__ = ["ArchivedDisk", "disks_in_archive"]


@dataclass(frozen=True, slots=True)
class ArchivedDisk:
    """A disk in an archive.

    Attributes:
        name: of the file that it is, in the archive, whose maker chose it: `printable` escapes it
        size: of that file, in bytes: not of the disk, where the file is an image or compressed
    """

    name: str
    size: int


def disks_in_archive(path: StrOrBytesPath) -> tuple[ArchivedDisk, ...]:
    """Return the disks of the guest in an OVA or another tar archive, in the guest's order; at least one.

    Reads the list of files and the descriptor (OVF); unpacks nothing. `UnpackLimits.member` takes a name.
    Raises Error if it cannot be read or is no tar archive, also if it is a compressed one, if there is no
    disk in it, or if it is unclear which files are disks.
    """
    name = os.fsdecode(path)
    try:
        return tuple(ArchivedDisk(*each) for each in listed(path))
    except Error as error:
        raise error.reworded(f"{name}: {error.message}") from error
    except OSError as error:
        raise Error("probe", f"{name}: {error.strerror}", error.errno or 0) from error
