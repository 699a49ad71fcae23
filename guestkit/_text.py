"""Text for people: what a guest says, escaped, and sizes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

#: How many things of a kind are named, where a guest may have a million of them.
MOST_TOLD = 100


def printable(text: str) -> str:
    r"""Escape what would act on a terminal: return the text with only visible characters and spaces.

    What a guest says is hostile, file names and the words of errors among it: print it by this. Control
    characters, of which escape sequences, tabs and line breaks are made, what turns the direction of writing,
    other invisible characters and lone surrogates become what Python writes for them: "\x1b", "\n",
    "\u202e". A byte that was not UTF-8 (surrogateescape) is shown as that byte: "\xff".

    It is for terminals and logs: markup stays as it is, so a page of HTML needs `html.escape` besides. What
    was escaped cannot be told from a name with that backslash: use it to show names, not to keep them.
    """
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    if "\udc80" <= character <= "\udcff":  # surrogateescape
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def at_most(sentences: Iterable[str], rest: Callable[[int], str], most: int = MOST_TOLD) -> Iterator[str]:
    """Yield the first sentences, and one on the rest, if any: a guest chooses how many there are.

    rest: makes that sentence of their number, which is never 1: a single one is yielded itself
    """
    left = iter(sentences)
    yield from islice(left, most)
    last = list(islice(left, 1))
    more = sum(1 for _ in left)
    yield from [rest(more + 1)] if more else last


def without_secrets(name: str) -> str:
    """Return the name of a disk without what gives access to it in a URL, for messages, logs and reports.

    That is what a URL has before its host, such as "me:secret@", and its query, in which clouds put what they
    have signed. The query of NBD names a socket.
    """
    before_host, query = _secrets(name)
    return name.replace(before_host, "", 1).removesuffix(query)


def hidden(text: str, name: str) -> str:
    """Return a text about the disk of that name, which it may begin with, without the same secrets.

    Elsewhere in the text "?…" takes the place of the query: a command without it would look complete.
    """
    begin, rest = (without_secrets(name), text[len(name) :]) if text.startswith(name) else ("", text)
    for secret, instead in zip(_secrets(name), ("", "?…"), strict=True):
        for form in dict.fromkeys((secret, printable(secret))):
            if len(form) > 1:  # "?" alone tells nothing
                rest = rest.replace(form, instead)
    return begin + rest


def _secrets(name: str) -> tuple[str, str]:
    """Return what a URL has before its host, with the @, and its query, with the ?; "": nothing.

    By its text alone: one with a wrong port is no URL, and has a password all the same.
    """
    before_host = re.search(r"://([^/?#]*@)", name)
    query = re.match(r"(?!nbd)[a-z][a-z0-9+.-]*://[^?]*(\?.*)", name, re.IGNORECASE | re.DOTALL)
    return before_host[1] if before_host else "", query[1] if query else ""


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
