"""The command `shell`: commands that look at a guest and change it, one after the other, on one appliance."""

from __future__ import annotations

import argparse
import sys

from guestkit.cli.guests import check_format_is_stated, guests_of, opened_guest
from guestkit.cli.options import add_disk_argument, add_guest_options
from guestkit.cli.screen import Screen
from guestkit.cli.shell.running import run_script
from guestkit.cli.shell.session import Session
from guestkit.disks import names_of

DESCRIPTION = """\
Look around in a guest and change it, by commands that are typed, given with -c, or read from stdin. `help`
tells which there are: ls, cat, less, find, get and the like, and every action of libguestfs.

The disk is opened read-only, unless --rw is given. Paths are the guest's; get and put copy between it and
this host. Commands of -c and stdin end at the first that fails, with its exit status. To type them,
the Python library prompt_toolkit is needed."""
EXAMPLES = (
    "guestkit shell web.qcow2 -c 'cd /etc; ls -l; cat fstab; help mount'",
    "guestkit shell --rw --format qcow2 web.qcow2 -c 'put motd /etc/motd.new; mv /etc/motd.new /etc/motd'",
)

#: How long a call may go on after Ctrl-C, in seconds. A guest that is written to gets time, since the end of
#: its appliance is to it like a power cut.
GRACE, GRACE_OF_WRITES = 1.0, 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what `shell` takes."""
    add_disk_argument(parser)
    parser.add_argument(
        "-c", dest="commands", metavar="COMMANDS", help="run these, separated by semicolons, and end"
    )
    parser.add_argument("--keep-going", action="store_true", help="go on after a command that fails")
    parser.add_argument("--rw", action="store_true", help="commands may change the guest; needs --format")
    add_guest_options(parser)


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Do what the arguments say; return the exit status."""
    if arguments.rw:
        check_format_is_stated(arguments)
    typed = arguments.commands is None and sys.stdin.isatty() and screen.is_terminal
    if typed:
        from guestkit.cli.shell.prompt import converse  # before the launch: it may lack what it needs
    session = Session(
        lambda: opened_guest(
            arguments,
            screen,
            readonly=not arguments.rw,
            appliance="auto",  # programs of the guest look below /dev/disk
            cancel_grace=GRACE_OF_WRITES if arguments.rw else GRACE,
        ),
        screen,
        writable=arguments.rw,
        interactive=typed,
        script_on_stdin=arguments.commands is None and not typed,
    )
    with session:
        if typed:
            return converse(session, names_of(guests_of(arguments)[0])[0])
        if arguments.commands is not None:
            lines = iter([arguments.commands])
        else:
            lines = (line.decode("utf-8", "surrogateescape") for line in sys.stdin.buffer)
        return run_script(session, lines, keep_going=arguments.keep_going)
