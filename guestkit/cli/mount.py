"""The command `mount`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from guestkit import fuse
from guestkit.cli.background import in_background
from guestkit.cli.guests import check_format_is_stated, guests_of, opened_guest
from guestkit.cli.options import add_disk_argument, add_guest_options
from guestkit.cli.outcome import tell_errors
from guestkit.cli.screen import Screen
from guestkit.cli.text import printable
from guestkit.disks import names_of

DESCRIPTION = """\
Show a guest's files in a directory of this host, for any program, without root. The command returns when the
directory can be used, and goes on in the background; `guestkit unmount` ends it.

The host follows the guest's symlinks: an absolute one leads to this host's files. Keep programs that read a
stranger's disk inside of the directory, as by a container."""
EXAMPLES = (
    "guestkit mount web.qcow2 mnt",
    "guestkit mount --rw --format qcow2 web.qcow2 mnt",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what `mount` takes."""
    add_disk_argument(parser)
    parser.add_argument("directory", metavar="DIRECTORY", help="an empty directory of this host")
    parser.add_argument("--rw", action="store_true", help="programs may write; needs --format")
    parser.add_argument(
        "--foreground", action="store_true", help="stay until it is unmounted; Ctrl-C unmounts it"
    )
    parser.add_argument(
        "--allow-other", action="store_true", help="other users may look; /etc/fuse.conf has to permit it"
    )
    add_guest_options(parser, timeout=False)  # the whole time of the mount is one call


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Do what the arguments say; return the exit status."""
    if arguments.rw:
        check_format_is_stated(arguments)
    fuse.mountpoint(arguments.directory)  # before the launch
    if arguments.foreground:
        disk = names_of(guests_of(arguments)[0])[0]
        ready = f"{printable(arguments.directory)} has the files of {printable(disk)}"
        return _serve(arguments, screen, lambda: screen.note(ready))
    return in_background(
        lambda go_on: tell_errors(arguments, screen, lambda: _serve(arguments, screen, go_on))
    )


def _serve(arguments: argparse.Namespace, screen: Screen, ready: Callable[[], None]) -> int:
    with opened_guest(arguments, screen, readonly=not arguments.rw) as g:
        fuse.serve(
            g,
            arguments.directory,
            readonly=not arguments.rw,
            allow_other=arguments.allow_other,
            ready=ready,
        )
    return 0
