"""The commands that look at the guest and copy out of it."""

from __future__ import annotations

import argparse
import fnmatch
import posixpath
import stat
from collections.abc import Iterator, Sequence
from functools import partial

from rich.text import Text

from guestkit._file_errors import about, check_regular
from guestkit._usage import percent, used_share
from guestkit.cli import contents
from guestkit.cli.listing import list_each, tell_left_out, tell_skipped
from guestkit.cli.options import add_bound_option, add_form_options
from guestkit.cli.outcome import each
from guestkit.cli.screen import Screen
from guestkit.cli.shell.command import Command, Parser
from guestkit.cli.shell.paging import page
from guestkit.cli.shell.session import Session, host_path
from guestkit.cli.text import columns, human_size, printable, utc
from guestkit.copying import copy_out
from guestkit.files import MAX_BYTES, kind_of, word_for
from guestkit.reading import list_files

#: A larger file is shown by the pager, if somebody reads it on a terminal; in bytes.
LONG_FILE = 1 << 20


def _cd(session: Session, given: argparse.Namespace) -> None:
    session.enter(given.directory)


def _pwd(session: Session, given: argparse.Namespace) -> None:
    session.screen.write(f"{printable(session.cwd)}\n")


def _ls_arguments(parser: Parser) -> None:
    add_form_options(parser)
    parser.path(nargs="*")


def _ls(session: Session, given: argparse.Namespace) -> int:
    paths = session.paths(given.path or ["."])
    return list_each(session.g, paths, given, session.screen, partial(session.tell_error, "ls"))


def _cat(session: Session, given: argparse.Namespace) -> int:
    def show(path: str) -> None:
        with about(path):
            seen = session.g.statns(path)
        check_regular(path, seen["st_mode"])
        size = seen["st_size"]
        read_by_a_person = session.interactive and session.screen.is_terminal
        if read_by_a_person and size > LONG_FILE:
            page(session, path)
            return
        contents.write(session.g, path, session.screen)
        if read_by_a_person and size and session.g.pread(path, 1, size - 1) != b"\n":
            session.screen.write("\n")  # else the prompt would stand behind it

    return each(session.paths(given.path), show, partial(session.tell_error, "cat"))


def _less(session: Session, given: argparse.Namespace) -> int:
    def show(path: str) -> None:
        with about(path):
            check_regular(path, session.g.statns(path)["st_mode"])
        page(session, path)

    return each(session.paths(given.path), show, partial(session.tell_error, "less"))


def _find_arguments(parser: Parser) -> None:
    parser.path("DIRECTORY", nargs="?")
    parser.add_argument("-name", metavar="PATTERN", help="whose name matches, as '*.conf'; quote the pattern")
    parser.add_argument(
        "-type", metavar="KIND", choices=list("fdlbcps"), help="f: files, d: directories, l: symlinks"
    )


def _find(session: Session, given: argparse.Namespace) -> int:
    left_out: list[str] = []
    top = session.path(given.directory or ".")
    kind = "-" if given.type == "f" else given.type
    session.screen.show_lines(
        Text(printable(file.path))
        for file in list_files(session.g, top, recursive=True, left_out=left_out.append)
        if kind in (None, file.kind)
        and (given.name is None or fnmatch.fnmatchcase(posixpath.basename(file.path), given.name))
    )
    return tell_left_out(session.screen, left_out)


def _stat(session: Session, given: argparse.Namespace) -> int:
    def show(path: str) -> None:
        with about(path):
            seen = session.g.lstatns(path)
            mode = seen["st_mode"]
            target = session.g.readlink(path) if stat.S_ISLNK(mode) else None
        rows = [
            ("path", path),
            *([("target", target)] if target is not None else []),
            ("type", word_for(kind_of(mode))),
            ("size", str(seen["st_size"])),
            ("mode", f"{stat.S_IMODE(mode):04o} {stat.filemode(mode)}"),
            ("owner", f"{seen['st_uid']}:{seen['st_gid']}"),
            ("links", str(seen["st_nlink"])),
            ("inode", str(seen["st_ino"])),
            ("modified", f"{utc(seen['st_mtime_sec'])} UTC"),
            ("changed", f"{utc(seen['st_ctime_sec'])} UTC"),
            ("accessed", f"{utc(seen['st_atime_sec'])} UTC"),
        ]
        _show(session.screen, rows)

    return each(session.paths(given.path), show, partial(session.tell_error, "stat"))


def _df_arguments(parser: Parser) -> None:
    parser.flag("h", "human", "sizes such as 1.5M instead of bytes")


def _df(session: Session, given: argparse.Namespace) -> None:
    def rows() -> Iterator[tuple[str, ...]]:
        yield ("DEVICE", "SIZE", "USED", "AVAIL", "USE%", "MOUNTED ON")
        for device, mountpoint in sorted(session.g.mountpoints().items(), key=lambda one: one[1]):
            seen = session.g.statvfs(mountpoint)
            size, free, usable = (seen["frsize"] * seen[name] for name in ("blocks", "bfree", "bavail"))
            used = max(size - free, 0)  # a disk may claim more free blocks than it has
            share = used_share(used, usable)
            use = "-" if share is None else f"{percent(share)}%"
            sizes = [human_size(one) if given.human else str(one) for one in (size, used, usable)]
            yield (device, *sizes, use, mountpoint)

    _show(session.screen, list(rows()))


def _show(screen: Screen, rows: Sequence[tuple[str, ...]]) -> None:
    screen.write("".join(f"{line}\n" for line in columns(rows)))


def copy_arguments(parser: Parser) -> None:
    """Add the options of get, put and cp."""
    parser.flag("r", "recursive", "directories too")


def _get_arguments(parser: Parser) -> None:
    copy_arguments(parser)
    parser.flag("f", "force", "replace a file that is there already")
    add_bound_option(parser, MAX_BYTES)
    parser.path("PATH")
    parser.path("HOST", nargs=None)


def _get(session: Session, given: argparse.Namespace) -> int:
    with session.screen.transfer("copying") as progress:
        copied = copy_out(
            session.g,
            session.paths(given.path),
            host_path(given.host),
            recursive=given.recursive,
            replace=given.force,
            max_bytes=given.max_gib << 30,
            progress=progress if session.screen.shows_progress else None,
        )
    return tell_skipped(session.screen, copied)


LOOKING = (
    Command(
        "cd",
        "Make a directory the current one; - is the one before.",
        _cd,
        lambda parser: parser.add_argument("directory", metavar="DIRECTORY", nargs="?", default="/"),
    ),
    Command("pwd", "Tell the current directory.", _pwd),
    Command(
        "ls",
        "List directories, or files alone. A symlink that is named and leads to a directory is followed.",
        _ls,
        _ls_arguments,
    ),
    Command(
        "cat",
        "Show files; exactly in a pipe. A long one on a terminal is shown by the pager.",
        _cat,
        Parser.path,
    ),
    Command("less", "Show files by the pager: $PAGER, or less.", _less, Parser.path),
    Command("find", "Tell the paths of all files below a directory.", _find, _find_arguments),
    Command("stat", "Tell what is known about files; symlinks are not followed.", _stat, Parser.path),
    Command("df", "Tell how full the mounted filesystems are.", _df, _df_arguments),
    Command(
        "get",
        "Copy files of the guest to this host: into a directory, or one to that name.",
        _get,
        _get_arguments,
    ),
)
