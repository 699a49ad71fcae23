"""The command `ls`."""

from __future__ import annotations

import argparse
import json
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from rich.text import Text

from guestkit.cli.guests import opened_guest, paths_in_guest
from guestkit.cli.options import add_disk_argument, add_guest_options
from guestkit.cli.screen import Screen
from guestkit.cli.text import human_size, printable
from guestkit.files import GuestFile, mode_of
from guestkit.guest import list_files

DESCRIPTION = """\
List the files in directories of a guest, or files alone. A symlink that is named is followed, in the
guest."""
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
    parser.add_argument("--json", action="store_true", help="a JSON list of everything known about each file")
    add_guest_options(parser)


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Do what the arguments say; return the exit status."""
    paths = paths_in_guest(arguments)
    with opened_guest(arguments, screen) as g:
        found = [(path, list_files(g, path, recursive=arguments.recursive)) for path in paths]
    if arguments.json:
        files = [asdict(file) for _, listed in found for file in listed]
        screen.write(json.dumps(files, indent=2) + "\n")
        return 0
    for path, files_below in found:
        screen.show_lines(lines(path, files_below, arguments))
    return 0


def add_form_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for how files are listed, which `lines` reads."""
    parser.add_argument("-l", "--long", action="store_true", help="permissions, owner, size and time too")
    parser.add_argument("-R", "--recursive", action="store_true", help="directories with all that is below")
    parser.add_argument("-h", "--human", action="store_true", help="sizes such as 1.5M")


def lines(path: str, files: Sequence[GuestFile], arguments: argparse.Namespace) -> Iterator[Text]:
    """Return the lines of a listing of `path`."""
    top = path.rstrip("/") + "/"
    names = [Text(printable(file.path.removeprefix(top)), style=_style(file)) for file in files]
    if not arguments.long:
        yield from names
        return
    sizes = [human_size(file.size) if arguments.human else str(file.size) for file in files]
    owners = [f"{file.uid} {file.gid}" for file in files]
    width, owner_width = max(map(len, sizes), default=0), max(map(len, owners), default=0)
    for file, name, size, owner in zip(files, names, sizes, owners, strict=True):
        mode = stat.filemode(mode_of(file))
        target = f" -> {printable(file.target)}" if file.kind == "l" else ""
        about = f"{mode} {owner:<{owner_width}} {size:>{width}} {utc(file.mtime)} "
        yield Text.assemble(about, name, target)


def _style(file: GuestFile) -> str:
    if file.kind == "-":
        return "green" if file.mode & 0o111 else ""
    return {"d": "bold blue", "l": "cyan"}.get(file.kind, "yellow")


def utc(seconds: int) -> str:
    """Format the time in UTC, because the guest's timezone may differ from the host's."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))
    except (OverflowError, OSError, ValueError):  # the guest may claim any number
        return str(seconds)
