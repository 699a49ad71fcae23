"""The command `info`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.console import Group
from rich.text import Text

from guestkit.archives import disks_in_archive
from guestkit.cli.errors import of_failure, told
from guestkit.cli.facts import Fact, fact_grid, fact_lines
from guestkit.cli.options import FORMATS
from guestkit.cli.screen import Screen
from guestkit.cli.text import human_size, printable
from guestkit.errors import Error
from guestkit.fleet import Report, failed
from guestkit.images import ImageInfo, ImageReference, probe
from guestkit.unpack import PACKED

DESCRIPTION = """\
Tell the format of disk images, their size, and everything outside of the file that they refer to. The header
is read; no other file is opened, no other program is run. What is a raw disk can begin like any other format:
what --format is to say has to come from elsewhere."""
EXAMPLES = (
    "guestkit info web.qcow2",
    "guestkit info --json overlay.qcow2",
)

#: What presents the disk in a file of that content.
PRESENTED = {"ewf": "ewfmount", "ewf2": "ewfmount", "aff": "affuse"}

_MEANS = {
    "backing": "backing file",
    "data": "file that holds the data",
    "extent": "file that holds a part of the data",
    "parent": "parent disk",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what `info` takes."""
    parser.add_argument("disks", metavar="DISK", nargs="+", help="a disk image")
    parser.add_argument("--format", choices=FORMATS, help="what it is; default: by what it begins with")
    parser.add_argument(
        "--json",
        action="store_true",
        help="everything known, as a JSON list; of a disk that failed, the error",
    )


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Do what the arguments say; return the exit status."""
    found: list[tuple[str, ImageInfo | Report]] = []
    for disk in arguments.disks:
        try:
            found.append((disk, probe(disk, arguments.format)))
        except Error as error:
            report = failed(disk, error, 0.0)
            found.append((disk, report))
            screen.tell("error", of_failure(report))
    infos = [(disk, info) for disk, info in found if isinstance(info, ImageInfo)]
    status = int(len(infos) < len(found))
    if arguments.json:
        screen.write(json.dumps([_row(disk, result) for disk, result in found], indent=2) + "\n")
        return status
    for number, (disk, info) in enumerate(infos):
        if screen.is_terminal:
            screen.show(Group(Text(printable(disk), style="bold"), fact_grid(_facts(disk, info))))
        else:
            lines = "".join(f"{line}\n" for line in fact_lines(_facts(disk, info)))
            screen.write(("\n" if number else "") + f"{printable(disk)}\n{lines}")
    return status


def _row(disk: str, result: ImageInfo | Report) -> dict[str, Any]:
    """Return what JSON has of a disk."""
    if isinstance(result, ImageInfo):
        return {"disk": disk, **result.to_dict(), **_inside(disk, result)}
    return {"disk": disk, "error": told(result)["error"]}


def _inside(disk: str, info: ImageInfo) -> dict[str, Any]:
    """Return the disks of an archive, or the reason why there are none."""
    if info.content != "tar":
        return {}
    try:
        return {"inside": [asdict(each) for each in disks_in_archive(disk)]}
    except Error as error:
        return {"inside": [], "inside_error": error.message.removeprefix(f"{disk}: ")}


def _facts(disk: str, info: ImageInfo) -> Iterator[Fact]:
    kind = " ".join(
        word for word in (info.format, info.subformat and f"({info.subformat})", info.content) if word
    )
    yield "format", [printable(kind)]
    if info.content in PACKED:
        inside = _inside(disk, info)
        yield (
            "holds",
            [printable(f"disk {each['name']!r}, {_size(each['size'])}") for each in inside.get("inside", [])]
            or [printable(inside.get("inside_error", "a disk, perhaps, that is compressed"))],
        )
    elif info.content in PRESENTED:
        yield "holds", [f"a disk, which {PRESENTED[info.content]} presents"]
    else:
        yield "virtual size", [_size(info.virtual_size)]
    yield "file size", [_size(info.file_size)]
    if info.blocksize is not None and info.content not in (*PACKED, *PRESENTED):
        yield "sectors", [f"{info.blocksize} bytes"]
    for label, value in (("encryption", info.encryption), ("compression", info.compression)):
        if value:
            yield label, [printable(value)]
    if info.snapshots:
        yield "snapshots", [printable(f"{one.id} {one.name}") for one in info.snapshots]
    state = [
        text
        for text, holds in (
            ("is in use: what is read may be inconsistent", info.in_use),
            ("was not closed properly", info.dirty),
            ("is marked as corrupt", info.corrupt),
            ("is truncated: its data ends before its tables say", info.truncated),
        )
        if holds
    ]
    if state:
        yield "state", state
    yield "refers to", [_reference(one) for one in info.references] or ["nothing outside itself"]
    if info.references:
        yield "", ["opened only where that is permitted: --format with --backing DIRECTORY"]


def _size(size: int) -> str:
    return f"{human_size(size)} ({size} bytes)" if size >= 1024 else f"{size} bytes"


def _reference(one: ImageReference) -> str:
    what = _MEANS.get(one.kind, one.kind)
    read = f"read as {one.format}" if one.format else "QEMU would guess its format"
    return printable(f"{what} {one.name!r}, {read}")
