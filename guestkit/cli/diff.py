"""The command `diff`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from guestkit.cli.ending import noting
from guestkit.cli.errors import of_failure
from guestkit.cli.guests import handle_of, inspected, located, mounts_of, opening
from guestkit.cli.options import (
    DISK,
    FORMATS,
    add_disk_options,
    add_domain_options,
    add_fleet_options,
    add_key_option,
    add_mount_option,
    add_only_option,
)
from guestkit.cli.screen import Screen
from guestkit.cli.text import columns, printable
from guestkit.cli.usage import UsageError
from guestkit.comparison import Change, Comparison, diff, require
from guestkit.disks import Domain, Guest
from guestkit.file_comparison import diff_guests
from guestkit.fleet import Report
from guestkit.inspection import ALL_PARTS, Part
from guestkit.opening import OpeningKeywords

DESCRIPTION = """\
Tell how two guests differ, such as one before and after an upgrade: packages, with which version is newer by
the distribution's own rules, users, services, kernels, network, mountpoints, settings; or their files. The
disks are only read. Without --files it needs the Python library univers."""
EXAMPLES = (
    "guestkit diff web.qcow2 db.img",
    "guestkit diff --glob '/etc/passwd*' --text web.qcow2 db.img",
    "guestkit diff -d web db.img",
)
EXIT_STATUS = """\
exit status, as that of diff(1):
  0  no difference
  1  there are differences
  2  trouble, or wrong usage: said on stderr; what could be compared is in the result
