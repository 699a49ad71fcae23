"""Options and operands that several commands share. `guestkit.cli.guests` tells what they mean."""

from __future__ import annotations

import argparse
import io
import math
import os
import re
import stat
from collections.abc import Collection, Sequence
from functools import partial
from typing import get_args

from guestkit.disks import Domain
from guestkit.files import guest_path
from guestkit.fleet import TIMEOUT
from guestkit.handle_options import Sandbox
from guestkit.inspection import ALL_PARTS, DEFAULT_PARTS, Key, Part
from guestkit.opening import InUse

#: QEMU's names of the formats that guestkit reads and writes.
FORMATS = ("raw", "qcow2", "qcow", "vmdk", "vdi", "vhdx", "vpc")

#: Options that hold, too, for errors while the command line is parsed.
LOG_JSON, DEBUG = "--log-json", "--debug"

#: How long the first line of a key file may be, in bytes.
_LONGEST_KEY = 1 << 20

#: The largest number that an option takes: as many GiB, in bytes, still are a number to C++.
_LARGEST = 1 << 30

#: The help of arguments.
FILE = "a disk image or a block device; compressed, or an archive such as an OVA, too"
DISK = f"{FILE}; or the URL of a raw disk: http, https, ssh, nbd"


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
    group.add_argument(LOG_JSON, action="store_true", help="messages as JSON, an object a line")
    group.add_argument(DEBUG, action="store_true", help="a Python traceback with an error")


def add_disk_options(
    parser: argparse.ArgumentParser,
    *,
    in_use: InUse = "allow",
    blocksize: bool = True,
    snapshot: bool = True,
    member: str = "the one disk of an archive that is wanted; default: all of its guest",
) -> None:
    """Add the options for opening a disk, which `opening` reads.

    member: the help of --member
    """
    group = parser.add_argument_group("opening the disk")
    group.add_argument(
        "--format",
        choices=FORMATS,
        help="what the disk is; default: by what it begins with, which a guest can choose",
    )
    group.add_argument(
        "--backing",
        metavar="DIRECTORY",
        help="open other files that the disk names, such as a backing file, if they lie beneath that"
        ' directory; "allow": wherever they lie, for disks that nobody else made. Needs --format',
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
    if snapshot:
        group.add_argument(
            "--snapshot",
            metavar="NAME",
            help="what the disks held at that snapshot inside of them (qcow2), by its name or number, which"
            " guestkit info tells",
        )
    group.add_argument(
        "--member",
        metavar="FILE",
        help=member,
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
        help="the first line of FILE is the key of DEVICE: the device's name, its UUID, or all for every one;"
        " DEVICE:key:TEXT is the key itself, which other users can see in the list of processes",
    )


def add_fleet_options(parser: argparse._ActionsContainer, timeout: str = "") -> None:
    """Add the options for inspecting many disks.

    timeout: what else to tell about --timeout
    """
    parser.add_argument(
        "--concurrency",
        metavar="N",
        type=positive,
        help="disks at once; default: one for each processor it may use",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        help=f"for a disk (default: {TIMEOUT:g}){timeout}",
    )
    parser.add_argument(
        "--cache",
        action=argparse.BooleanOptionalAction,
        help="keep the results, and take them from there for disks that have not changed since (default: if"
        " GUESTKIT_INSPECTION_CACHE says so)",
    )
    add_sandbox_option(parser)


def add_guests_options(parser: argparse.ArgumentParser, timeout: str = "") -> None:
    """Add the options for inspecting the guests of `add_disks_argument`.

    timeout: as in `add_fleet_options`
    """
    how = parser.add_argument_group("how")
    how.add_argument("--one-guest", action="store_true", help="the disks are those of one guest")
    add_key_option(how)
    add_fleet_options(how, timeout)


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


def add_disk_argument(parser: argparse.ArgumentParser) -> None:
    """Add DISK, the one of a guest. `replace_disks` takes it away where -d DOMAIN stands in its place."""
    parser.add_argument("disk", metavar="DISK", help=DISK)


def add_disks_argument(parser: argparse.ArgumentParser, *, needed: bool = True) -> None:
    """Add the DISKs of several guests, some of which may be given by -d DOMAIN.

    needed: at least one guest
    """
    parser.add_argument("disks", metavar="DISK", nargs="+" if needed else "*", help=DISK)


def replace_disks(parser: argparse.ArgumentParser, used: Sequence[argparse.Action]) -> None:
    """Have the parser expect no DISK where a -d DOMAIN, one of the used options, stands in its place."""
    domains = sum(option.type is Domain for option in used)
    if not domains:
        return
    operands = parser._get_positional_actions()
    for several in [operand for operand in operands if operand.dest == "disks"]:
        several.nargs, several.required = "*", False
    places = [operand for operand in operands if operand.dest in ("disk", "guests")]
    for place in places[-domains:]:
        parser._remove_action(place)
    for place in places[:-domains]:  # of the two of `diff`
        place.metavar = "DISK"


#: What a guest of libvirt is to a command that takes several guests.
BESIDE = "a guest beside the DISKs"


def add_domain_options(
    parser: argparse.ArgumentParser, what: str = "the guest, in place of DISK", *, dest: str = "domains"
) -> None:
    """Add the options for guests of libvirt.

    what: what such a guest is to the command
    dest: the list of the arguments to which it is added
    """
    group = parser.add_argument_group("guests of libvirt")
    group.add_argument(
        "-d",
        "--domain",
        dest=dest,
        metavar="DOMAIN",
        type=Domain,
        action="append",
        default=[],
        help=f"{what}, by its name or UUID; libvirt tells its disks and their formats. One that runs is read"
        " as it is at that moment, and never written to",
    )
    group.add_argument(
        "--connect",
        metavar="URI",
        default="",
        help="which libvirt, such as qemu:///system; default: LIBVIRT_DEFAULT_URI, else libvirt's own choice",
    )


def add_guest_options(parser: argparse.ArgumentParser, *, timeout: bool = True) -> None:
    """Add the options for reaching a guest's files."""
    add_domain_options(parser)
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
    add_mount_option(group)
    add_key_option(group)
    add_sandbox_option(group)
    if timeout:
        add_timeout_option(group)


def add_mount_option(
    parser: argparse._ActionsContainer, what: str = "look at that filesystem and no other"
) -> None:
    """Add -m."""
    parser.add_argument(
        "-m",
        "--mount",
        dest="mounts",
        metavar="DEVICE[:MOUNTPOINT]",
        type=_mount,
        action="append",
        help=f"{what}, such as sda2 or LABEL=data; at more of them where places are given: -m sda2"
        " -m sda1:/boot. guestkit df tells which there are",
    )


def add_sandbox_option(
    parser: argparse._ActionsContainer,
    what: str = "QEMU is confined: auto: it filters its system calls where it can; strict: it also opens no"
    " files but the disks, or nothing is launched",
) -> None:
    """Add --sandbox.

    what: its help
    """
    parser.add_argument(
        "--sandbox", choices=get_args(Sandbox), default="auto", help=f"how far {what} (default: %(default)s)"
    )


def add_timeout_option(parser: argparse._ActionsContainer, what: str = "a call of libguestfs") -> None:
    """Add --timeout.

    what: what it limits
    """
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        help=f"how long {what} may take (default: no limit)",
    )


