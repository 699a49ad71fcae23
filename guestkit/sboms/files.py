"""Bills of materials as files: their names in a directory, and how they are written."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Sequence
from typing import TYPE_CHECKING

from guestkit.sboms import FORMATS

if TYPE_CHECKING:
    from guestkit.sboms import Sbom, SbomFormat

#: Bytes in a file's name, less room for the ending, and for a number.
_LONGEST = 200


def file_names(disks: Sequence[str], format: SbomFormat) -> list[str]:
    """Return a name for the bill of each guest, by its first disk; no two are the same."""
    taken: set[str] = set()
    names = []
    for disk in disks:
        stem = _safe(disk)
        number = 1
        name = f"{stem}{FORMATS[format]}"
        while name in taken:
            number += 1
            name = f"{stem}-{number}{FORMATS[format]}"
        taken.add(name)
        names.append(name)
    return names


def _safe(disk: str) -> str:
    """Return the last part of the disk's name without what is special in a shell, or leads elsewhere."""
    stem = re.sub(r"[^\w.+@=,-]", "_", os.path.basename(disk.rstrip("/")))
    stem = stem.encode()[:_LONGEST].decode(errors="ignore")
    return re.sub(r"^[.-]", "_", stem) or "disk"


def write(bill: Sbom, path: str, *, through: bool = False) -> None:
    """Write the bill to that file. What is there is replaced when the new one is complete.

    through: write through a link or into a device or FIFO, such as /dev/stdout, if the path is one: for paths
        that the user has chosen. In a directory, who may write there may have put a link.
    """
    if through and os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
        with open(path, "w", encoding="ascii") as file:
            file.write(bill.to_json())
        return
    new = os.path.join(os.path.dirname(path), f".guestkit-{secrets.token_hex(8)}")
    try:
        with open(new, "x", encoding="ascii") as file:
            file.write(bill.to_json())
        os.replace(new, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise
