"""The command `appliance`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from guestkit import appliance
from guestkit.cli.text import printable, write

DESCRIPTION = """\
The fast appliance: built once from the installed libguestfs, then used by itself. Its cache is
$GUESTKIT_CACHEDIR, else guestkit/appliance in the user's cache."""

EPILOG = """\
exit status: 0 all is well, 1 it failed or (check) no appliance is good, 2 wrong usage"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what `appliance` takes."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    build = actions.add_parser("build", help="build it, if there is none for what is installed now")
    build.add_argument("--force", action="store_true", help="build it anew")
    actions.add_parser("list", help="tell what the cache holds")
    check = actions.add_parser("check", help="tell whether it is used, and why not")
    check.add_argument("directory", metavar="DIRECTORY", nargs="?", help="of one appliance")
    actions.add_parser("remove", help="remove every appliance from the cache")


def run(arguments: argparse.Namespace) -> int:
    """Do what the arguments say; return the exit status."""
    if arguments.action == "build":
        built = appliance.build(force=arguments.force)
        write(f"{printable(str(built.directory))}\n")
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
        write(f"{printable(str(one.directory))}: {printable(one.fault) or 'good'}\n")
    if arguments.action == "list" or any(not one.fault for one in found):
        return 0
    if not found:
        place = printable(str(appliance.cache_directory()))
        print(f"guestkit: no appliance has been built in {place}: guestkit appliance build", file=sys.stderr)
    return 1
