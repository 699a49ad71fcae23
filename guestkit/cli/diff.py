"""The command `diff`."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rich.table import Table
from rich.text import Text

from guestkit.cli.common import (
    DISK,
    add_disk_options,
    add_fleet_options,
    add_key_option,
    add_only_option,
    opening,
)
from guestkit.cli.ending import noting
from guestkit.cli.errors import of_failure
from guestkit.cli.screen import Screen
from guestkit.cli.text import columns, printable
from guestkit.comparison import Change, Comparison, diff, require
from guestkit.fleet import Report, inspect_many
from guestkit.inspection import ALL_PARTS, Part

DESCRIPTION = """\
Tell how two guests differ, such as one before and after an upgrade: packages, with which version is newer by
the distribution's own rules, users, services, kernels, network, mountpoints, settings. The disks are only
read."""
EXAMPLES = (
    "guestkit diff web.qcow2 db.img",
    "guestkit diff --json --only applications,users web.qcow2 db.img",
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

#: The parts of an inspection that have another name in a comparison, and those that are facts about a system.
_SHOWN: Mapping[Part, str] = {"applications": "packages"}
_FACTS: Mapping[Part, Sequence[str]] = {"locale": ("locale", "timezone"), "machine_id": ("machine_id",)}

_HEAD = ("CHANGE", "PART", "NAME", "BEFORE", "AFTER")
_STYLES = {"added": "green", "removed": "red", "newer": "cyan", "older": "magenta", "changed": "yellow"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what `diff` takes."""
    parser.add_argument("before", metavar="BEFORE", help=DISK)
    parser.add_argument("after", metavar="AFTER", help="the same of the other guest")
    parser.add_argument("--json", action="store_true", help="as JSON")
    add_only_option(parser, "compare nothing but these", _PARTS, _PARTS)
    add_disk_options(parser)
    add_key_option(parser)
    add_fleet_options(parser)
    parser.set_defaults(trouble=TROUBLE)


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Do what the arguments say; return the exit status."""
    require()  # before the work
    disks: Sequence[str] = (arguments.before, arguments.after)
    found: dict[str, Report] = {}
    with screen.fleet(len(disks)) as progress, noting("nothing is compared"):
        reports = inspect_many(
            disks,
            concurrency=arguments.concurrency or "auto",
            parts=arguments.only or _PARTS,
            keys=arguments.keys,
            timeout=arguments.timeout,
            cache=arguments.cache,
            sandbox=arguments.sandbox,
            **opening(arguments),
            progress=progress,
        )
        with contextlib.closing(reports):
            found.update((report.disk, report) for report in reports)
    before, after = (found[disk] for disk in disks)
    for report in found.values():
        if report.error is not None:
            screen.tell("error", of_failure(report))
    if before.inspection is None or after.inspection is None:
        return TROUBLE
    compared = diff(before.inspection, after.inspection)
    if set(arguments.only or _PARTS) != set(_PARTS):
        compared = _only(compared, arguments.only)
    if arguments.json:
        screen.write(json.dumps(compared.to_dict(), indent=2) + "\n")
    else:
        _show(compared, screen)
    for one in compared.unknown:
        screen.tell("error", f"not compared: {one}")
    return TROUBLE if compared.unknown else 1 if compared.changes else 0


def _only(compared: Comparison, parts: Sequence[Part]) -> Comparison:
    """Leave out what an inspection has beside the parts that were asked for."""

    def is_wanted(change: Change) -> bool:
        if change.part == "system":
            return any(change.name in _FACTS.get(part, ()) for part in parts)
        return change.part == "operating_systems" or any(
            change.part == _SHOWN.get(part, part) for part in parts
        )

    return replace(compared, changes=tuple(filter(is_wanted, compared.changes)))


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


def _cells(change: Change) -> tuple[str, ...]:
    name = f"{change.name}: {change.field}" if change.field else change.name
    return (_kind(change), change.part, name, change.before or "", change.after or "", change.system)


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
