"""Files of a guest as the lines of a listing."""

from __future__ import annotations

import argparse
import stat
from collections.abc import Callable, Iterator, Sequence

from rich.text import Text

from guestkit._text import at_most
from guestkit.cli.outcome import each
from guestkit.cli.screen import Screen
from guestkit.cli.text import human_size, printable, utc
from guestkit.files import Extracted, GuestFile, mode_of
from guestkit.handle import Guestfs
from guestkit.reading import list_files, lstat


def list_each(
    g: Guestfs,
    paths: Sequence[str],
    arguments: argparse.Namespace,
    screen: Screen,
    tell: Callable[[Exception], object],
) -> int:
    """Write the listings of the paths as ls(1) does; return the exit status.

    The files that are no directories come first, then each directory as soon as it is read. If there are
    several paths, it has a heading.

    arguments: those of `add_form_options`
    tell: as in `each`
    """
    files: list[GuestFile] = []
    directories: list[str] = []
    written = False

    def sort(path: str) -> None:
        if g.is_dir(path, followsymlinks=True):
            directories.append(path)
        else:
            files.append(lstat(g, path))

    def show(path: str) -> int:
        nonlocal written
        left_out: list[str] = []
        found = list_files(g, path, recursive=arguments.recursive, left_out=left_out.append)
        if len(paths) > 1:
            blank = "\n" if written else ""
            screen.write(f"{blank}{printable(path)}:\n")
        screen.show_lines(lines(found, arguments, path.rstrip("/") + "/"))
        written = True
        return tell_left_out(screen, left_out)

    status = each(paths, sort, tell)
    if files:
        screen.show_lines(lines(files, arguments))
        written = True
    return each(directories, show, tell) | status


def lines(files: Sequence[GuestFile], arguments: argparse.Namespace, top: str = "") -> Iterator[Text]:
    """Yield the lines of a listing, in the form that the options of `add_form_options` ask for.

    top: what the files' names do not begin with
    """
    names = [Text(printable(file.path.removeprefix(top)), style=_style(file)) for file in files]
    if not arguments.long:
        yield from names
        return
    sizes = [human_size(file.size) if arguments.human else str(file.size) for file in files]
    owners = [f"{file.uid} {file.gid}" for file in files]
    width, owner_width = max(map(len, sizes), default=0), max(map(len, owners), default=0)
    for file, name, size, owner in zip(files, names, sizes, owners, strict=True):
        mode = stat.filemode(mode_of(file))
        target = f" -> {printable(file.target)}" if file.kind == "l" else ""
        about = f"{mode} {owner:<{owner_width}} {size:>{width}} {utc(file.mtime)} "
        yield Text.assemble(about, name, target)


def tell_left_out(screen: Screen, left_out: Sequence[str]) -> int:
    """Warn of what `list_files` has left out; return the exit status."""
    for sentence in left_out:
        screen.tell("warning", sentence)
    return 1 if left_out else 0


def tell_skipped(screen: Screen, copied: Extracted) -> int:
    """Warn of what was not copied; return the exit status."""
    for sentence in at_most(
        (f"{skipped.path}: not copied: {skipped.reason}" for skipped in copied.skipped),
        lambda more: f"{more} more files are not copied either",
    ):
        screen.tell("warning", sentence)
    return 1 if copied.skipped else 0


def _style(file: GuestFile) -> str:
    if file.kind == "-":
        return "green" if file.mode & 0o111 else ""
    return {"d": "bold blue", "l": "cyan"}.get(file.kind, "yellow")
