"""The command `df`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from guestkit._usage import percent, share_of
from guestkit.cli.ending import noting
from guestkit.cli.errors import of_failure
from guestkit.cli.guests import guests_of, inspected, opening
from guestkit.cli.inspection_text import remedy_of, reported
from guestkit.cli.options import (
    BESIDE,
    add_disk_options,
    add_disks_argument,
    add_domain_options,
    add_fleet_options,
    add_key_option,
)
from guestkit.cli.screen import Screen
from guestkit.cli.text import columns, human_size, printable
from guestkit.fleet import Report
from guestkit.inspection import Part

DESCRIPTION = """\
Tell the size of each filesystem of guests, and how much of it is used. USE% counts space that is kept for
root as free. df(1), and df in guestkit shell, do not, and tell somewhat more.

What could not be opened or mounted is told on stderr. So is what else could not be found out, and then the
exit status is 1."""
EXAMPLES = (
    "guestkit df -h web.qcow2 db.img",
    "guestkit df --json web.qcow2",
)

_PARTS: tuple[Part, ...] = ("filesystems",)
_HEAD = ("DISK", "DEVICE", "TYPE", "SIZE", "USED", "USE%", "MOUNTED ON")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what `df` takes."""
    add_disks_argument(parser)
    parser.add_argument("-h", "--human", action="store_true", help="sizes such as 1.5M instead of bytes")
    parser.add_argument("--json", action="store_true", help="as a JSON list; sizes in bytes")
    add_domain_options(parser, BESIDE)
    add_disk_options(parser)
    add_key_option(parser)
    add_fleet_options(parser)


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Do what the arguments say; return the exit status."""
    found: list[Report] = []
    guests, how = guests_of(arguments), opening(arguments)
    with noting(lambda: reported(len(found), len(guests))):
        try:
            with inspected(arguments, screen, guests, how, parts=_PARTS) as reports:
                found.extend(reports)
        finally:  # even after Ctrl-C, show what is finished
            _tell(found, arguments, screen)
    return 1 if any(report.inspection is None or report.inspection.failures for report in found) else 0


def _tell(reports: Sequence[Report], arguments: argparse.Namespace, screen: Screen) -> None:
    found = sorted(reports, key=lambda report: report.index)
    if arguments.json:
        rows = [row for report in found for row in _values(report)]
        screen.write(json.dumps(rows, indent=2) + "\n")
    else:
        _show([_cells(row, arguments.human) for report in found for row in _values(report)], screen)
    for report in found:
        if report.error is not None:
            screen.tell("error", of_failure(report))
        if report.inspection is None:
            continue
        for failure in report.inspection.failures:
            screen.tell("error", f"{report.disk}: {failure.part}: {failure.message}")
        for system in report.inspection.operating_systems:
            for failure in system.failures:
                if failure.part == "mountpoints":  # no row is missing: those are of all filesystems
                    screen.tell("warning", f"{report.disk}: {failure.part}: {failure.message}")
        for one in report.inspection.unopened:
            screen.tell("warning", f"{report.disk}: {one.device} was not opened: {remedy_of(one)}")


def _values(report: Report) -> Iterator[dict[str, object]]:
    if report.inspection is None:
        return
    where = {
        device: mountpoint
        for system in report.inspection.operating_systems
        for mountpoint, device in system.mountpoints.items()
    }
    for one in report.inspection.filesystems:
        yield {
            "disk": report.disk,
            "device": one.device,
            "type": one.type,
            "size": one.size,
            "used": one.used,
            "use": None if (share := share_of(one)) is None else percent(share),
            "mountpoint": where.get(one.device, ""),
        }


def _cells(row: dict[str, object], human: bool) -> tuple[str, ...]:
    def shown(value: object) -> str:
        if value is None:
            return "-"
        return human_size(value) if human and isinstance(value, int) else str(value)

    use = "-" if row["use"] is None else f"{row['use']}%"
    sizes = (shown(row["size"]), shown(row["used"]))
    return (str(row["disk"]), str(row["device"]), str(row["type"]), *sizes, use, str(row["mountpoint"]))


def _show(rows: list[tuple[str, ...]], screen: Screen) -> None:
    if not screen.is_terminal:
        screen.write("".join(f"{line}\n" for line in columns([_HEAD, *rows])))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in _HEAD:
        table.add_column(
            name, justify="right" if name in ("SIZE", "USED", "USE%") else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    screen.show(table)
