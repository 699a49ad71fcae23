"""The arguments of all commands. docs/cli.md, the manual page and the completions are generated from them."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
from collections.abc import Collection, Sequence
from importlib import import_module
from typing import Any, NoReturn, cast

import guestkit
from guestkit.cli.guests import in_place_of_disk
from guestkit.cli.options import LOG_JSON, add_output_options, replace_disks
from guestkit.cli.text import printable
from guestkit.cli.usage import EXIT_STATUS, Command
from guestkit.cli.words import Words, sort

#: The commands and their summaries. Each is a module of this package, loaded when the command is chosen.
COMMANDS = {
    "inspect": "tell what is on disks",
    "ls": "list a guest's files",
    "cat": "write a guest's files to stdout",
    "cp": "copy files out of a guest or into it",
    "shell": "look around in a guest, and change it, by typing commands",
    "mount": "show a guest's files in a directory of this host",
    "unmount": "unmount a directory that `guestkit mount` mounted",
    "serve": "serve a guest's files by SFTP, and by HTTP to browsers and WebDAV clients",
    "df": "tell how full guests' filesystems are",
    "report": "write a page of HTML about disks, for people",
    "sbom": "write bills of materials: which packages are on disks",
    "diff": "tell how two guests differ",
    "info": "tell what disk images are, and what they refer to",
    "convert": "write a disk into a new image",
    "doctor": "check this host, and tell how to fix what is wrong with it",
    "appliance": "build, list, check or remove the fast appliance",
}

_DESCRIPTION = "Look inside virtual-machine disk images: inspect, list, copy, mount, serve, compare, convert."


class Help(argparse.HelpFormatter):
    """Wraps paragraphs to the terminal's width, except those with indented lines.

    Every name of an option is followed by its value, as Python itself did it until 3.12.
    """

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return ", ".join(f"{option} {value}" for option in action.option_strings)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.split("\n\n")
        return "\n\n".join(
            one if "\n " in one else super(Help, self)._fill_text(one, width, indent) for one in paragraphs
        )


class PlainParser(argparse.ArgumentParser):
    """A parser whose texts have no colours, which Python 3.14 would put in: messages are escaped."""

    def __init__(self, **options: Any) -> None:
        if sys.version_info >= (3, 14):
            options.setdefault("color", False)
        super().__init__(formatter_class=Help, allow_abbrev=False, **options)


class Parser(PlainParser):
    """A parser with messages that are safe to print: file names may come from a guest.

    log_json: write them as JSON, an object a line
    """

    def __init__(self, *, log_json: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self._log_json = log_json

    def error(self, message: str) -> NoReturn:
        """Print what is wrong with the arguments, and outside JSON a one-line usage; exit with status 2."""
        operands = " ".join(["[OPTION…]", *map(_operand, self._get_positional_actions())])
        usage = f"usage: {self.prog} {operands}; --help tells more"
        text = f"guestkit: error: {printable(message)}\n{usage}"
        if self._log_json:
            from guestkit.cli.log_line import as_json  # nothing else here pays for this import

            text = as_json("error", message)
        with contextlib.suppress(OSError):  # stderr may have lost its reader
            print(text, file=sys.stderr)
        sys.exit(2)


class CommandParser(Parser):
    """The parser of one command. It loads the command's module only when there is something to parse."""

    def __init__(self, *, command: str, **options: Any) -> None:
        super().__init__(add_help=False, **options)
        self._command = command
        self._complete = False
        self._words = Words([], [], [])

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Add the command's arguments, then parse; operands may stand among the options.

        Where each operand is one word, argparse manages that itself, and the order is kept: to `diff` it
        matters which of a DISK and a -d DOMAIN comes first.
        """
        self.complete()
        words = list(sys.argv[1:] if args is None else args)
        self._words = sort(words, self)
        replace_disks(self, self._words.used)
        if any(operand.nargs is not None for operand in self._get_positional_actions()):
            words = [*self._words.options, "--", *self._words.operands]
        return super().parse_known_args(words, namespace)

    @property
    def options(self) -> Collection[str]:
        """The options that the parser knows."""
        return self._option_string_actions

    def error(self, message: str) -> NoReturn:
        """Do as `Parser.error`; of DISK:/PATH in the style of scp tell how to type it here."""
        if message.startswith("the following arguments are required"):
            message += _apart(self.prog, self._words)
        super().error(message)

    def complete(self) -> None:
        """Add the command's arguments, once."""
        if self._complete:
            return
        self._complete = True
        command = load(self._command)
        self.description = command.DESCRIPTION
        self.epilog = _epilog(command)
        takes_h = self._command in ("ls", "df")  # there -h means human-readable sizes, as in ls and df
        self.add_argument(*(["--help"] if takes_h else ["-h", "--help"]), action="help", help="show this")
        command.add_arguments(self)
        add_output_options(self)
        self.set_defaults(run=command.run, parser=self)


def _apart(command: str, given: Words) -> str:
    """If an operand is DISK:/PATH in the style of scp, return how to type it here; otherwise ""."""
    for place, word in enumerate(given.operands):
        disk, colon, path = word.partition(":/")
        if disk and colon and not path.startswith("/"):
            path = f":/{path}" if command.endswith(" cp") else f"/{path}"
            others = given.operands[:place], given.operands[place + 1 :]
            words = [disk, *given.options, *others[0], path, *others[1]]
            return f"; the disk comes first, apart from the path: type: {command} {shlex.join(words)}"
    return ""


def load(command: str) -> Command:
    """Return the module of a command."""
    return cast(Command, import_module(f"guestkit.cli.{command}"))


def _operand(action: argparse.Action) -> str:
    """Return a positional argument in the notation of a usage line."""
    name = str(action.metavar)
    forms = {"?": f"[{name}]", "*": f"[{name} …]", "+": f"{name} [{name} …]", argparse.PARSER: f"{name} …"}
    return forms.get(str(action.nargs), name)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments; raise SystemExit(2) if they are wrong."""
    # What is wrong may come before the parser knows the option.
    log_json = LOG_JSON in (sys.argv if argv is None else argv)
    arguments, unknown = make_parser(log_json=log_json).parse_known_args(argv)
    if unknown:
        if unknown[0] in arguments.parser.options:
            arguments.parser.error(
                f"options come after the command, as in {arguments.parser.prog} {unknown[0]}"
            )
        if unknown[0].startswith("-"):
            arguments.parser.error(f"there is no option {unknown[0]!r}")
        hint = in_place_of_disk(arguments)
        arguments.parser.error(f"there is no argument {unknown[0]!r}{hint}")
    return arguments


def make_parser(*, log_json: bool = False) -> argparse.ArgumentParser:
    """Return the parser of the whole command line; each command's parser is completed when it is chosen.

    log_json: as of `Parser`
    """
    parser = Parser(prog="guestkit", description=_DESCRIPTION, epilog=EXIT_STATUS, log_json=log_json)
    parser.add_argument("--version", action="version", version=f"guestkit {guestkit.__version__}")
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, parser_class=CommandParser
    )
    for name, summary in COMMANDS.items():
        commands.add_parser(name, help=summary, command=name, log_json=log_json)
    return parser


def _epilog(command: Command) -> str:
    examples = "".join(f"\n  {example}" for example in command.EXAMPLES)
    return f"examples:{examples}\n\n{getattr(command, 'EXIT_STATUS', EXIT_STATUS)}"
