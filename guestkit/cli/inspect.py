"""The command `inspect`."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence

from guestkit.cli.ending import noting
from guestkit.cli.errors import of_failure, told
from guestkit.cli.guests import disks_of, guests_of, inspected, opening
from guestkit.cli.inspection_text import is_failed, render_reports, reported, tree
from guestkit.cli.options import (
    BESIDE,
    add_disk_options,
    add_disks_argument,
    add_domain_options,
    add_guests_options,
    add_only_option,
)
from guestkit.cli.screen import Screen
from guestkit.cli.usage import UsageError
from guestkit.demo import make_demo_guest
from guestkit.disks import Guest
from guestkit.fleet import Report
from guestkit.inspection import ALL_PARTS, DEFAULT_PARTS, Part

DESCRIPTION = """\
Tell what is on disks: filesystems, operating systems, packages. The disks are only read.

A system that was found only in part tells under "failures" what is missing. The exit status is 1 if of a
guest nothing was found out."""
EXAMPLES = (
    "guestkit inspect web.qcow2",
    "guestkit inspect --json web.qcow2 db.img > report.json",
    "guestkit inspect --jsonl --only users,network web.qcow2 db.img",
    "guestkit inspect --xml web.qcow2",
    "guestkit inspect --format qcow2 --backing . overlay.qcow2",
    "guestkit inspect --demo",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what `inspect` takes."""
    add_disks_argument(parser, needed=False)
    parser.add_argument(
        "--demo", action="store_true", help="where no guest is given: make a small one, and inspect that"
    )
    output = parser.add_argument_group("output").add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="the reports as a JSON list, at the end")
    output.add_argument("--jsonl", action="store_true", help="a JSON object a line, as the disks get ready")
    output.add_argument("--xml", action="store_true", help="of one guest, as virt-inspector writes it")
    what = parser.add_argument_group("what is reported")
    add_only_option(what, "beside the operating systems")
    what.add_argument(
        "--applications",
        action=argparse.BooleanOptionalAction,
        help="list the packages; default: a terminal shows their number, all else gets the list",
    )
    what.add_argument(
        "--mode",
        choices=("auto", "libguestfs"),
        default="auto",
        help="libguestfs: by its own inspection alone, which is slower",
    )
    add_domain_options(parser, BESIDE)
    add_disk_options(parser)
    add_guests_options(parser)


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Do what the arguments say; return the exit status."""
    given = guests_of(arguments, one=arguments.one_guest) if disks_of(arguments) else []
    if not (given or arguments.demo):  # such as of a search that found nothing
        raise UsageError("give a DISK, -d DOMAIN, or --demo, which makes a small guest")
    if arguments.xml and len(given) > 1:
        raise UsageError("--xml is for one guest: one DISK, one -d DOMAIN, or --one-guest")
    how = opening(arguments)
    with _guests(given, screen) as guests:
        output = _Output(arguments, screen)
        parts = _wanted(arguments, screen)
        with noting(lambda: reported(output.written, len(guests))):
            try:
                with inspected(arguments, screen, guests, how, parts=parts, mode=arguments.mode) as reports:
                    for report in reports:
                        output.add(report)
            finally:  # even after Ctrl-C, show what is finished
                output.end()
    return 1 if output.failed else 0


@contextlib.contextmanager
def _guests(given: Sequence[Guest], screen: Screen) -> Iterator[Sequence[Guest]]:
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="guestkit-demo-") as directory:
        disk = os.path.join(directory, "demo.img")
        screen.note(f"making a small demo guest: {disk}")
        with noting("the demo guest is removed"), screen.steps("making the demo guest"):
            make_demo_guest(disk)
        yield [disk]


def _wanted(arguments: argparse.Namespace, screen: Screen) -> tuple[Part, ...]:
    parts = set(arguments.only or DEFAULT_PARTS)
    if arguments.applications:
        parts.add("applications")
    if arguments.applications is False:
        parts.discard("applications")
    return tuple(part for part in ALL_PARTS if part in parts)


class _Output:
    """Writes the reports. Text and trees appear as early as the order of the given disks permits."""

    def __init__(self, arguments: argparse.Namespace, screen: Screen) -> None:
        self._arguments = arguments
        self._screen = screen
        self._next = 0
        self._ready: dict[int, Report] = {}
        self.written = 0
        self.failed = False

    def add(self, report: Report) -> None:
        self.failed |= is_failed(report)
        if self._arguments.jsonl:
            self._tell_error(report)
            self._screen.write(json.dumps(told(report)) + "\n")
            self.written += 1
            return
        self._ready[report.index] = report
        if not (self._arguments.json or self._arguments.xml):
            while self._next in self._ready:
                self._write(self._ready.pop(self._next))
                self._next += 1

    def end(self) -> None:
        """Write what is left."""
        rest = [self._ready[index] for index in sorted(self._ready)]
        self._ready = {}
        if self._arguments.json:
            for report in rest:
                self._tell_error(report)
            # ASCII, json's default: it keeps names that are not UTF-8 exact, and is safe for terminals.
            self._screen.write(json.dumps([told(report) for report in rest], indent=2) + "\n")
            self.written = len(rest)
        elif self._arguments.xml:
            for report in rest:
                self._write_xml(report)
        else:
            for report in rest:
                self._write(report)

    def _tell_error(self, report: Report) -> None:
        if report.error is not None:
            self._screen.tell("error", of_failure(report))

    def _write(self, report: Report) -> None:
        self._tell_error(report)
        if self._screen.is_terminal:
            self._screen.show(tree(report, packages=bool(self._arguments.applications)))
        else:
            self._screen.write(("\n" if self.written else "") + render_reports([report]))
        self.written += 1

    def _write_xml(self, report: Report) -> None:
        self._tell_error(report)
        if report.inspection is not None:
            # XML that states no encoding is UTF-8, whatever the terminal's encoding is.
            self._screen.write_bytes(report.inspection.to_xml().encode())
        self.written += 1
