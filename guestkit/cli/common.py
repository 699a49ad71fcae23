"""Options that several commands share, and how they open a disk."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
from collections.abc import Collection, Generator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypedDict, get_args

from guestkit.fleet import TIMEOUT
from guestkit.guest import guest_path, open_guest
from guestkit.handle import Guestfs
from guestkit.handle_options import INSPECTION, Sandbox
from guestkit.images import Backing, InUse, under
from guestkit.inspection import ALL_PARTS, DEFAULT_PARTS, Key, Part
from guestkit.unpack import UNPACK, UnpackLimits

if TYPE_CHECKING:
    from guestkit.cli.screen import Screen

#: QEMU's names of the formats that guestkit reads and writes.
FORMATS = ("raw", "qcow2", "qcow", "vmdk", "vdi", "vhdx", "vpc")

#: The help of an argument.
DISK = "a disk image or a block device; compressed, or an archive such as an OVA, too"

#: How long a call may still run after Ctrl-C, in seconds.
GRACE = 0.3

EXIT_STATUS = """\
exit status:
  0  all is well
  1  something failed: said on stderr, or with its disk in the result
  2  wrong usage
130, 143  ended by Ctrl-C or a signal; 141: nobody reads the output any more"""


class UsageError(Exception):
    """Arguments that do not fit together; the text says why."""


class Command(Protocol):
    """The interface of a command's module."""

    __name__: str
    DESCRIPTION: str
    EXAMPLES: tuple[str, ...]

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Tell the parser what the command takes."""

    def run(self, arguments: argparse.Namespace, screen: Screen) -> int:
        """Run the command; return the exit status."""


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command takes."""
    group = parser.add_argument_group("messages")
    group.add_argument("-q", "--quiet", action="store_true", help="no progress, no notes: errors alone")
    group.add_argument(
        "-v",
        "--verbose",
        action="count",
        default=0,
        help="tell of launches; -vv: of every call of libguestfs",
    )
    group.add_argument("--log-json", action="store_true", help="stderr as JSON, an object a line")
    group.add_argument("--debug", action="store_true", help="a Python traceback with an error")


def add_disk_options(
    parser: argparse.ArgumentParser,
    *,
    in_use: InUse = "allow",
    blocksize: bool = True,
    format_option: str = "--format",
) -> None:
    """Add the options for opening a disk, which `opening` reads."""
    group = parser.add_argument_group("opening the disk")
    group.add_argument(
        format_option,
        dest="format",
        choices=FORMATS,
        help="what the disk is; default: by what it begins with, which a guest can choose",
    )
    group.add_argument(
        "--backing",
        metavar="DIRECTORY",
        help="open other files that the disk names, such as a backing file, if they lie beneath that"
        f' directory; "allow": wherever they lie, for disks that nobody else made. Needs {format_option}',
    )
    group.add_argument(
        "--in-use",
        choices=("allow", "refuse"),
        default=in_use,
        help="what becomes of a disk to which another program writes, such as that of a running guest: it is"
        " read as it is at that moment, with a warning, or not at all (default: %(default)s)",
    )
    if blocksize:
        group.add_argument(
            "--blocksize",
            choices=(512, 4096),
            type=int,
            help="bytes in a sector of the disk; default: by its partition table, else 512",
        )
    group.add_argument(
        "--member",
        metavar="FILE",
        help="the one disk of an archive that is wanted; default: all of its guest",
    )
    group.add_argument(
        "--no-unpack",
        dest="unpack",
        action="store_false",
        help="refuse disks that are compressed, and archives, which need room in TMPDIR",
    )


def add_key_option(parser: argparse._ActionsContainer) -> None:
    """Add the option for keys of encrypted disks."""
    parser.add_argument(
        "--key",
        dest="keys",
        metavar="DEVICE:file:FILE",
        type=_key,
        action="append",
        default=[],
        help="the file that begins with the key of an encrypted device: its name, its UUID, or all;"
        " DEVICE:key:TEXT is the key itself, which other users can see in the list of processes",
    )


def add_fleet_options(parser: argparse._ActionsContainer) -> None:
    """Add the options for inspecting many disks."""
    parser.add_argument(
        "--concurrency", metavar="N", type=positive, help="disks at once; default: one a processor"
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=TIMEOUT,
        help="for a disk (default: %(default)g)",
    )
    add_sandbox_option(parser)


def add_only_option(
    parser: argparse._ActionsContainer,
    what: str,
    offered: Collection[Part] = ALL_PARTS,
    default: Collection[Part] = DEFAULT_PARTS,
) -> None:
    """Add --only, which chooses from the offered parts of an inspection."""
    shown = "all" if default == offered else ",".join(default)
    parser.add_argument(
        "--only",
        metavar="PART,…",
        type=partial(_parts, tuple(offered)),
        help=f"{what}: {', '.join(offered)}, or all (default: {shown})",
    )