def add_form_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for how files are listed, which `listing.lines` reads."""
    parser.add_argument("-l", "--long", action="store_true", help="permissions, owner, size and time too")
    parser.add_argument("-R", "--recursive", action="store_true", help="directories with all that is below")
    parser.add_argument("-h", "--human", action="store_true", help="sizes such as 1.5M")


def add_bound_option(parser: argparse.ArgumentParser, most: int) -> None:
    """Add the option for how much is copied out of the guest at most.

    most: the default, in bytes
    """
    parser.add_argument(
        "--max-gib",
        metavar="N",
        type=positive,
        default=most >> 30,
        help="copy at most N GiB out of the guest (default: %(default)s): a sparse file may claim any size",
    )


def seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"not a number of seconds: {text!r}")
    return value


def positive(text: str) -> int:
    """A type of arguments."""
    value = int(text)
    if not 1 <= value <= _LARGEST:
        raise argparse.ArgumentTypeError(f"from 1 to {_LARGEST}, not {text}")
    return value


def _key(text: str) -> Key:
    device, _, rest = text.partition(":")
    kind, _, secret = rest.partition(":")
    device = "" if device == "all" else device
    if kind == "file" and secret:
        return _key_in_pipe(secret, device) or Key(file=secret, device=device)
    if kind == "key" and secret:
        return Key(secret, device=device)
    raise argparse.ArgumentTypeError("not DEVICE:file:FILE or DEVICE:key:TEXT")


def _key_in_pipe(path: str, device: str) -> Key | None:
    """Return the key if the file is a pipe, as <(command) is: what is in it can be read once, so now."""
    try:
        if not stat.S_ISFIFO(os.stat(path).st_mode):
            return None
        with open(path, "rb", buffering=0) as pipe:  # what follows the line is for others, such as the shell
            return Key(_line(pipe, path), device=device)
    except FileNotFoundError:  # told when it is used, as of any other file
        return None
    except OSError as error:
        raise argparse.ArgumentTypeError(f"the key file {path} cannot be used: {error.strerror}") from None


def _line(pipe: io.FileIO, path: str) -> bytes:
    line = bytearray()
    while (byte := pipe.read(1)) not in (b"", b"\n"):
        line += byte or b""
        if len(line) > _LONGEST_KEY:
            raise argparse.ArgumentTypeError(f"the first line of the key file {path} is longer than 1 MiB")
    if not line and not byte:
        raise argparse.ArgumentTypeError(f"the key file {path} is empty: a pipe can be read once")
    return bytes(line)


def _mount(text: str) -> tuple[str, str]:
    """Return the mountpoint and the filesystem of DEVICE[:MOUNTPOINT]; without a mountpoint it is "/"."""
    device, colon, below = text.rpartition(":/")
    if not colon or device == "btrfsvol":  # btrfsvol:/dev/sda2/home
        device, below = text, ""
    if re.fullmatch(r"(/dev/)?[a-z]+[0-9]*:[^/].*", device):
        raise argparse.ArgumentTypeError(f"a mountpoint begins with /: {text!r}")
    if not device:
        raise argparse.ArgumentTypeError(f"not DEVICE or DEVICE:MOUNTPOINT: {text!r}")
    return guest_path(f"/{below}"), device
