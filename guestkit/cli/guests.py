"""The guests that the arguments name, and how they are opened."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypedDict

from guestkit.cli.usage import UsageError
from guestkit.disks import Domain, Guest, names_of
from guestkit.files import guest_path
from guestkit.fleet import TIMEOUT, Report, inspect_many
from guestkit.guest import open_guest
from guestkit.handle import Guestfs
from guestkit.handle_options import INSPECTION, HandleOptions, Sandbox
from guestkit.inspection import DEFAULT_PARTS, Key, Mode, Part
from guestkit.opening import SERVED, Backing, OpeningKeywords, under
from guestkit.unpack import UNPACK

if TYPE_CHECKING:
    from guestkit.cli.screen import Screen

#: How long a call may still run after Ctrl-C, in seconds.
GRACE = 0.3


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
    if arguments.add or len(domains) > 1:
        other = "--add" if arguments.add else "a second -d"
        raise UsageError(f"-d names all disks of the guest: {other} does not go with it")
    return [*domains]


def in_place_of_disk(arguments: argparse.Namespace) -> str:
    """If -d names a guest, return for an error about other arguments that none of them is a DISK; else ""."""
    named = [*getattr(arguments, "domains", ()), *getattr(arguments, "guests", ())]
    return "; -d DOMAIN stands in place of DISK" if any(isinstance(one, Domain) for one in named) else ""


def paths_in_guest(arguments: argparse.Namespace) -> list[str]:
    """Return the paths that the arguments name; raise UsageError if one is not absolute."""
    try:
        return [guest_path(path) for path in arguments.paths]
    except ValueError as error:
        raise UsageError(f"{error}{in_place_of_disk(arguments)}") from None


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
        raise UsageError(
            "to write to a disk its --format has to be stated, from where you know it (libvirt, whoever made"
            " it), not from the image"
        )


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


class FleetKeywords(TypedDict):
    """Arguments of `inspect_many`."""

    concurrency: int | Literal["auto"]
    timeout: float
    cache: bool | None
    sandbox: Sandbox
    keys: Sequence[Key]


def fleet_options(arguments: argparse.Namespace) -> FleetKeywords:
    """Return the options of `add_fleet_options` and `add_key_option`."""
    return FleetKeywords(
        concurrency=arguments.concurrency or "auto",
        timeout=arguments.timeout or TIMEOUT,
        cache=arguments.cache,
        sandbox=arguments.sandbox,
        keys=arguments.keys,
    )


@contextlib.contextmanager
def inspected(
    arguments: argparse.Namespace,
    screen: Screen,
    guests: Sequence[Guest],
    how: OpeningKeywords,
    *,
    parts: Collection[Part] = DEFAULT_PARTS,
    mode: Mode = "auto",
    languages: bool = False,
) -> Generator[Iterator[Report], None, None]:
    """Inspect guests, and show the progress meanwhile; yields the reports, each as soon as it is ready.

    how: how their disks are opened; call `opening` before any work: it may raise UsageError
    parts, mode, languages: as in `inspect_many`
    """
    with screen.fleet(len(guests)) as progress:
        reports = inspect_many(
            guests,
            parts=parts,
            mode=mode,
            languages=languages,
            **fleet_options(arguments),
            **how,
            progress=progress,
        )
        with contextlib.closing(reports):
            yield reports


def handle_of(arguments: argparse.Namespace, timeout: float | None) -> HandleOptions:
    """Return the options of a handle that reads a guest's files. timeout: of a call, in seconds."""
    return replace(INSPECTION, call_timeout=timeout, sandbox=arguments.sandbox, cancel_grace=GRACE)


@contextlib.contextmanager
def opened_guest(
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
