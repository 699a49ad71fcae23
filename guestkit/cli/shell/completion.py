"""What may be typed next: commands, actions, paths of the guest and of this host, devices, options."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from guestkit import _operations as operations
from guestkit.cli.shell.actions import action_named
from guestkit.cli.shell.command import IN_GUEST, ON_HOST, Command
from guestkit.cli.shell.helping import COMMANDS
from guestkit.cli.shell.parsing import quote, typed
from guestkit.cli.shell.session import Session, host_path
from guestkit.cli.text import printable
from guestkit.errors import Error
from guestkit.generated.arguments import ARGUMENTS
from guestkit.handle import Guestfs

#: In a larger directory names are not completed.
MOST_NAMES = 10_000


class Candidate(NamedTuple):
    """What could stand in place of the word at the cursor.

    Attributes:
        text: as it has to be typed
        shown: as it is shown in a list, escaped
        start: where the word begins in the line
    """

    text: str
    shown: str
    start: int


def candidates(session: Session, line: str) -> Iterator[Candidate]:
    """Yield what fits to the line up to the cursor; nothing where the guest cannot tell."""
    words, word, start = typed(line)
    try:
        found = list(_fitting(session, words, word))
    except (OSError, Error):  # nobody has asked for an error
        return
    for text, shown in found:
        yield Candidate(text, printable(shown), start)


#: A text as it has to be typed, and as it is shown.
_Pair = tuple[str, str]


def _fitting(session: Session, words: Sequence[str], word: str) -> Iterator[_Pair]:
    if not words or words == ["help"]:
        yield from _beginning(word, {**COMMANDS, **ARGUMENTS})
        return
    name, *before = words
    if name == "call" and not before:
        yield from _beginning(word, ARGUMENTS)
    elif name == "call":
        yield from _of_action(session, action_named(before[0]), before[1:], word)
    elif name in COMMANDS:
        yield from _of_command(session, COMMANDS[name], before, word)
    else:
        yield from _of_action(session, action_named(name), before, word)


def _beginning(word: str, names: Iterable[str]) -> Iterator[_Pair]:
    """Yield the names that begin so; list-dev finds list_devices, and keeps the user's hyphens."""
    for name in names:
        shown = name.replace("_", "-") if "-" in word else name
        if shown.startswith(word):
            yield f"{shown} ", shown


def _of_command(session: Session, command: Command, before: Sequence[str], word: str) -> Iterator[_Pair]:
    parser = command.parser()
    if word.startswith("-"):
        yield from _words(word, parser.options())
        return
    if before and parser.takes_value(before[-1]):
        return
    operands = parser.operands()
    if operands:  # nobody knows which one will be the last: `get` and `put` mostly have two
        begun = any(
            not one.startswith("-") and not parser.takes_value(option)
            for option, one in pairwise(["", *before])
        )
        name = operands[-1 if begun else 0].metavar
        if name in IN_GUEST:
            yield from _in_guest(session, word, only_directories=name == "DIRECTORY")
        elif name in ON_HOST:
            yield from _on_host(word)


def _of_action(session: Session, name: str, before: Sequence[str], word: str) -> Iterator[_Pair]:
    if not name:
        return
    required, optional = ARGUMENTS[name]
    if len(before) >= len(required):
        option, equals, _ = word.partition("=")
        if not equals:
            yield from ((f"{one}=", f"{one}=") for one in optional if one.startswith(word))
        elif optional.get(option) == "bool":
            yield from _words(word, [f"{option}=true", f"{option}=false"])
        return
    kind = list(required.values())[len(before)].removeprefix("list of ")
    if kind == "bool":
        yield from _words(word, ["true", "false"])
    elif kind in ("filein", "fileout"):
        yield from _on_host(word)
    elif kind == "pathname" or (kind.endswith("_or_path") and not word.startswith("/dev/")):
        yield from _in_guest(session, word)
    elif kind in ("device", "mountable") or kind.endswith("_or_path"):
        yield from _words(word, _devices(session.handle, mountable=kind.startswith("mountable")))


def _words(word: str, among: Iterable[str]) -> Iterator[_Pair]:
    yield from ((f"{one} ", one) for one in among if one.startswith(word))


def _devices(g: Guestfs | None, *, mountable: bool) -> list[str]:
    if g is None:
        return []
    return list(g.list_filesystems()) if mountable else [*g.list_devices(), *g.list_partitions(), *g.lvs()]


def _in_guest(session: Session, word: str, *, only_directories: bool = False) -> Iterator[_Pair]:
    g = session.handle
    if g is None:  # the appliance has ended: the next command opens another one
        return
    folder, name = posixpath.split(word)
    for entry in operations.listing(g, session.path(folder or "."), MOST_NAMES):
        found = posixpath.basename(entry["name"])
        if not found.startswith(name) or (found.startswith(".") and not name):
            continue
        directory = entry["type"] == "directory" or (
            entry["islink"] and operations.is_directory(g, entry["name"])
        )
        if directory or not only_directories:
            yield _path(folder, found, directory)


def _on_host(word: str) -> Iterator[_Pair]:
    folder, name = posixpath.split(word)
    with os.scandir(host_path(folder) or ".") as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith(name) and (name or not entry.name.startswith(".")):
                yield _path(folder, entry.name, entry.is_dir())


def _path(folder: str, name: str, directory: bool) -> _Pair:
    """Return a path as it has to be typed behind the folder that was typed, and its name."""
    path = posixpath.join(folder, name)
    path = f"./{path}" if path.startswith("-") else path
    return (quote(f"{path}/"), f"{name}/") if directory else (f"{quote(path)} ", name)
