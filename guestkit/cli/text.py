"""Text for people. A guest's text is hostile: none of it reaches a terminal or a pipe unescaped."""

from __future__ import annotations

import time
from collections.abc import Iterable

from guestkit._text import human_size as human_size
from guestkit._text import printable as printable

MAX_PADDING = 40  # one long name must not push every line off the screen


def one_line(text: str) -> str:
    """Escape the text and join it into one line."""
    return printable(" ".join(text.split()))


def visible(text: str) -> str:
    """Escape everything invisible except line breaks and tabs."""
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))


def utc(seconds: int) -> str:
    """Format the time in UTC, because the guest's timezone may differ from the host's."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))
    except (OverflowError, OSError, ValueError):  # the guest may claim any number
        return str(seconds)


def columns(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Escape the cells and align them."""
    cells = [tuple(map(printable, row)) for row in rows]
    widths = [min(max(map(len, column)), MAX_PADDING) for column in zip(*cells, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
