"""The command `cat`."""

from __future__ import annotations

import argparse

from guestkit.cli.contents import write
from guestkit.cli.ending import noting
from guestkit.cli.guests import opened_guest, paths_in_guest
from guestkit.cli.options import add_disk_argument, add_guest_options
from guestkit.cli.outcome import each, tell_error
from guestkit.cli.screen import Screen

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

        def show(path: str) -> None:
            with noting(f"{path} is not complete"):
                write(g, path, screen)

        return each(paths, show, lambda error: tell_error(error, arguments, screen))
