"""The command `cat`."""

from __future__ import annotations

import argparse
import codecs
from collections.abc import Iterator

from guestkit.cli.ending import noting
from guestkit.cli.guests import opened_guest, paths_in_guest
from guestkit.cli.options import add_disk_argument, add_guest_options
from guestkit.cli.screen import Screen
from guestkit.cli.text import printable
from guestkit.guest import read_chunks
from guestkit.handle import Guestfs

DESCRIPTION = """\
Write files of a guest to stdout: exactly to a pipe or file; on a terminal what is not visible is escaped."""
EXAMPLES = (
    "guestkit cat web.qcow2 /etc/fstab",
    "guestkit cat -d web /etc/fstab",
    "guestkit cat web.qcow2 /var/lib/dpkg/status | grep ^Package:",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what `cat` takes."""
    add_disk_argument(parser)
    parser.add_argument("paths", metavar="PATH", nargs="+", help="in the guest")
    add_guest_options(parser)


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Do what the arguments say; return the exit status."""
    paths = paths_in_guest(arguments)
    with opened_guest(arguments, screen) as g:
        for path in paths:
            with noting(f"{path} is not complete"):
                write(g, path, screen)
    return 0


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


def visible(text: str) -> str:
    """Escape everything invisible except line breaks and tabs."""
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))
