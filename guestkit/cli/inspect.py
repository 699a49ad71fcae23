"""The command `inspect`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence

from guestkit.cli.text import render_reports, write
from guestkit.demo import make_demo_guest
from guestkit.fleet import inspect_many

DESCRIPTION = """\
Tell what is on disks: filesystems, operating systems, packages. The disks are only read.
Without a DISK: make a small demo guest and inspect that."""

EPILOG = """\
examples:
  guestkit inspect web.qcow2
  guestkit inspect --json /srv/images/*.qcow2 | jq '.[].inspection.operating_systems[].product_name'

exit status: 0 all is well, 1 a disk failed (the others are reported all the same), 2 wrong usage"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what `inspect` takes."""
    parser.add_argument("disks", metavar="DISK", nargs="*", help="a disk image or a block device")
    parser.add_argument("--json", action="store_true", help="print the reports as a JSON list")


def run(arguments: argparse.Namespace) -> int:
    """Do what the arguments say; return the exit status."""
    return inspect(arguments.disks, as_json=arguments.json)


def inspect(disks: Sequence[str], *, as_json: bool) -> int:
    """Inspect the disks, or a demo guest if there is none; print the reports; return the exit status.

    The report alone goes to stdout. Raises Error when the demo guest cannot be made.
    """
    if disks:
        return _inspect(disks, as_json)
    with tempfile.TemporaryDirectory(prefix="guestkit-demo-") as directory:
        disk = os.path.join(directory, "demo.img")
        print(f"guestkit: no disk given, making a small demo guest: {disk}", file=sys.stderr, flush=True)
        make_demo_guest(disk)
        return _inspect([disk], as_json)


def _inspect(disks: Sequence[str], as_json: bool) -> int:
    reports = sorted(inspect_many(disks), key=lambda report: disks.index(report.disk))
    if as_json:
        # Escaped to ASCII, as json does by default: names that are not UTF-8 stay exact, terminals stay safe.
        write(json.dumps([report.to_dict() for report in reports], indent=2) + "\n")
    else:
        write(render_reports(reports))
    return 1 if any(report.error for report in reports) else 0
