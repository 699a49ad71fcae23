"""Reports as text for people. What a guest says is hostile: nothing reaches the terminal unescaped."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence

from guestkit.fleet import Report
from guestkit.inspection import Application, Inspection, OperatingSystem

MAX_PADDING = 40  # one long name must not push every line off the screen


def printable(text: str) -> str:
    r"""Escape whatever is not a visible character or a space.

    Control characters and escape sequences, bidirectional overrides and other invisible ones, lone
    surrogates: "\x1b", "\u202e"; a byte that was not UTF-8 is shown as that byte, "\xff".
    """
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    if "\udc80" <= character <= "\udcff":  # surrogateescape
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def write(text: str) -> None:
    """Write to stdout; what its encoding has no character for is escaped."""
    encoding = sys.stdout.encoding or "ascii"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))


def render_reports(reports: Iterable[Report]) -> str:
    """Return the reports as text, one block each, with an empty line between them."""
    return "\n".join("".join(f"{line}\n" for line in _report(report)) for report in reports)


def _report(report: Report) -> Iterator[str]:
    if report.error is not None:
        yield printable(report.error.message)
        return
    yield printable(", ".join(report.disks))
    if report.inspection is not None:
        yield from _inspection(report.inspection)


def _inspection(found: Inspection) -> Iterator[str]:
    yield from _fact("filesystems", _columns((entry.device, entry.type) for entry in found.filesystems))
    if found.unopened:
        yield from _fact(
            "not opened", _columns((entry.device, entry.reason, entry.message) for entry in found.unopened)
        )
    if not found.operating_systems:
        yield "  no operating system found"
    for system in found.operating_systems:
        yield f"  operating system on {printable(system.root)}"
        for line in _operating_system(system):
            yield f"  {line}"


def _operating_system(system: OperatingSystem) -> Iterator[str]:
    for label, value in (
        ("type", system.type),
        ("distro", system.distro),
        ("product name", system.product_name),
        ("version", f"{system.major_version}.{system.minor_version}"),
        ("arch", system.arch),
        ("hostname", system.hostname),
        ("package format", system.package_format),
        ("package manager", system.package_management),
    ):
        yield from _fact(label, [printable(value)])
    yield from _fact("mountpoints", _columns(system.mountpoints.items()))
    yield from _fact("filesystems", [printable(device) for device in system.filesystems])
    for failure in system.failures:
        yield from _fact(failure.part, [f"could not be read: {printable(failure.message)}"])
    if system.applications_complete:
        yield from _fact("applications", [str(len(system.applications))])
    for line in _columns((app.name, _version(app), app.arch) for app in system.applications):
        yield f"    {line}"


def _fact(label: str, values: Sequence[str]) -> Iterator[str]:
    """Lines of a label and its values, one value a line."""
    for value in values or ["none"]:
        yield f"  {label:<16}{value}"
        label = ""


def _columns(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Escape the cells and align them."""
    cells = [tuple(map(printable, row)) for row in rows]
    widths = [min(max(map(len, column)), MAX_PADDING) for column in zip(*cells, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def _version(app: Application) -> str:
    epoch = f"{app.epoch}:" if app.epoch else ""
    release = f"-{app.release}" if app.release else ""
    return f"{epoch}{app.version}{release}"
