"""SOURCE_DATE_EPOCH: the time that a document tells, where the same input must give the same bytes."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime

from guestkit.errors import Error


def source_date(op: str) -> datetime | None:
    """Return the time that SOURCE_DATE_EPOCH states; None if it is unset or empty.

    op: the function in whose name Error (EINVAL) is raised if it is no number
    """
    stated = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not stated:
        return None
    try:
        return datetime.fromtimestamp(int(stated), UTC)
    except (ValueError, OverflowError, OSError):
        message = f"SOURCE_DATE_EPOCH must be a number of seconds since 1970, not {stated!r}"
        raise Error(op, message, errno.EINVAL) from None
