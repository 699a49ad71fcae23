"""The command `convert`."""

from __future__ import annotations

import argparse
import json
import os
import time

from guestkit.cli.ending import noting
from guestkit.cli.errors import joined, remedy
from guestkit.cli.guests import disks_of, opening
from guestkit.cli.options import FORMATS, add_disk_options, add_sandbox_option, add_timeout_option
from guestkit.cli.screen import Screen
from guestkit.cli.text import human_size, printable
from guestkit.cli.usage import UsageError
from guestkit.convert import Conversion, conversion_result, convert_disk
from guestkit.errors import CallTimeout, Error

DESCRIPTION = """\
Write a disk into a new image, by qemu-img, which opens only what guestkit has checked. OUTPUT appears when
it is complete."""
EXAMPLES = (
    "guestkit convert web.qcow2 web.vmdk",
    "guestkit convert --compress --force web.qcow2 small.qcow2",
    "guestkit convert --format qcow2 --backing . overlay.qcow2 flat.img",
)

_SUFFIXES = {
    ".qcow2": "qcow2",
    ".img": "raw",
    ".raw": "raw",
    ".vmdk": "vmdk",
    ".vdi": "vdi",
    ".vhdx": "vhdx",
    ".vhd": "vpc",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what `convert` takes."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a disk image or a block device; compressed, or an archive such as an OVA, too",
    )
    parser.add_argument("output", metavar="OUTPUT", help="the new image")
    parser.add_argument("--to", choices=FORMATS, help="its format; default: by its suffix, such as .vmdk")
    parser.add_argument("--compress", action="store_true", help="compress it, where the format can")
    parser.add_argument(
        "--keep-backing",
        action="store_true",
        help="have it name SOURCE's backing file instead of copying that",
    )
    parser.add_argument("-f", "--force", action="store_true", help="replace an OUTPUT that is there already")
    parser.add_argument("--json", action="store_true", help="what came of it, as JSON")
    member = "the one disk of an archive that is wanted; needed if it has several"
    add_disk_options(parser, in_use="refuse", blocksize=False, snapshot=False, member=member)
    add_sandbox_option(
        parser,
        "qemu-img is confined, in case SOURCE takes it over: auto: not at all; strict: it opens no files but"
        " SOURCE's and OUTPUT, which takes what `guestkit appliance build` makes",
    )
    add_timeout_option(parser, "unpacking and converting")
    parser.set_defaults(blocksize=None, snapshot=None)


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Do what the arguments say; return the exit status."""
    kind = arguments.to or _SUFFIXES.get(os.path.splitext(arguments.output)[1].lower())
    if kind is None:
        raise UsageError(f"the name {arguments.output!r} does not tell its format: state it with --to")
    how, begin = opening(arguments), time.monotonic()
    outcome: Conversion | Error
    with (
        noting(f"{arguments.output} is not written; what was unfinished is removed"),
        screen.transfer(os.path.basename(arguments.output), of_bytes=False) as tell,
    ):
        try:
            outcome = convert_disk(
                arguments.source,
                arguments.output,
                kind,
                compress=arguments.compress,
                flatten=not arguments.keep_backing,
                progress=(lambda part: tell(part, 1.0)) if screen.shows_progress else None,
                source_format=arguments.format,
                backing=how["backing"],
                in_use=how["in_use"],
                unpack=how["unpack"],
                replace=arguments.force,
                sandbox=arguments.sandbox,
                timeout=arguments.timeout,
            )
        except Error as error:
            outcome = error
    result = conversion_result(arguments.source, arguments.output, kind, outcome, time.monotonic() - begin)
    if isinstance(outcome, Error):
        result["hint"] = remedy(outcome.cause, outcome.hint, disks_of(arguments))
        what = outcome.message
        if isinstance(outcome, CallTimeout):
            what = f"{result['source_path']}: took longer than --timeout, and was stopped"
        screen.tell("error", joined(what, result["hint"]))
    if arguments.json:
        screen.write(json.dumps(result, indent=2) + "\n")
    elif result["success"]:
        size = human_size(result["output_size"])
        screen.write(printable(f"{result['output_path']}: {kind}, {size}") + "\n")
    return 0 if result["success"] else 1
