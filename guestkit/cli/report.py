"""The command `report`."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from guestkit._writing import write
from guestkit.cli.ending import noting
from guestkit.cli.errors import of_failure, remedy
from guestkit.cli.guests import disks_of, guests_of, inspected, opening
from guestkit.cli.inspection_text import is_failed
from guestkit.cli.options import (
    BESIDE,
    add_disk_options,
    add_disks_argument,
    add_domain_options,
    add_guests_options,
)
from guestkit.cli.outputs import check_output, is_same_file
from guestkit.cli.screen import Screen
from guestkit.cli.usage import UsageError
from guestkit.disks import Guest
from guestkit.fleet import Report
from guestkit.opening import OpeningKeywords
from guestkit.reports import load, report, require

DESCRIPTION = """\
Write a page of HTML about disks, for people: what failed and why, systems and until when they get security
updates, how the disks are divided and how full they are, and packages, which can be searched across all
disks. The page is one file that loads nothing. The disks are only read. It needs
the Python libraries jinja2 and cattrs.

A system that was found only in part is on the page with what is missing. The exit status is 1 if of a guest
nothing was found out, or if no guest is in what --from reads."""
EXAMPLES = (
    "guestkit report -o report.html web.qcow2",
    "guestkit report -o report.html --from report.json",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what `report` takes."""
    add_disks_argument(parser, needed=False)
    output = parser.add_argument_group("output")
    output.add_argument(
        "-o", "--output", metavar="OUTPUT", help="a file, which is replaced if it is there; default: stdout"
    )
    output.add_argument("--title", metavar="TEXT", default="", help="the title of the page")
    parser.add_argument(
        "--from",
        dest="saved",
        metavar="FILE",
        action="append",
        default=[],
        help="what guestkit inspect --json or --jsonl has written, instead of disks, or beside them;"
        " - is stdin",
    )
    add_domain_options(parser, BESIDE)
    add_disk_options(parser)
    add_guests_options(parser)


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Do what the arguments say; return the exit status."""
    _check(arguments, screen)
    guests = guests_of(arguments, one=arguments.one_guest) if disks_of(arguments) else []
    how = opening(arguments)
    require()  # before the work
    known: list[bool] = []
    with noting("nothing is written"):
        results = _watched(_results(arguments, screen, guests, how), known, screen)
        page = report(results, title=arguments.title)
    status = 0 if known and all(known) else 1
    if arguments.output is None:
        screen.write_bytes(page.encode())
        return status
    try:
        write(page, arguments.output, through=True)
    except OSError as error:
        screen.tell("error", f"{arguments.output}: {error.strerror}")
        return 1
    return status


def _check(arguments: argparse.Namespace, screen: Screen) -> None:
    if not (disks_of(arguments) or arguments.saved):
        raise UsageError("give a DISK, or --from FILE")
    if arguments.output is not None:
        check_output(arguments.output, arguments.disks)
        if any(is_same_file(arguments.output, path) for path in arguments.saved):
            raise UsageError(f"the output {arguments.output!r} is what --from reads")
    elif screen.is_terminal:
        raise UsageError("a page of HTML is nothing for a terminal: -o FILE")


def _results(
    arguments: argparse.Namespace, screen: Screen, guests: Sequence[Guest], how: OpeningKeywords
) -> Iterator[Report]:
    for path in arguments.saved:
        yield from load(path)
    if guests:
        with inspected(arguments, screen, guests, how) as reports:
            yield from map(_in_terms_of_the_command, reports)


def _in_terms_of_the_command(result: Report) -> Report:
    """Return the report with what to do as the command line has it."""
    error = result.error
    if error is None:
        return result
    return replace(result, error=replace(error, hint=remedy(error.cause, error.hint, result.disks)))


def _watched(results: Iterable[Report], known: list[bool], screen: Screen) -> Iterator[Report]:
    """Pass the reports on; tell of those that failed, and keep of each whether anything was found out."""
    for result in results:
        if result.error is not None:
            screen.tell("error", of_failure(result))
        known.append(not is_failed(result))
        yield result
