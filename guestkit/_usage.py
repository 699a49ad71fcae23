"""How full a filesystem is, told the same everywhere."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from guestkit.inspection import Filesystem


def used_share(used: int, available: int) -> float | None:
    """Return which share of a filesystem is used, from 0 to 1, as df(1) counts it; None if it has no size.

    What is kept for root is neither used nor available, so a filesystem without available space is full.

    used, available: in bytes
    """
    used, available = max(used, 0), max(available, 0)
    return used / (used + available) if used + available else None


def share_of(filesystem: Filesystem) -> float | None:
    """Return the same of an inspected filesystem, where what is kept for root counts as available."""
    if not filesystem.size or filesystem.used is None:
        return None
    return used_share(filesystem.used, filesystem.size - filesystem.used)


def percent(share: float) -> int:
    """Return a share in percent, rounded up as df(1) does: a filesystem at 0 is empty."""
    return math.ceil(round(share * 100, 9))  # 0.07 * 100 is a little more than 7
