"""Report what is on many disks, several at a time, as results arrive: inspect_many.py FORMAT DISK…"""

from __future__ import annotations

import sys

import guestkit
from guestkit import printable


def outcome(report: guestkit.Report) -> str:
    if report.inspection is None:
        assert report.error is not None
        return printable(str(report.error))
    systems = report.inspection.operating_systems
    names = ", ".join(printable(system.product_name) for system in systems) or "no operating system"
    return f"{printable(report.disk)}: {names}"


def main(image_format: str, *disks: str) -> None:
    for done, report in enumerate(guestkit.inspect_many(disks, format=image_format, parts=()), 1):
        print(f"{done} of {len(disks)}: {outcome(report)}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: inspect_many.py FORMAT DISK…")
    main(*sys.argv[1:])
