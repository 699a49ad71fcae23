"""Turns a dataclass into dictionaries, for `json.dumps`."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any


def plain(value: Any) -> dict[str, Any]:
    """Return the dataclass and everything in it as dictionaries and tuples; bytes become base64."""
    return asdict(value, dict_factory=_without_bytes)


def _without_bytes(fields: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {
        name: base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else value
        for name, value in fields
    }
