"""What a guest says, fit for a page."""

from __future__ import annotations

from guestkit._text import printable

#: How many characters of a text are shown.
LONGEST = 500


def shown(text: str) -> str:
    r"""Escape what is not a visible character, as "\x1b", lone surrogates too; cut what is too long."""
    escaped = printable(text[: LONGEST + 1])
    return escaped if len(escaped) <= LONGEST else f"{escaped[: LONGEST - 1]}…"


def named(text: str) -> str:
    """Return the name, or a word for one that is blank."""
    return text if text.strip() else "unnamed"
