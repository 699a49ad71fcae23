"""Text for people. A guest's text is hostile: none of it reaches a terminal or a pipe unescaped."""

from __future__ import annotations

from collections.abc import Iterable

from guestkit._text import printable as printable

MAX_PADDING = 40  # one long name must not push every line off the screen


def one_line(text: str) -> str:
    """Escape the text and join it into one line."""
    return printable(" ".join(text.split()))


def columns(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Escape the cells and align them."""
    cells = [tuple(map(printable, row)) for row in rows]
    widths = [min(max(map(len, column)), MAX_PADDING) for column in zip(*cells, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def human_size(size: int) -> str:
    """Write a number of bytes as `ls -h` does: "1.5M"."""
    if size < 1024:
        return str(size)
    value = float(size)
    for unit in "KMGTPE":
        value /= 1024
        if value < 999.5 or unit == "E":
            break
    return f"{value:.1f}{unit}" if value < 9.95 else f"{value:.0f}{unit}"
