"""The command `mount`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from guestkit import fuse
from guestkit.cli.common import add_disk_argument, add_guest_options, check_format_is_stated, guest, guests_of
from guestkit.cli.ending import status_of
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
    # The pipe of the command that waits until the directory can be used.
    parser.add_argument("--ready", type=int, help=argparse.SUPPRESS)
    add_guest_options(parser, timeout=False)  # the whole time of the mount is one call


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Do what the arguments say; return the exit status."""
    if arguments.rw:
        check_format_is_stated(arguments)
    fuse.mountpoint(arguments.directory)  # before the launch
    if arguments.foreground:
        return _serve(arguments, screen)
    if arguments.ready is not None:
        try:
            return _serve(arguments, screen)
        except KeyboardInterrupt as ended:
            return status_of(ended)  # the command that waits for this process has said so
    ready, told = os.pipe()
    # -P: nothing is imported from the current directory, which may be a guest's.
    command = [sys.executable, "-P", "-m", "guestkit", "mount", "--ready", str(told), *arguments.parser.given]
    with (
        open(ready, "rb") as answer,
        # In a session of its own: the terminal's Ctrl-C and end are not for what goes on in the background.
        subprocess.Popen(command, pass_fds=[told], start_new_session=True) as server,
    ):
        os.close(told)
        try:
            if answer.read(1):
                server.returncode = 0  # it goes on
            return server.wait()  # else it has said why
        except BaseException:
            server.terminate()
            raise


def _serve(arguments: argparse.Namespace, screen: Screen) -> int:
    def ready() -> None:
        if arguments.ready is None:
            disk = names_of(guests_of(arguments)[0])[0]
            screen.note(f"{printable(arguments.directory)} has the files of {printable(disk)}")
            return
        os.chdir("/")  # else the filesystem of the current directory would be in use
        with open(os.devnull, "r+b") as nothing:
            for stream in (0, 1, 2):
                os.dup2(nothing.fileno(), stream)
        os.write(arguments.ready, b"1")
        os.close(arguments.ready)

    with guest(arguments, screen, readonly=not arguments.rw) as g:
        fuse.serve(
            g,
            arguments.directory,
            readonly=not arguments.rw,
            allow_other=arguments.allow_other,
            ready=ready,
        )
    return 0
