"""The command `cp`."""

from __future__ import annotations

import argparse

from guestkit.cli.ending import noting
from guestkit.cli.guests import check_format_is_stated, in_place_of_disk, opened_guest
from guestkit.cli.listing import tell_skipped
from guestkit.cli.options import add_bound_option, add_disk_argument, add_guest_options
from guestkit.cli.screen import Screen
from guestkit.cli.usage import UsageError
from guestkit.copying import check_target, copy_in, copy_out
from guestkit.files import MAX_BYTES

DESCRIPTION = """\
Copy files between this host and a guest. A path in the guest begins with a colon: ":/etc/hosts". The last
path is where they go: a directory, or the new name of a single file.

Out: nothing is written but the target, whatever names and symlinks the guest has; set-id bits are dropped.
In: what is copied belongs to root there; the disk is changed, so that --format has to be stated, and no
other program may use the disk meanwhile."""
EXAMPLES = (
    "guestkit cp web.qcow2 :/etc/hosts :/etc/fstab .",
    "guestkit cp -r web.qcow2 :/var/lib backup",
    "guestkit cp --format qcow2 web.qcow2 motd :/etc/motd",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what `cp` takes."""
    add_disk_argument(parser)
    parser.add_argument("sources", metavar="SOURCE", nargs="+", help="what to copy; :PATH is in the guest")
    parser.add_argument("target", metavar="TARGET", help="where to; :PATH is in the guest")
    parser.add_argument("-r", "--recursive", action="store_true", help="directories too")
    parser.add_argument("-f", "--force", action="store_true", help="replace files that are there already")
    add_bound_option(parser, MAX_BYTES)
    add_guest_options(parser)


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Do what the arguments say; return the exit status."""
    goes_in = arguments.target.startswith(":")
    if any(source.startswith(":") == goes_in for source in arguments.sources):
        reason = "either SOURCE or TARGET is in the guest, and begins with a colon, as :/etc/hosts"
        raise UsageError(reason + in_place_of_disk(arguments))
    if any(
        not path.startswith(":/") for path in [*arguments.sources, arguments.target] if path.startswith(":")
    ):
        raise UsageError("a path in the guest begins with :/ (a file of this host that begins so: ./:name)")
    if goes_in:
        check_format_is_stated(arguments)
    else:
        check_target(arguments.target)
    copied = None

    def written() -> str:  # for an interruption outside the copying, which adds a more exact note itself
        if copied is None:
            return "nothing was written"
        return (
            f"what was to be written to {arguments.target[1:]} may be there in part"
            if goes_in
            else "the copying was complete"
        )

    with (
        noting(written),
        opened_guest(arguments, screen, readonly=not goes_in) as g,
        screen.transfer("copying") as progress,
    ):
        options = {
            "recursive": arguments.recursive,
            "replace": arguments.force,
            "progress": progress if screen.shows_progress else None,
        }
        if goes_in:
            copied = copy_in(g, arguments.sources, arguments.target[1:], **options)
        else:
            sources, most = [source[1:] for source in arguments.sources], arguments.max_gib << 30
            copied = copy_out(g, sources, arguments.target, max_bytes=most, **options)
    return tell_skipped(screen, copied)
