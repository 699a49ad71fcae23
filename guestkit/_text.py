"""What a guest says, escaped."""

from __future__ import annotations


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
