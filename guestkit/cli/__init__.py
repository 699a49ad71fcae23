"""The command line: `python -m guestkit COMMAND`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from guestkit.appliance import ApplianceError
from guestkit.cli import appliance, inspect
from guestkit.cli.text import printable
from guestkit.errors import Error


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that argv (default: the process' arguments) tells; return the exit status.

    0: all is well. 1: something failed, told on stdout with the disk it belongs to, else on stderr.
    130: Ctrl-C. 141: nobody reads stdout any more. Wrong usage raises SystemExit(2), as argparse does.
    """
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The interpreter flushes once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (Error, ApplianceError, OSError) as error:
        print(f"guestkit: {printable(' '.join(str(error).split()))}", file=sys.stderr)
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="guestkit", description="Look inside virtual-machine disk images.", allow_abbrev=False
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, told, command in (
        ("inspect", "tell what is on disks", inspect),
        ("appliance", "build, list, check or remove the fast appliance", appliance),
    ):
        added = commands.add_parser(
            name,
            help=told,
            description=command.DESCRIPTION,
            epilog=command.EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.add_arguments(added)
        added.set_defaults(run=command.run)
    return parser
