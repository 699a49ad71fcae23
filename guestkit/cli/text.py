"""Text for people. A guest's text is hostile: none of it reaches a terminal or a pipe unescaped."""

from __future__ import annotations

from collections.abc import Iterable

MAX_PADDING = 40  # one long name must not push every line off the screen


def printable(text: str) -> str:
    r"""Escape whatever is not a visible character or a space.

    That covers control characters and escape sequences, bidirectional overrides, other invisible characters
    and lone surrogates: "\x1b", "\u202e". A byte that was not UTF-8 is shown as that byte: "\xff".
    """
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    if "\udc80" <= character <= "\udcff":  # surrogateescape
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


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
