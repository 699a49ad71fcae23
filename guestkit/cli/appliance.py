"""The command `appliance`."""

from __future__ import annotations

import argparse
from pathlib import Path

from guestkit import appliance
from guestkit.cli.ending import noting
from guestkit.cli.screen import Screen
from guestkit.cli.text import printable

SUMMARY = "build, list, check or remove the fast appliance"
DESCRIPTION = """\
The fast appliance: built once from the installed libguestfs, then used by itself. Its cache is
$GUESTKIT_CACHEDIR, else guestkit/appliance in the user's cache. check fails (exit status 1) where no
appliance is good."""
EXAMPLES = (
    "guestkit appliance build",
    "guestkit appliance list",
    "guestkit appliance check",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what `appliance` takes."""
    parser.add_argument(
        "action",
        metavar="ACTION",
        choices=("build", "list", "check", "remove"),
        help="build it, unless there is one for what is installed now; list what the cache holds;"
        " check whether it is used, and why not; remove every appliance from the cache",
    )
    parser.add_argument("directory", metavar="DIRECTORY", nargs="?", help="of one appliance, to check")
    parser.add_argument("--force", action="store_true", help="build it anew")


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Do what the arguments say; return the exit status."""
    if arguments.action == "build":
        with noting("no appliance was built"), screen.steps("building the fast appliance"):
            built = appliance.build(force=arguments.force)
        screen.write(f"{printable(str(built.directory))}\n")
        return 0
    if arguments.action == "remove":
        appliance.remove()
        return 0
    if arguments.action == "check" and arguments.directory is not None:
        directory = Path(arguments.directory).absolute()
        found = [appliance.Appliance(directory, appliance.check(directory))]
    else:
        found = appliance.appliances()
    for one in found:
        screen.write(f"{printable(str(one.directory))}: {printable(one.fault) or 'good'}\n")
    if arguments.action == "list" or any(not one.fault for one in found):
        return 0
    if not found:
        place = appliance.cache_directory()
        screen.tell("error", f"no appliance has been built in {place}: guestkit appliance build")
    return 1
