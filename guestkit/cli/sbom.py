"""The command `sbom`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence

from guestkit._text import at_most
from guestkit._writing import write
from guestkit.cli.ending import noting
from guestkit.cli.errors import of_failure
from guestkit.cli.guests import guests_of, inspected, opening
from guestkit.cli.inspection_text import reported
from guestkit.cli.options import (
    BESIDE,
    add_disk_options,
    add_disks_argument,
    add_domain_options,
    add_guests_options,
)
from guestkit.cli.outputs import check_output
from guestkit.cli.screen import Screen
from guestkit.cli.usage import UsageError
from guestkit.disks import names_of
from guestkit.fleet import Report
from guestkit.sboms import FORMATS, DiskHash, Sbom, hash_disks, require, sbom
from guestkit.sboms.files import file_names

DESCRIPTION = """\
Write software bills of materials: which packages are on disks, for programs that look for known
vulnerabilities or check licences. The disks are only read.

Where a list of packages may be incomplete, the bill says so, and the exit status is 1. With SOURCE_DATE_EPOCH
in the environment, the same disk gives the same bytes. It needs the
Python libraries cyclonedx-python-lib, packageurl-python and spdx-tools."""
EXAMPLES = (
    "guestkit sbom web.qcow2 > web.cdx.json",
    "guestkit sbom --to spdx --hashes -o web.spdx.json web.qcow2",
    "guestkit sbom --languages -o sboms/ web.qcow2",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what `sbom` takes."""
    add_disks_argument(parser)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--to",
        choices=tuple(FORMATS),
        default="cyclonedx",
        help="CycloneDX 1.6 or SPDX 2.3, both as JSON (default: %(default)s)",
    )
    output.add_argument(
        "-o",
        "--output",
        metavar="OUTPUT",
        help="a file; or a directory (it ends in /, or exists) that gets a file for each guest, named after"
        " its disk; files of that name are replaced. Several guests need a directory. Default: stdout",
    )
    output.add_argument(
        "--hashes", action="store_true", help="with the SHA-256 of each disk, as it lies here"
    )
    output.add_argument(
        "--languages",
        action="store_true",
        help="with the packages of Python, npm and Java among the files",
    )
    add_domain_options(parser, BESIDE)
    add_disk_options(parser)
    add_guests_options(parser, "; --languages has as long again")


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Do what the arguments say; return the exit status."""
    disks: Sequence[str] = arguments.disks
    guests, how = guests_of(arguments, one=arguments.one_guest), opening(arguments)
    if arguments.hashes and arguments.domains:
        raise UsageError("--hashes is of disks that are named: it does not go with -d")
    require(arguments.to)  # before the work
    paths = _paths([names_of(guest)[0] for guest in guests], arguments)
    hashes = {names_of(disk)[0]: _hash(disk, screen) for disk in disks} if arguments.hashes else {}
    failed = done = 0
    with (
        noting(lambda: reported(done, len(guests))),
        inspected(arguments, screen, guests, how, languages=arguments.languages) as reports,
    ):
        for report in reports:
            failed += not _write(report, paths[report.index], hashes, arguments, screen)
            done += 1
    return 1 if failed else 0


def _paths(firsts: Sequence[str], arguments: argparse.Namespace) -> list[str | None]:
    """Return where each guest's bill goes; None: to stdout."""
    output: str | None = arguments.output
    if output is None:
        if len(firsts) > 1:
            raise UsageError("several guests need a directory: -o DIRECTORY/")
        return [None]
    if not output.endswith("/") and not os.path.isdir(output):
        if len(firsts) > 1:
            said = "is none" if os.path.lexists(output) else "is not there: one that ends in / is made"
            raise UsageError(f"several guests need a directory, and {output!r} {said}")
        check_output(output, arguments.disks)
        return [output]
    os.makedirs(output, exist_ok=True)
    paths = [os.path.join(output, name) for name in file_names(firsts, arguments.to)]
    for path in paths:
        check_output(path, arguments.disks, through=False)
    return list(paths)


def _hash(disk: str, screen: Screen) -> DiskHash:
    size = os.path.getsize(disk) if os.path.isfile(disk) else 0
    with (
        noting("nothing is written"),
        screen.transfer(f"hashing {os.path.basename(names_of(disk)[0])}") as tell,
    ):
        (found,) = hash_disks([disk], lambda done: tell(done, max(size, done)))
    return found


def _write(
    report: Report,
    path: str | None,
    hashes: Mapping[str, DiskHash],
    arguments: argparse.Namespace,
    screen: Screen,
) -> bool:
    """Write the bill of one guest; return whether it is all there."""
    if report.inspection is None:
        screen.tell("error", of_failure(report))
        return False
    name = os.path.basename(report.disk) or report.disk
    of_disks = [hashes[disk] for disk in report.disks if disk in hashes]
    bill = sbom(
        report.inspection, format=arguments.to, name=name, hashes=of_disks, languages=report.languages
    )
    if path is None:
        screen.write(bill.to_json())
    else:
        try:
            write(bill.to_json(), path, through=path == arguments.output)
        except OSError as error:
            screen.tell("error", f"{path}: {error.strerror}")
            return False
    _tell_gaps(report.disk, bill, screen)
    return bill.complete


def _tell_gaps(disk: str, bill: Sbom, screen: Screen) -> None:
    for sentence in at_most(
        (f"{disk}: the bill of materials may be incomplete: {gap}" for gap in bill.gaps),
        lambda more: f"{disk}: the bill of materials tells {more} more gaps",
    ):
        screen.tell("error", sentence)
