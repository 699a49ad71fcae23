"""An inspection that found nothing, for tests to fill in by `replace`."""

from __future__ import annotations

from guestkit import Inspection
from guestkit.inspection import ALL_PARTS, Provenance

NOTHING_FOUND = Inspection(
    provenance=Provenance(
        way="fast",
        reason="",
        guestkit="0.4.0",
        libguestfs="1.48.6",
        verified=False,
        differences=(),
        corrections=(),
        parts=tuple(ALL_PARTS),
    ),
    disks=(),
    partitions=(),
    layers=(),
    filesystems=(),
    unopened=(),
    operating_systems=(),
    failures=(),
)
