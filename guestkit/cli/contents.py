"""The content of a guest's files for people: exactly, or as a terminal may show it."""

from __future__ import annotations

import codecs
from collections.abc import Iterator

from guestkit.cli.screen import Screen
from guestkit.cli.text import visible
from guestkit.handle import Guestfs
from guestkit.reading import read_chunks


def write(g: Guestfs, path: str, screen: Screen) -> None:
    """Write a file to stdout."""
    if not screen.is_terminal:
        for chunk in read_chunks(g, path):
            screen.write_bytes(chunk)
        return
    for shown in visible_chunks(g, path):
        screen.write(shown)


def visible_chunks(g: Guestfs, path: str) -> Iterator[str]:
    """Yield the content of a regular file of any size as a terminal may show it."""
    text = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    for chunk in read_chunks(g, path):
        yield visible(text.decode(chunk))
    yield visible(text.decode(b"", final=True))
