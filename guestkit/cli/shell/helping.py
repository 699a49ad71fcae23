"""The commands that tell about the shell itself."""

from __future__ import annotations

import argparse

from guestkit.cli.shell import actions
from guestkit.cli.shell.changing import CHANGING
from guestkit.cli.shell.command import Command, Leave, Parser
from guestkit.cli.shell.looking import LOOKING
from guestkit.cli.shell.session import Session
from guestkit.cli.text import columns
from guestkit.cli.usage import UsageError
from guestkit.generated.arguments import ARGUMENTS

NOTES = """\
Every action of libguestfs is a command, too: `mount /dev/sda2 /mnt`, `list-filesystems`, with options as
NAME=VALUE. `call ls /etc` is the action where a command has the same name. In an action's argument a list
is one word: "a b". `-` for a key asks for it.

Paths are the guest's, and relative to the directory that cd chose. Files of this host are named in get, in
put, and in the actions that say so, and nowhere else. Quotes are those of bash: 'a b', a\\ b, and $'\\xff'
for what cannot be typed. Wildcards are expanded in paths of the guest: *.conf. A ; separates commands, and
a # begins a comment.

Ctrl-C ends the command, Ctrl-D the shell. help COMMAND tells more; help TEXT finds actions.
"""


def _help(session: Session, given: argparse.Namespace) -> None:
    session.screen.write(manual(given.name) if given.name else overview())


def overview() -> str:
    """Return what the shell can do."""
    parts = []
    for title, group in (("look", LOOKING), ("change, with --rw", CHANGING), ("the shell", HELPING)):
        rows = [(f"  {command.name}", command.about) for command in group]
        parts.append("\n".join([f"{title}:", *columns(rows)]))
    return "\n\n".join([*parts, NOTES])


def manual(name: str) -> str:
    """Return what is known about a command or an action, or which actions have the text. Raise UsageError."""
    if name in COMMANDS:
        text = COMMANDS[name].parser().format_help()
        same = actions.action_named(name)
        return text + (f"\nThe action of that name: call {same}\n" if same else "")
    if action := actions.action_named(name):
        return actions.manual(action)
    found = [
        (one, about)
        for one in ARGUMENTS
        if (about := actions.summary(one)) and (name.lower() in one or name.lower() in about.lower())
    ]
    if not found:
        raise UsageError(
            f"help: {name!r} is no command, and no action tells of it{actions.similar(name, list(COMMANDS))}"
        )
    return "".join(f"{line}\n" for line in columns(found))


def _call(session: Session, given: argparse.Namespace) -> None:
    if given.action is None:
        raise UsageError("call: name an action, as in call ls /etc")
    name = actions.action_named(given.action)
    if not name:
        raise UsageError(f"call: there is no action {given.action!r}{actions.similar(given.action, [])}")
    actions.call(session, name, given.words)


def _call_arguments(parser: Parser) -> None:
    parser.add_argument("action", metavar="ACTION", nargs="?")
    parser.add_argument("words", metavar="ARGUMENT", nargs=argparse.REMAINDER)


def _exit(session: Session, given: argparse.Namespace) -> None:
    raise Leave


HELPING = (
    Command(
        "call", "Call an action of libguestfs, also one whose name a command has.", _call, _call_arguments
    ),
    Command(
        "help",
        "Tell what there is, or about one command or action.",
        _help,
        lambda parser: parser.add_argument("name", metavar="COMMAND", nargs="?"),
    ),
    Command("exit", "Leave the shell, as Ctrl-D does.", _exit),
)

#: All commands by name.
COMMANDS = {command.name: command for command in (*LOOKING, *CHANGING, *HELPING)}
