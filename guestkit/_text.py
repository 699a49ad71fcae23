"""Text for people: what a guest says, escaped, and sizes."""

from __future__ import annotations

import re


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


def without_userinfo(name: str) -> str:
    """Return the name of a disk without what a URL has before its host, such as "me:secret@".

    By its text alone: one with a wrong port is no URL, and has a password all the same.
    """
    return name.replace(userinfo(name), "", 1)


def userinfo(name: str) -> str:
    """Return what a URL has before its host, with the @; "": nothing."""
    found = re.search(r"://([^/?#]*@)", name)
    return found[1] if found else ""


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
