"""The arguments of all commands. docs/cli.md, the manual page and the completions are written from this."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Sequence
from shlex import quote
from typing import NoReturn, cast

import guestkit
from guestkit.cli import appliance, cat, convert, cp, df, doctor, info, inspect, ls
from guestkit.cli.common import EXIT_STATUS, Command, add_output_options
from guestkit.cli.text import printable

COMMANDS = {
    name: cast(Command, module)
    for name, module in (
        ("inspect", inspect),
        ("ls", ls),
        ("cat", cat),
        ("cp", cp),
        ("df", df),
        ("info", info),
        ("convert", convert),
        ("doctor", doctor),
        ("appliance", appliance),
    )
}

_DESCRIPTION = "Look inside virtual-machine disk images, and copy, convert and measure them."


class Help(argparse.HelpFormatter):
    """Fits paragraphs to the terminal, and leaves alone those with indented lines."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.split("\n\n")
        return "\n\n".join(
            one if "\n " in one else super(Help, self)._fill_text(one, width, indent) for one in paragraphs
        )


class Parser(argparse.ArgumentParser):
    """One whose messages are safe to print: names of files may come from a guest."""

    given: Sequence[str] = ()

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse, and keep what was given: an error may have to speak of it."""
        self.given = sys.argv[1:] if args is None else args
        return super().parse_known_args(args, namespace)

    @property
    def options(self) -> Collection[str]:
        """The options that it knows."""
        return self._option_string_actions

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the arguments, then how they are given, in one line; end with 2."""
        if message.startswith("the following arguments are required"):
            message += _apart(self.prog, self.given)
        operands = " ".join(["[OPTION…]", *map(_operand, self._get_positional_actions())])
        usage = f"usage: {self.prog} {operands}; --help tells more"
        self.exit(2, f"guestkit: error: {printable(message)}\n{usage}\n")


def _apart(command: str, given: Sequence[str]) -> str:
    """Say how DISK:/PATH, as scp has it, is typed here, where that was given; else nothing."""
    for word in given:
        disk, colon, path = word.partition(":/")
        if not word.startswith("-") and disk and colon and not path.startswith("/"):
            path = quote(f":/{path}" if command.endswith(" cp") else f"/{path}")
            return f": the disk comes first, its path apart from it: {command} {quote(disk)} {path}"
    return ""


def _operand(action: argparse.Action) -> str:
    """Write an argument that has no dashes as a usage does."""
    name = str(action.metavar)
    forms = {"?": f"[{name}]", "*": f"[{name} …]", "+": f"{name} [{name} …]", argparse.PARSER: f"{name} …"}
    return forms.get(str(action.nargs), name)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return what the arguments say; SystemExit(2) where they say nothing that makes sense."""
    arguments, unknown = make_parser().parse_known_args(argv)
    if unknown:
        if unknown[0] in arguments.parser.options:
            arguments.parser.error(
                f"options come after the command, as in {arguments.parser.prog} {unknown[0]}"
            )
        what = "option" if unknown[0].startswith("-") else "argument"
        arguments.parser.error(f"there is no {what} {unknown[0]!r}")
    return arguments


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = Parser(
        prog="guestkit",
        description=_DESCRIPTION,
        epilog=EXIT_STATUS,
        formatter_class=Help,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"guestkit {guestkit.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    for name, command in COMMANDS.items():
        added = commands.add_parser(
            name,
            help=command.SUMMARY,
            description=command.DESCRIPTION,
            epilog=_epilog(command),
            formatter_class=Help,
            allow_abbrev=False,
            add_help=False,
        )
        takes_h = name in ("ls", "df")  # as everybody's ls and df do
        added.add_argument(*(["--help"] if takes_h else ["-h", "--help"]), action="help", help="show this")
        command.add_arguments(added)
        add_output_options(added)
        added.set_defaults(run=command.run, parser=added)
    return parser


def _epilog(command: Command) -> str:
    examples = "".join(f"\n  {example}" for example in command.EXAMPLES)
    return f"examples:{examples}\n\n{EXIT_STATUS}"
