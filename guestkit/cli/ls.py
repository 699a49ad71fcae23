"""The command `ls`."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from guestkit.cli.guests import opened_guest, paths_in_guest
from guestkit.cli.listing import list_each, tell_left_out
from guestkit.cli.options import add_disk_argument, add_form_options, add_guest_options
from guestkit.cli.outcome import each, tell_error
from guestkit.cli.screen import Screen
from guestkit.files import GuestFile
from guestkit.reading import list_files

DESCRIPTION = """\
List the files in directories of a guest, or files alone. A symlink that is named and leads to a directory is
followed, in the guest. Of several paths, the files come first, and directories have headings, as in ls(1)."""
EXAMPLES = (
    "guestkit ls web.qcow2 /etc",
    "guestkit ls -lhR web.qcow2 /var/lib",
    "guestkit ls -m sda2 web.qcow2",
    "guestkit ls --json web.qcow2 /etc/os-release /etc/fstab",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what `ls` takes."""
    add_disk_argument(parser)
    parser.add_argument("paths", metavar="PATH", nargs="*", default=["/"], help="in the guest (default: /)")
    add_form_options(parser)
    parser.add_argument(
        "--json",
        action="store_true",
        help="a JSON list: of each file its path, kind, size, permissions, owner and group by number, the"
        " time of its last change in seconds, and where a link leads",
    )
    add_guest_options(parser)


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Do what the arguments say; return the exit status."""
    paths = paths_in_guest(arguments)
    found: list[GuestFile] = []
    left_out: list[str] = []

    def tell(error: Exception) -> None:
        tell_error(error, arguments, screen)

    with opened_guest(arguments, screen) as g:
        if not arguments.json:
            return list_each(g, paths, arguments, screen, tell)

        def collect(path: str) -> None:
            found.extend(list_files(g, path, recursive=arguments.recursive, left_out=left_out.append))

        status = each(paths, collect, tell)
    screen.write(json.dumps([asdict(file) for file in found], indent=2) + "\n")
    return status | tell_left_out(screen, left_out)
