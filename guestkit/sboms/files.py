"""The names of bills of materials in a directory."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from guestkit.sboms import FORMATS

if TYPE_CHECKING:
    from guestkit.sboms import SbomFormat

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
