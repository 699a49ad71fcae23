"""What every command promises: its interface, its exit statuses, and the error of wrong usage."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from guestkit.cli.screen import Screen

EXIT_STATUS = """\
exit status:
  0  all is well
  1  something failed: said on stderr, or with its disk in the result
  2  wrong usage
130, 143  ended by Ctrl-C or a signal; 141: nobody reads the output any more"""


class UsageError(Exception):
    """Arguments that do not fit together; the text says why."""


class Command(Protocol):
    """The interface of a command's module."""

    __name__: str
    DESCRIPTION: str
    EXAMPLES: tuple[str, ...]

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Tell the parser what the command takes."""

    def run(self, arguments: argparse.Namespace, screen: Screen) -> int:
        """Run the command; return the exit status."""
