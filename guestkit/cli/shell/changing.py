"""The commands that change the guest, and copy into it."""

from __future__ import annotations

import argparse
import errno
import posixpath
import re
import stat
from collections.abc import Callable, Sequence

from guestkit import _operations as operations
from guestkit._file_errors import NOT_THERE, about, failure
from guestkit.cli.listing import tell_skipped
from guestkit.cli.shell.command import Command, Parser
from guestkit.cli.shell.editing import edit
from guestkit.cli.shell.looking import copy_arguments
from guestkit.cli.shell.session import Session, host_path
from guestkit.cli.usage import UsageError
from guestkit.copying import copy_in, repeated


def _put_arguments(parser: Parser) -> None:
    copy_arguments(parser)
    parser.flag("f", "force", "replace a file that is there already")
    parser.path("HOST")
    parser.path("PATH", nargs=None)


def _put(session: Session, given: argparse.Namespace) -> int:
    with session.screen.transfer("copying") as progress:
        copied = copy_in(
            session.g,
            [host_path(one) for one in given.host],
            session.path(given.path),
            recursive=given.recursive,
            replace=given.force,
            progress=progress if session.screen.shows_progress else None,
        )
    return tell_skipped(session.screen, copied)


def _from_to(parser: Parser) -> None:
    parser.path("FROM")
    parser.path("TO", nargs=None)


def _cp_arguments(parser: Parser) -> None:
    copy_arguments(parser)
    _from_to(parser)


def _cp(session: Session, given: argparse.Namespace) -> None:
    for old, new in _pairs(session, given):
        if given.recursive:
            operations.copy_tree(session.g, old, new)
        else:
            with about(old):
                if stat.S_ISDIR(session.g.statns(old)["st_mode"]):
                    raise failure(errno.EISDIR, old, "a directory, which cp -r copies")
            operations.copy(session.g, old, new, parents=False)


def _mv(session: Session, given: argparse.Namespace) -> None:
    for old, new in _pairs(session, given):
        operations.rename(session.g, old, new, replace=True)


def _pairs(session: Session, given: argparse.Namespace) -> list[tuple[str, str]]:
    """Return each file with its new name: in a directory, or of a single one the name that is given."""
    sources, target = session.paths(getattr(given, "from")), session.path(given.to)
    inside = operations.is_directory(session.g, target)
    if not inside and (len(sources) > 1 or given.to.endswith("/")):
        raise failure(errno.ENOTDIR, target)
    pairs = [
        (source, posixpath.join(target, posixpath.basename(source)) if inside else target)
        for source in sources
    ]
    if twice := repeated(new for _, new in pairs):
        raise failure(errno.EEXIST, twice, "several files would get this name")
    return pairs


def _mkdir_arguments(parser: Parser) -> None:
    parser.flag("p", "parents", "and the directories above it; one that is there already is no error")
    parser.path("DIRECTORY")


def _mkdir(session: Session, given: argparse.Namespace) -> None:
    for path in map(session.path, given.directory):
        if given.parents:
            operations.makedirs(session.g, path)
        else:
            operations.mkdir(session.g, path, parents=False)


def _rm_arguments(parser: Parser) -> None:
    parser.flag("r", "recursive", "directories too, with all that is in them")
    parser.flag("f", "force", "what is not there is no error")
    parser.path()


def _rm(session: Session, given: argparse.Namespace) -> None:
    for path in session.paths(given.path):
        try:
            operations.remove(session.g, path, given.recursive)
        except IsADirectoryError:
            raise failure(
                errno.EISDIR, path, "a directory, which rm -r removes with all that is in it"
            ) from None
        except OSError as error:
            if not given.force or error.errno not in NOT_THERE:
                raise


def _ln_arguments(parser: Parser) -> None:
    parser.flag("s", "symbolic", "a symlink, whose target is taken as it is typed")
    parser.flag("f", "force", "replace a file that has the name")
    parser.path("PATH", nargs=None)
    parser.path("TO", nargs=None)


def _ln(session: Session, given: argparse.Namespace) -> None:
    target = given.path if given.symbolic else session.path(given.path)
    name = session.path(given.to)
    if operations.is_directory(session.g, name):
        name = posixpath.join(name, posixpath.basename(target.rstrip("/")))
    operations.link(session.g, target, name, symbolic=given.symbolic, replace=given.force)


#: Where the permissions of the user, the group and the others are in a mode.
_SHIFTS = {"u": 6, "g": 3, "o": 0}
_PERMISSIONS = {"r": 4, "w": 2, "x": 1}


