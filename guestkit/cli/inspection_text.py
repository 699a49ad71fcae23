"""Inspections as text: lines for pipes, a tree for terminals. Both show the same facts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from guestkit._versions import full_version, known, shown_name
from guestkit.cli.errors import of_failure
from guestkit.cli.facts import Fact, fact_grid, fact_lines
from guestkit.cli.text import columns, human_size, printable
from guestkit.fleet import Report
from guestkit.inspection import (
    Inspection,
    OperatingSystem,
    PartFailure,
    UnopenedFilesystem,
    pretty_name,
)


def reported(done: int, total: int) -> str:
    """Return how many disks an interrupted output covers."""
    if done == 0:
        return "nothing is reported"
    return "all is reported" if done == total else f"{done} of {total} disks are reported"


def is_failed(report: Report) -> bool:
    """Return whether a report makes for exit status 1."""
    found = report.inspection
    return found is None or bool(found.failures and not found.operating_systems)


def render_reports(reports: Iterable[Report]) -> str:
    """Return the reports as text, one block each, with an empty line between them."""
    return "\n".join("".join(f"{line}\n" for line in _lines(report)) for report in reports)


def _lines(report: Report) -> Iterator[str]:
    yield printable(", ".join(report.disks))
    if report.error is not None:
        reason = of_failure(report).removeprefix(f"{report.disk}: ")
        yield from fact_lines([("error", [printable(reason)])])
    if report.inspection is None:
        return
    yield from fact_lines(_disk_facts(report.inspection))
    if not report.inspection.operating_systems:
        yield "  no operating system found"
    for system in report.inspection.operating_systems:
        yield f"  operating system on {printable(system.root)}"
        for line in fact_lines(_system_facts(system)):
            yield f"  {line}"
        for line in _packages(system):
            yield f"      {line}"


def tree(report: Report, *, packages: bool) -> RenderableType:
    """Return the report for a terminal.

    packages: list them; otherwise show only their number
    """
    if report.error is not None:  # the message itself goes to stderr, on the same terminal
        return Text.assemble(("✗ ", "red"), (printable(", ".join(report.disks)), "bold"), "  not inspected")
    title = Text.assemble((printable(", ".join(report.disks)), "bold"), (f"  {_taken(report)}", "dim"))
    top = Tree(title, guide_style="dim")
    if report.inspection is None:
        return top
    top.add(fact_grid(_disk_facts(report.inspection)))
    if not report.inspection.operating_systems:
        top.add(Text("no operating system found", style="yellow"))
    for system in report.inspection.operating_systems:
        heading = Text.assemble(
            (printable(pretty_name(system)), "bold green"), f" on {printable(system.root)}"
        )
        listed = [Text(line) for line in _packages(system)] if packages else []
        top.add(Group(heading, fact_grid(_system_facts(system)), *listed))
    return top


def _taken(report: Report) -> str:
    kept = report.inspection is not None and report.inspection.provenance.cached
    return "from the cache" if kept else f"{report.seconds:.1f} s"


# ---- the facts


def _disk_facts(found: Inspection) -> Iterator[Fact]:
    rows = [
        (one.device, one.type, one.label, "" if one.size is None else human_size(one.size))
        for one in found.filesystems
    ]
    yield "filesystems", columns(rows)
    if found.layers:
        layers = [(one.kind, one.name, " ".join(one.members), " ".join(one.devices)) for one in found.layers]
        yield "layers", columns(layers)
    if found.unopened:
        yield "not opened", columns((one.device, one.reason, remedy_of(one)) for one in found.unopened)
    yield from _incomplete(found.failures)


def remedy_of(filesystem: UnopenedFilesystem) -> str:
    """Return why it was not opened, and what to do about it."""
    if filesystem.reason == "incomplete":
        return f"{filesystem.message}; give all disks of the guest, as to inspect --one-guest"
    return filesystem.message


def _incomplete(failures: Iterable[PartFailure]) -> Iterator[Fact]:
    for failure in failures:
        yield printable(failure.part), [f"incomplete: {printable(failure.message)}"]


def _system_facts(system: OperatingSystem) -> Iterator[Fact]:
    if system.root_directory:
        yield "root directory", [printable(system.root_directory)]
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
        yield label, [printable(value)]
    if system.os_release:
        yield "os-release", columns(system.os_release.items())
    yield "mountpoints", columns(system.mountpoints.items())
    yield "filesystems", [printable(device) for device in system.filesystems]
    if system.drive_mappings:
        yield "drives", columns(system.drive_mappings.items())
    for label, value in (
        ("timezone", system.timezone),
        ("locale", system.locale),
        ("machine id", system.machine_id),
    ):
        if value:
            yield label, [printable(value)]
    for label, rows in (
        ("users", [(one.name, str(one.uid), one.home, one.shell) for one in system.users]),
        ("kernels", [(one.version, one.image) for one in system.kernels]),
        ("services", [(name,) for name in system.services]),
        ("network", [(one.name, one.method, " ".join(one.addresses)) for one in system.network]),
    ):
        if rows:
            yield label, columns(rows)
    yield from _incomplete(system.failures)
    if system.applications_complete:
        yield "applications", [str(len(system.applications))]


def _packages(system: OperatingSystem) -> list[str]:
    return columns(
        (shown_name(app), full_version(app, system.package_format), known(app.arch))
        for app in system.applications
    )
