"""The command `appliance`."""

from __future__ import annotations

import argparse
import functools
from pathlib import Path

from guestkit import appliance
from guestkit.cli.ending import noting
from guestkit.cli.screen import Screen
from guestkit.cli.text import printable
from guestkit.cli.usage import UsageError

DESCRIPTION = """\
The fast appliance: built once from the installed libguestfs, then used by itself. It lies in
$GUESTKIT_CACHEDIR; if that is not set, in guestkit/appliance of the user's cache, and with --system in
/var/cache/guestkit/appliance for all users. check fails (exit status 1) where no appliance is good."""
EXAMPLES = (
    "guestkit appliance build",
    "guestkit appliance list",
    "guestkit appliance check",
)

#: What each action takes; what another one takes would have no effect.
_TAKES = {
    "build": ("--force", "--system"),
    "list": (),
    "check": ("DIRECTORY",),
    "remove": ("--system",),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what `appliance` takes."""
    parser.add_argument(
        "action",
        metavar="ACTION",
        choices=tuple(_TAKES),
        help="build it, unless there is one for what is installed now; list what the cache holds;"
        " check whether it is used, and why not; remove every appliance from the cache",
    )
    parser.add_argument("directory", metavar="DIRECTORY", nargs="?", help="of one appliance, to check")
    parser.add_argument("--force", action="store_true", help="build it anew")
    parser.add_argument(
        "--system", action="store_true", help="build or remove that of all users, which takes root"
    )


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Do what the arguments say; return the exit status."""
    _check(arguments)
    if arguments.action == "build":
        with noting("no appliance was built"), screen.steps("building the fast appliance"):
            built = appliance.build(force=arguments.force, system=arguments.system)
        screen.write(f"{printable(str(built.directory))}\n")
        return 0
    if arguments.action == "remove":
        appliance.remove(system=arguments.system)
        return 0
    if arguments.action == "check" and arguments.directory is not None:
        directory = Path(arguments.directory).absolute()
        found = [appliance.Appliance(directory, appliance.check(directory))]
    else:
        found = appliance.appliances()
    for one in found:
        screen.write(f"{printable(str(one.directory))}: {printable(one.fault) or 'good'}\n")
    if not found:
        places = " or ".join(map(str, appliance.search_path()))
        tell = screen.note if arguments.action == "list" else functools.partial(screen.tell, "error")
        tell(f"no appliance has been built in {places}: guestkit appliance build")
    return 0 if arguments.action == "list" or any(not one.fault for one in found) else 1


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what the action does not take: `remove DIRECTORY` would remove all that the cache holds."""
    given = {
        "DIRECTORY": arguments.directory is not None,
        "--force": arguments.force,
        "--system": arguments.system,
    }
    for name, is_given in given.items():
        if is_given and name not in _TAKES[arguments.action]:
            takes = " and ".join(_TAKES[arguments.action]) or "nothing"
            raise UsageError(f"appliance {arguments.action} takes {takes}: {name} would have no effect")