def _chmod_arguments(parser: Parser) -> None:
    parser.prefix_chars = "\0"  # -x is a mode
    parser.add_argument("mode", metavar="MODE", help="octal, as 0644, or letters, as u+x,go-w")
    parser.path()


def _chmod(session: Session, given: argparse.Namespace) -> None:
    change = mode_change(given.mode)
    for path in session.paths(given.path):
        with about(path):
            before = session.g.statns(path)["st_mode"]
            session.g.chmod(change(before), path)


def mode_change(text: str) -> Callable[[int], int]:
    """Return what a mode of chmod(1) makes of a file's mode. Raise UsageError."""
    if re.fullmatch("[0-7]{1,4}", text):
        return lambda mode: int(text, 8)
    parts = [re.fullmatch("([ugoa]*)([-+=])([rwxXst]*)", part) for part in text.split(",")]
    if None in parts:
        raise UsageError(f"chmod: {text!r} is no mode: octal, as 0644, or letters, as u+x,go-w")

    def change(mode: int) -> int:
        changed = stat.S_IMODE(mode)
        for part in filter(None, parts):
            who, how, what = part.groups()
            who = "ugo" if not who or "a" in who else who
            if "X" in what and (stat.S_ISDIR(mode) or changed & 0o111):
                what += "x"
            permissions = sum(_PERMISSIONS.get(letter, 0) for letter in set(what))
            bits = sum(permissions << _SHIFTS[one] for one in set(who))
            special = (0o4000 if "u" in who else 0) | (0o2000 if "g" in who else 0)
            bits |= (special if "s" in what else 0) | (0o1000 if "t" in what else 0)
            if how == "=":
                changed &= ~sum(7 << _SHIFTS[one] for one in set(who)) & ~special
            changed = changed & ~bits if how == "-" else changed | bits
        return changed

    return change


def _chown_arguments(parser: Parser) -> None:
    parser.add_argument("owner", metavar="OWNER[:GROUP]", help="numbers, or names of the guest's own")
    parser.path()


def _chown(session: Session, given: argparse.Namespace) -> None:
    user, _, group = given.owner.partition(":")
    uid = _number(session, user, "/etc/passwd") if user else None
    gid = _number(session, group, "/etc/group") if group else None
    if uid is None and gid is None:
        raise UsageError("chown: whose it becomes is missing, as in chown root:root PATH")
    for path in session.paths(given.path):
        with about(path):
            seen = session.g.statns(path)
            session.g.chown(
                seen["st_uid"] if uid is None else uid, seen["st_gid"] if gid is None else gid, path
            )


def _number(session: Session, name: str, table: str) -> int:
    """Return the number of a user or a group, which the guest's table has by name."""
    if name.isascii() and name.isdecimal():
        return int(name)
    with about(table):
        lines = session.g.read_small(table).decode("utf-8", "surrogateescape").split("\n")
    for line in lines:
        fields = line.split(":")
        if fields[0] == name and len(fields) > 2 and fields[2].isascii() and fields[2].isdecimal():
            return int(fields[2])
    raise failure(errno.ENOENT, table, f"nobody is named {name!r}")


def _edit(session: Session, given: argparse.Namespace) -> None:
    for path in session.paths(given.path):
        edit(session, path)


CHANGING: Sequence[Command] = (
    Command(
        "put",
        "Copy files of this host into the guest: into a directory, or one to that name.",
        _put,
        _put_arguments,
        changes=True,
    ),
    Command(
        "cp",
        "Copy files within the guest; one that has the new name is replaced.",
        _cp,
        _cp_arguments,
        changes=True,
    ),
    Command(
        "mv", "Move or rename files; one that has the new name is replaced.", _mv, _from_to, changes=True
    ),
    Command(
        "edit",
        "Edit files by $VISUAL or $EDITOR; owner and permissions stay.",
        _edit,
        Parser.path,
        changes=True,
    ),
    Command("mkdir", "Make directories.", _mkdir, _mkdir_arguments, changes=True),
    Command("rm", "Remove files.", _rm, _rm_arguments, changes=True),
    Command("ln", "Make TO another name of a file, or a symlink to it.", _ln, _ln_arguments, changes=True),
    Command(
        "chmod",
        "Change the permissions of files; symlinks are followed.",
        _chmod,
        _chmod_arguments,
        changes=True,
    ),
    Command(
        "chown", "Change whose files they are; symlinks are followed.", _chown, _chown_arguments, changes=True
    ),
)
