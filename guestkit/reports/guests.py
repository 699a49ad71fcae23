"""What the page says of each guest, taken from its report."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import islice
from typing import Literal

from guestkit._usage import share_of
from guestkit.fleet import Failure, Report
from guestkit.inspection import Filesystem, Inspection, OperatingSystem, pretty_name
from guestkit.reports.drawings import MOST_BARS, Bar, bars
from guestkit.reports.end_of_life import State, Support, support_of
from guestkit.reports.texts import named

#: How many rows a table about one guest gets: a guest can have any number of filesystems and failures.
MOST_ROWS = 300

#: The states of support, the most urgent one first.
URGENCY: Sequence[State] = ("ended", "extended", "ending", "unknown", "supported", "rolling")

#: From which share on a filesystem counts as full.
FULL = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that could not be found out.

    Attributes:
        cause: in a word or two
        message: what happened
        remedy: what to do; "": nothing is known
    """

    cause: str
    message: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """An operating system.

    Attributes:
        packages: how many are known
        complete: whether these are all
    """

    name: str
    version: str
    hostname: str
    arch: str
    root: str
    package_format: str
    packages: int
    complete: bool
    support: Support


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A filesystem, or what could not be opened.

    Attributes:
        where: its mountpoints
        size: in bytes; None: unknown
        used: in bytes; None: unknown
        share: the share that is used, from 0 to 1; None: unknown
    """

    name: str
    type: str
    label: str
    where: str
    size: int | None
    used: int | None
    share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestRow:
    """A guest.

    Attributes:
        path: of its first disk, as it was given
        disks: of all
        state: "failed": nothing is known; "incomplete": something is missing
        notes: what is left out here, because a guest can have any number of it
        size: of its disks together, in bytes
        used: of its filesystems together, in bytes
        fullest: the share of its fullest filesystem; None: unknown
    """

    name: str
    path: str
    disks: Sequence[str]
    state: Literal["failed", "incomplete", "whole"]
    problems: Sequence[Problem]
    systems: Sequence[System]
    bars: Sequence[Bar]
    devices: Sequence[Device]
    notes: Sequence[str]
    size: int
    used: int
    fullest: float | None

    @property
    def packages(self) -> int:
        """How many packages its systems have."""
        return sum(system.packages for system in self.systems)

    @property
    def worst(self) -> Support:
        """The support of the system that needs attention first."""
        known = [system.support for system in self.systems]
        return min(known, key=lambda one: URGENCY.index(one.state), default=Support(state="unknown"))

    @property
    def tags(self) -> Sequence[str]:
        """The words by which the page filters it."""
        tags: list[str] = [] if self.state == "whole" else [self.state]
        if self.systems:
            tags.append(self.worst.state)
        if self.fullest is not None and self.fullest >= FULL:
            tags.append("full")
        return tags


def guest_of(report: Report, today: date) -> GuestRow:
    """Return what the page says of a guest, with its support as of that day."""
    found = report.inspection
    problems = tuple(islice(_problems(report.error, found), MOST_ROWS + 1))
    return GuestRow(
        name=named(os.path.basename(report.disk.rstrip("/")) or report.disk),
        path=report.disk,
        disks=tuple(report.disks[:MOST_ROWS]),
        state="failed" if found is None else "incomplete" if problems else "whole",
        problems=problems[:MOST_ROWS],
        systems=tuple(_system(one, today) for one in found.operating_systems[:MOST_ROWS]) if found else (),
        bars=bars(found) if found else (),
        devices=tuple(islice(_devices(found), MOST_ROWS)) if found else (),
        notes=tuple(_notes(report, problems)),
        size=sum(one.virtual_size for one in found.disks) if found else 0,
        used=_used(found) if found else 0,
        fullest=_fullest(found) if found else None,
    )


def natural(text: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts web-2 before web-10."""
    words = re.split(r"([0-9]{1,18})", text)
    return [(0, int(word), "") if place % 2 else (1, 0, word) for place, word in enumerate(words)]


def _problems(failure: Failure | None, found: Inspection | None) -> Iterator[Problem]:
    if failure is not None:
        cause = failure.kind if failure.cause == "unknown" else failure.cause.replace("_", " ")
        yield Problem(cause=cause, message=failure.message, remedy=failure.hint)
    if found is None:
        return
    for one in found.failures:
        yield Problem(cause=one.part, message=one.message)
    if not found.operating_systems and not found.failures:
        yield Problem(cause="no system", message="no operating system was found")
    for shut in found.unopened:
        yield Problem(cause=shut.reason, message=f"{shut.device}: {shut.message or shut.reason}")
    for system in found.operating_systems:
        where = f"{system.root}: " if len(found.operating_systems) > 1 else ""
        for one in system.failures:
            yield Problem(cause=one.part, message=f"{where}{one.message}")


def _notes(report: Report, problems: Sequence[Problem]) -> Iterator[str]:
    if len(problems) > MOST_ROWS:
        yield f"There are more failures than the {MOST_ROWS} that are listed."
    found = report.inspection
    if found is None:
        return
    counts = {
        "systems": (len(found.operating_systems), MOST_ROWS),
        "disks and layers": (len(found.disks) + len(found.layers), MOST_BARS),
        "filesystems": (len(found.filesystems) + len(found.unopened), MOST_ROWS),
    }
    for what, (count, most) in counts.items():
        if count > most:
            yield f"Of {count} {what}, {most} are shown."


def _system(system: OperatingSystem, today: date) -> System:
    release = system.os_release
    number = f"{system.major_version}.{system.minor_version}" if system.major_version else ""
    return System(
        name=named(pretty_name(system)),
        version=release.get("VERSION_ID") or system.build_id or number,
        hostname="" if system.hostname == "unknown" else system.hostname,
        arch="" if system.arch == "unknown" else system.arch,
        root=system.root,
        package_format=system.package_format,
        packages=len(system.applications),
        complete=system.applications_complete,
        support=support_of(system, today),
    )


def _devices(found: Inspection) -> Iterator[Device]:
    where: dict[str, list[str]] = {}
    for system in found.operating_systems:
        for mapping in (system.mountpoints, _with_colons(system.drive_mappings)):
            for mountpoint, device in mapping.items():
                where.setdefault(device, []).append(mountpoint)
    for one in found.filesystems:
        yield Device(
            name=named(one.device), type=one.type, label=one.label,
            where=", ".join(where.get(one.device, ())), size=one.size, used=one.used, share=share_of(one),
        )  # fmt: skip
    for shut in found.unopened:
        yield Device(
            name=named(shut.device), type=shut.type, label=f"not opened: {shut.reason}", where="",
            size=None, used=None, share=None,
        )  # fmt: skip


def _with_colons(drives: Mapping[str, str]) -> Mapping[str, str]:
    return {f"{letter}:": device for letter, device in drives.items()}


def _fullest(found: Inspection) -> float | None:
    shares = map(share_of, found.filesystems)
    return max((share for share in shares if share is not None), default=None)


def _used(found: Inspection) -> int:
    """Return how much is used: subvolumes share what is in their filesystem."""

    def is_subvolume(one: Filesystem) -> bool:
        return one.device.startswith("btrfsvol:")

    return sum(one.used or 0 for one in found.filesystems if not is_subvolume(one))
