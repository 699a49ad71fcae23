"""What a command of the shell is: a name, its arguments, and what it does."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from guestkit.cli.parser import PlainParser
from guestkit.cli.shell.session import Session
from guestkit.cli.usage import UsageError

#: What the shell completes, by an argument's name in the usage: paths in the guest, or on this host.
IN_GUEST = ("PATH", "DIRECTORY", "FROM", "TO")
ON_HOST = ("HOST",)


class Leave(Exception):
    """The shell is to end."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command of the shell.

    Attributes:
        about: what it does, in one sentence
        run: does it; returns the exit status, None for 0
        arguments: tells the parser what it takes
        changes: whether it changes the guest
    """

    name: str
    about: str
    run: Callable[[Session, argparse.Namespace], int | None]
    arguments: Callable[[Parser], object] = lambda parser: None
    changes: bool = False

    def parser(self) -> Parser:
        """Return the parser of its arguments."""
        parser = Parser(prog=self.name, description=self.about, add_help=False)
        self.arguments(parser)
        return parser


class Parser(PlainParser):
    """A parser that raises UsageError instead of ending the program."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError with the message and the usage."""
        usage = " ".join(self.format_usage().split())
        raise UsageError(f"{self.prog}: {message}; {usage}")

    def parse_words(self, words: Sequence[str]) -> argparse.Namespace:
        """Return what the words mean; an option may stand anywhere, unless the rest is an action's."""
        if any(action.nargs == argparse.REMAINDER for action in self.operands()):
            return self.parse_args(words)
        return self.parse_intermixed_args(words)

    def path(self, name: str = "PATH", nargs: str | None = "+") -> None:
        """Add an argument for paths: a name of `IN_GUEST` or `ON_HOST`."""
        where = "on this host" if name in ON_HOST else "in the guest"
        self.add_argument(name.lower(), metavar=name, nargs=nargs, help=where)

    def flag(self, letter: str, name: str, help: str) -> None:
        """Add an option without a value."""
        self.add_argument(f"-{letter}", f"--{name}", action="store_true", help=help)

    def operands(self) -> Sequence[argparse.Action]:
        """Return the arguments that are no options."""
        return self._get_positional_actions()

    def takes_value(self, word: str) -> bool:
        """Return whether the word is an option, and the next one its value."""
        option = self._option_string_actions.get(word)
        return option is not None and option.nargs != 0

    def options(self) -> Sequence[str]:
        """Return the names of the options."""
        return list(self._option_string_actions)
