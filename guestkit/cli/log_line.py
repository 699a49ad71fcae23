"""What --log-json makes of a message."""

from __future__ import annotations

import json
import time


def as_json(level: str, text: str) -> str:
    """Return the line of stderr, in ASCII."""
    now = time.time()
    when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03}Z"
    return json.dumps({"time": when, "level": level, "message": text})