def _parts(offered: Sequence[Part], text: str) -> Sequence[Part]:
    if text == "all":
        return offered
    chosen = tuple(part for part in offered if part in text.split(","))
    if unknown := set(text.split(",")) - set(chosen):
        raise argparse.ArgumentTypeError(f"no part {min(unknown)!r}; there are: {', '.join(offered)}")
    return chosen


def add_guest_options(parser: argparse.ArgumentParser, *, timeout: bool = True) -> None:
    """Add the options for reaching a guest's files."""
    add_disk_options(parser)
    group = parser.add_argument_group("the guest")
    group.add_argument(
        "-a",
        "--add",
        metavar="DISK",
        action="append",
        default=[],
        help="another disk of the same guest, as where a volume group lies on several",
    )
    group.add_argument(
        "--root",
        metavar="DEVICE",
        help="the filesystem that is /, by its device or a name such as LABEL=root: it alone is looked at,"
        " and what its fstab names; default: that of the only operating system, else the only filesystem",
    )
    add_key_option(group)
    add_sandbox_option(group)
    if timeout:
        add_timeout_option(group)


def add_sandbox_option(parser: argparse._ActionsContainer) -> None:
    """Add --sandbox."""
    parser.add_argument(
        "--sandbox",
        choices=get_args(Sandbox),
        default="auto",
        help="how far QEMU is confined: auto: it filters its system calls where it can; strict: it also"
        " opens no files but the disks, or nothing is launched (default: %(default)s)",
    )


def add_timeout_option(parser: argparse._ActionsContainer) -> None:
    """Add --timeout."""
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=seconds, help="how long a call of libguestfs may take"
    )


def seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"not a number of seconds: {text!r}")
    return value


def positive(text: str) -> int:
    """A type of arguments."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"at least 1, not {text}")
    return value


def _key(text: str) -> Key:
    device, _, rest = text.partition(":")
    kind, _, secret = rest.partition(":")
    device = "" if device == "all" else device
    if kind == "file" and secret:
        return Key(file=secret, device=device)
    if kind == "key" and secret:
        return Key(secret, device=device)
    raise argparse.ArgumentTypeError("not DEVICE:file:FILE or DEVICE:key:TEXT")


def path_in_guest(text: str) -> str:
    """A type of arguments."""
    try:
        return guest_path(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


class Opening(TypedDict):
    """How to open a disk, as keyword arguments."""

    format: str | None
    backing: Backing
    protocols: tuple[str, ...]
    in_use: InUse
    blocksize: int | None
    unpack: UnpackLimits | None


def opening(arguments: argparse.Namespace) -> Opening:
    """Return the options of `add_disk_options`. nbd is always permitted: the user typed the nbd:// name."""
    if arguments.member is not None and not arguments.unpack:
        raise UsageError("--member is of an archive, which --no-unpack refuses")
    backing: Backing = "refuse"
    if arguments.backing is not None:
        backing = "allow" if arguments.backing == "allow" else under(arguments.backing)
    unpack = replace(UNPACK, member=arguments.member) if arguments.unpack else None
    return Opening(
        format=arguments.format,
        backing=backing,
        protocols=("file", "nbd"),
        in_use=arguments.in_use,
        blocksize=arguments.blocksize,
        unpack=unpack,
    )


def disks_of(arguments: argparse.Namespace) -> list[str]:
    """Return the disks that the arguments of any command name, as they were typed."""
    given = vars(arguments)
    alone = [given[name] for name in ("disk", "source") if name in given]
    return [*alone, *given.get("add", ()), *given.get("disks", ())]


@contextlib.contextmanager
def guest(
    arguments: argparse.Namespace,
    screen: Screen,
    *,
    readonly: bool = True,
    appliance: str | os.PathLike[str] = INSPECTION.appliance,
    cancel_grace: float = GRACE,
) -> Generator[Guestfs, None, None]:
    """Open the guest that the arguments name, and show the progress meanwhile.

    appliance, cancel_grace: as in `HandleOptions`
    """
    with contextlib.ExitStack() as stack:
        with screen.steps(arguments.disk) as step:
            g = stack.enter_context(
                open_guest(
                    disks_of(arguments),
                    root=arguments.root,
                    readonly=readonly,
                    **opening(arguments),
                    keys=arguments.keys,
                    step=step,
                    call_timeout=getattr(arguments, "timeout", None),
                    sandbox=arguments.sandbox,
                    appliance=appliance,
                    cancel_grace=cancel_grace,
                )
            )
        yield g
