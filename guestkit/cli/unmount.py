"""The command `unmount`."""

from __future__ import annotations

import argparse
from errno import EBUSY

from guestkit import fuse
from guestkit.cli.errors import joined, sentence
from guestkit.cli.screen import Screen
from guestkit.errors import Error

DESCRIPTION = """\
Unmount directories that `guestkit mount` mounted. The command returns when the disk is free again."""
EXAMPLES = ("guestkit unmount mnt",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what `unmount` takes."""
    parser.add_argument("directories", metavar="DIRECTORY", nargs="+", help="where a guest is mounted")
    parser.add_argument("-f", "--force", action="store_true", help="although programs use it")


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Do what the arguments say; return the exit status."""
    status = 0
    for directory in arguments.directories:
        try:
            fuse.unmount(directory, force=arguments.force)
        except Error as error:
            told = (
                joined(error.message, "end these programs, or --force")
                if error.errno == EBUSY
                else sentence(error)
            )
            screen.tell("error", told)
            status = 1
    return status
