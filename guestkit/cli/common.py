"""Options that several commands share, and how they open a disk."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import math
import os
from collections.abc import Collection, Generator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol, TypedDict, get_args

from guestkit.disks import Domain, Guest, names_of
from guestkit.fleet import TIMEOUT
from guestkit.guest import guest_path, mount_asked, open_guest
from guestkit.handle import Guestfs
from guestkit.handle_options import INSPECTION, Sandbox
from guestkit.images import SERVED, Backing, InUse, OpeningKeywords, under
from guestkit.inspection import ALL_PARTS, DEFAULT_PARTS, Key, Part
from guestkit.unpack import UNPACK

if TYPE_CHECKING:
    from guestkit.cli.screen import Screen

#: QEMU's names of the formats that guestkit reads and writes.
FORMATS = ("raw", "qcow2", "qcow", "vmdk", "vdi", "vhdx", "vpc")

#: The help of arguments.
FILE = "a disk image or a block device; compressed, or an archive such as an OVA, too"
DISK = f"{FILE}; or the URL of a raw disk: http, https, ssh, nbd"

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
    group.add_argument("--log-json", action="store_true", help="messages as JSON, an object a line")
    group.add_argument("--debug", action="store_true", help="a Python traceback with an error")


def add_disk_options(
    parser: argparse.ArgumentParser,
    *,
    in_use: InUse = "allow",
    blocksize: bool = True,
    snapshot: bool = True,
    format_option: str = "--format",
    member: str = "the one disk of an archive that is wanted; default: all of its guest",
) -> None:
    """Add the options for opening a disk, which `opening` reads.

    member: the help of --member
    """
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
        "--concurrency", metavar="N", type=positive, help="disks at once; default: one a processor"
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


def add_guests_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for inspecting the guests of `add_disks_argument`."""
    how = parser.add_argument_group("how")
    how.add_argument("--one-guest", action="store_true", help="the disks are those of one guest")
    add_key_option(how)
    add_fleet_options(how)


class FleetKeywords(TypedDict):
    """Arguments of `inspect_many`."""

    concurrency: int | Literal["auto"]
    timeout: float | None
    cache: bool | None
    sandbox: Sandbox
    keys: Sequence[Key]


def fleet(arguments: argparse.Namespace) -> FleetKeywords:
    """Return the options of `add_fleet_options` and `add_key_option`."""
    return FleetKeywords(
        concurrency=arguments.concurrency or "auto",
        timeout=arguments.timeout or TIMEOUT,
        cache=arguments.cache,
        sandbox=arguments.sandbox,
        keys=arguments.keys,
    )


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
    """Add DISK, the one of a guest; with -d DOMAIN there is none."""
    if not domains_named(parser):
        parser.add_argument("disk", metavar="DISK", help=DISK)


def add_disks_argument(parser: argparse.ArgumentParser, *, needed: bool = True) -> None:
    """Add the DISKs of several guests, some of which may be given by -d DOMAIN.

    needed: at least one guest
    """
    needed = needed and not domains_named(parser)
    parser.add_argument("disks", metavar="DISK", nargs="+" if needed else "*", help=DISK)


def domains_named(parser: argparse.ArgumentParser) -> int:
    """Return how often the arguments to be parsed have -d or --domain, whose guest needs no DISK."""
    given: Sequence[str] = getattr(parser, "given", ())
    words = itertools.takewhile(lambda word: word != "--", given)
    return sum(word == "--domain" or word.startswith(("--domain=", "-d")) for word in words)


def in_place_of_disk(parser: argparse.ArgumentParser) -> str:
    """If the guest is named by -d, return for an error about other arguments that none is a DISK; else ""."""
    return "; -d DOMAIN stands in place of DISK" if domains_named(parser) else ""


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
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        help="how long a call of libguestfs may take (default: no limit)",
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