130, 143  ended by Ctrl-C or a signal; 141: nobody reads the output any more"""

TROUBLE = 2

#: What costs time, and is no difference that anybody asks for.
_PARTS: tuple[Part, ...] = tuple(part for part in ALL_PARTS if part != "icon")

_HEAD = ("CHANGE", "PART", "NAME", "BEFORE", "AFTER")
_STYLES = {"added": "green", "removed": "red", "newer": "cyan", "older": "magenta", "changed": "yellow"}
_LINES = {"+": "green", "-": "red", "@": "cyan"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what `diff` takes."""
    for name, about in (("BEFORE", DISK), ("AFTER", "the same of the other guest")):
        # -d appends to the same list, in the order in which all are given
        parser.add_argument(dest="guests", metavar=name, action="append", help=about)
    parser.add_argument("--json", action="store_true", help="as JSON")
    add_only_option(parser, "compare nothing but these", _PARTS, _PARTS)
    files = parser.add_argument_group("files")
    files.add_argument(
        "--files",
        action="store_true",
        help="compare the files instead: type, mode, owner, size, target, content; not the times",
    )
    files.add_argument(
        "--glob",
        metavar="GLOB",
        help="of the files those whose path matches, such as '/etc/*', where * matches / as well; implies"
        " --files",
    )
    files.add_argument(
        "--text", action="store_true", help="with --files: the lines in which texts up to 1 MiB differ"
    )
    files.add_argument(
        "--root",
        metavar="DEVICE",
        help="with --files: the filesystem that is / in both; default: that of the only operating system",
    )
    add_mount_option(files, "with --files: in both guests look at that filesystem and no other")
    add_domain_options(parser, "a guest in place of BEFORE or AFTER", dest="guests")
    add_disk_options(parser)
    parser.add_argument(
        "--before-format", choices=FORMATS, help="what BEFORE is, where --format is of AFTER alone"
    )
    parser.add_argument(
        "--before-snapshot",
        metavar="NAME",
        help="that snapshot in BEFORE, where --snapshot is of AFTER alone",
    )
    add_key_option(parser)
    add_fleet_options(parser, "; with --files: for a call of libguestfs (default: none)")
    parser.set_defaults(trouble=TROUBLE)


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Do what the arguments say; return the exit status."""
    _check(arguments)
    compared = _files(arguments, screen) if _is_of_files(arguments) else _inspected(arguments, screen)
    if compared is None:
        return TROUBLE
    if arguments.json:
        screen.write(json.dumps(compared.to_dict(), indent=2) + "\n")
    else:
        _show(compared, screen)
    for one in compared.unknown:
        screen.tell("error", f"not compared: {one}")
    return TROUBLE if compared.unknown else 1 if compared.changes else 0


def _is_of_files(arguments: argparse.Namespace) -> bool:
    return arguments.files or arguments.glob is not None


def _check(arguments: argparse.Namespace) -> None:
    """Refuse options that would have no effect."""
    if not _is_of_files(arguments):
        if arguments.text or arguments.root or arguments.mounts:
            raise UsageError("--text, --root and --mount are for --files")
        return
    of_inspections = {
        "--only": arguments.only,
        "--cache": arguments.cache,
        "--concurrency": arguments.concurrency,
    }
    for option, given in of_inspections.items():
        if given:
            raise UsageError(f"{option} is of an inspection, --files of files: give one of them")


def _guests(arguments: argparse.Namespace) -> Sequence[tuple[Guest, OpeningKeywords]]:
    """Return the two guests, and how to open the disks of each."""
    given: Sequence[str | Domain] = arguments.guests
    if len(given) != 2:
        raise UsageError("two guests are compared, each of them a DISK or a -d DOMAIN")
    guests = [located(one, arguments) if isinstance(one, Domain) else one for one in given]
    if arguments.before_format and isinstance(guests[0], Domain):
        raise UsageError("--before-format is of a DISK: libvirt states the formats of a domain's disks")
    after = opening(arguments)
    before = after.copy()
    if arguments.before_format:
        before["format"] = arguments.before_format
    if arguments.before_snapshot:
        before["snapshot"] = arguments.before_snapshot
    return [*zip(guests, (before, after), strict=True)]


def _inspected(arguments: argparse.Namespace, screen: Screen) -> Comparison | None:
    """Compare what inspections say; None if one fails, which is told."""
    require()  # before the work
    found: list[Report] = []
    guests = _guests(arguments)
    (before, how), (after, how_after) = guests
    groups = [([guest], options) for guest, options in guests]
    if how == how_after:
        groups = [([before, after], how)]
    parts = arguments.only or _PARTS
    with noting("nothing is compared"):
        for group, options in groups:
            with inspected(arguments, screen, group, options, parts=parts) as reports:
                found += sorted(reports, key=lambda report: report.index)
    for report in found:
        if report.error is not None:
            screen.tell("error", of_failure(report))
    first, second = (report.inspection for report in found)
    if first is None or second is None:
        return None
    return diff(first, second, parts=None if set(parts) == set(_PARTS) else parts)


def _files(arguments: argparse.Namespace, screen: Screen) -> Comparison:
    mounts = mounts_of(arguments)
    (before, how), (after, how_after) = _guests(arguments)
    handle = handle_of(arguments, arguments.timeout)  # one call may read all that a large guest has
    with noting("nothing is compared"), screen.steps("comparing the files") as step:
        return diff_guests(
            before,
            after,
            handle,
            glob="*" if arguments.glob is None else arguments.glob,
            text=arguments.text,
            root=arguments.root,
            mounts=mounts,
            keys=arguments.keys,
            before=how,
            step=step,
            **how_after,
        )


def _show(compared: Comparison, screen: Screen) -> None:
    with_system = any(change.system for change in compared.changes)
    head = (*_HEAD, "SYSTEM") if with_system else _HEAD
    rows = [_cells(change)[: len(head)] for change in compared.changes]
    if not screen.is_terminal:
        screen.write("".join(f"{line}\n" for line in columns([head, *rows])) if rows else "")
    elif rows:
        screen.show(_table(head, rows))
    else:
        screen.show(Text("no difference", style="dim"))
    for change in compared.changes:
        if change.text:
            screen.show_lines(_text(change))


def _text(change: Change) -> Iterator[Text]:
    """Yield the lines in which a file differs, as diff(1) writes them."""
    yield Text("")
    yield Text(f"--- {printable(change.name)}", style="bold")
    yield Text(f"+++ {printable(change.name)}", style="bold")
    for line in change.text:
        shown = "\t".join(map(printable, line.split("\t")))
        yield Text(shown, style=_LINES.get(line[:1], ""))


def _cells(change: Change) -> tuple[str, ...]:
    name = f"{change.name}: {change.field}" if change.field else change.name
    values = [change.before or "", change.after or ""]
    if change.field == "content":  # a few digits of a checksum tell as much
        values = [value[:12] for value in values]
    return (_kind(change), change.part, name, *values, change.system)


def _kind(change: Change) -> str:
    if change.before is None:
        return "added"
    return "removed" if change.after is None else change.order or "changed"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in head:
        table.add_column(name, overflow="fold")
    for kind, *others in rows:
        table.add_row(Text(kind, style=_STYLES[kind]), *(Text(printable(cell)) for cell in others))
    return table