def _mount(text: str) -> tuple[str, str]:
    try:
        return mount_asked(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def path_in_guest(parser: argparse.ArgumentParser, text: str) -> str:
    """A type of arguments."""
    try:
        return guest_path(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}{in_place_of_disk(parser)}") from None


def opening(arguments: argparse.Namespace) -> OpeningKeywords:
    """Return the options of `add_disk_options`. All protocols are permitted: the user typed the URL."""
    if arguments.member is not None and not arguments.unpack:
        raise UsageError("--member is of an archive, which --no-unpack refuses")
    backing: Backing = "refuse"
    if arguments.backing is not None:
        backing = "allow" if arguments.backing == "allow" else under(arguments.backing)
    unpack = replace(UNPACK, member=arguments.member) if arguments.unpack else None
    return OpeningKeywords(
        format=arguments.format,
        backing=backing,
        protocols=("file", "nbd", *SERVED),
        snapshot=arguments.snapshot,
        in_use=arguments.in_use,
        blocksize=arguments.blocksize,
        unpack=unpack,
    )


def check_output(path: str, disks: Sequence[str], *, through: bool = True) -> None:
    """Raise UsageError if `write` could not write an output there, or if that is one of the disks."""
    from guestkit._writing import obstacle  # only commands with an output pay for this import

    directory = os.path.dirname(path) or "."
    if not os.path.isdir(directory):
        raise UsageError(f"there is no directory for the output {path!r}")
    if os.path.isdir(path):
        raise UsageError(f"the output {path!r} is a directory: give the name of a file")
    if found := obstacle(path, through=through):
        raise UsageError(f"you may not write to {found!r}, as the output {path!r} needs it")
    for disk in disks:
        if is_same_file(path, disk):
            raise UsageError(f"the output {path!r} is the disk {disk!r}")


def is_same_file(path: str, other: str) -> bool:
    """Return whether both are there, and one file."""
    return os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other)


def disks_of(arguments: argparse.Namespace) -> list[str]:
    """Return the disks and domains that the arguments of any command name, as they were typed."""
    given = vars(arguments)
    alone = [given[name] for name in ("disk", "source") if name in given]
    domains = [domain.name for domain in given.get("domains", ())]
    return [*alone, *given.get("add", ()), *given.get("disks", ()), *domains]


def guests_of(arguments: argparse.Namespace, *, one: bool = False) -> list[Guest]:
    """Return the guests that the arguments name: the one of `add_disk_argument`, or several.

    one: several DISKs are one guest's
    """
    domains = [located(domain, arguments) for domain in arguments.domains]
    if "disks" in vars(arguments):
        if domains and one:
            raise UsageError("-d names all disks of a guest: --one-guest does not go with it")
        return [tuple(arguments.disks), *domains] if one else [*arguments.disks, *domains]
    if not domains:
        return [disks_of(arguments)]
    if "disk" in vars(arguments):  # as in -ld DOMAIN, which `domains_named` does not see
        raise UsageError("write -d DOMAIN apart from other options")
    if arguments.add or len(domains) > 1:
        other = "--add" if arguments.add else "a second -d"
        raise UsageError(f"-d names all disks of the guest: {other} does not go with it")
    return [*domains]


def located(domain: Domain, arguments: argparse.Namespace) -> Domain:
    """Return a domain of the arguments with the libvirt that they name."""
    if arguments.member is not None:
        raise UsageError("--member is of an archive: it does not go with -d")
    given = vars(arguments)
    disks = given["disks"] if "disks" in given else given.get("guests", ())
    if arguments.format is not None and all(isinstance(disk, Domain) for disk in disks):
        raise UsageError("there is no DISK whose format is to be stated: libvirt states a domain's")
    return replace(domain, uri=arguments.connect)


def check_format_is_stated(arguments: argparse.Namespace) -> None:
    """Refuse to write to a disk whose format nobody has stated; libvirt states those of a domain."""
    if arguments.format is None and not arguments.domains:
        raise UsageError("to write to a disk its --format has to be stated: guestkit info tells it")


def mounts_of(arguments: argparse.Namespace) -> dict[str, str] | None:
    """Return the filesystems to mount, by mountpoint; None: those that the guest's fstab names."""
    given: Sequence[tuple[str, str]] | None = arguments.mounts
    if given is None:
        return None
    if arguments.root is not None:
        raise UsageError("--root mounts what its fstab names, and --mount what you name: give one of them")
    mounts = dict(given)
    if len(mounts) < len(given) or "/" not in mounts:
        raise UsageError("one filesystem goes to /, each other to its own place: -m sda2 -m sda1:/boot")
    return mounts


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
        (wanted,) = guests_of(arguments)
        mounts = mounts_of(arguments)
        with screen.steps(names_of(wanted)[0]) as step:
            g = stack.enter_context(
                open_guest(
                    wanted,
                    root=arguments.root,
                    mounts=mounts,
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
