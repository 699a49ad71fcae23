"""docs/performance.md, made of the results of `./run bench --write`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common.figures import Results, bullets, by_suite, save, table
from benchmarks.common.record import PATIENCE

#: Above this load before a run, the page says that other work slowed it down.
QUIET = 0.5


@dataclass(frozen=True)
class Section:
    """How a benchmark is told of.

    Attributes:
        title: the heading
        about: what is measured, and what to know for reading the table
        drawn: which rows the picture has, as a regular expression of what they say; "": there is none
        ratios: whether it has ratios to the first column in place of the figures
    """

    title: str
    about: str
    drawn: str = ""
    ratios: bool = False


#: The benchmarks that `./run bench` runs, in this order.
SECTIONS = {
    "launch": Section(
        "Launch",
        "From `launch()` to the first answer of the appliance, with read-only raw disks, and the memory of "
        "its QEMU. The columns are libguestfs' own appliance, without guestkit's kernel arguments, and "
        "guestkit's [lean and warm ones](fast-launch.md); with KVM there is no warm one. The stages are "
        "those of a lean launch. PSS counts memory that processes share once; private memory is what ends "
        "with that QEMU.",
        r"\d+ disks?",
    ),
    "inspection": Section(
        "Inspection, by kind of guest",
        "The whole command, from its start to its end, for a disk of each kind: `guestkit inspect --json`, "
        "with the fastest appliance, virt-inspector, with libguestfs' own, and a program for dissect.target, "
        "which reads disks in pure Python, without one. The peers inspect only some kinds here; `./run bench "
        "inspection` has them inspect all.",
        ".*",
    ),
    "fleet": Section(
        "Fleets",
        "Programs that inspect that many disks: by `inspect_many`, which decides how many guests run at a "
        "time, in a loop over `inspect`, and in a loop over python3-guestfs that gathers the same facts, "
        "also in threads. The disk is that of a real Debian 12. Loops take the same time for each disk: "
        "those over python3-guestfs are measured with one, in two threads with two, and the time is "
        "multiplied. Processor time and memory are those of all processes together.",
        r"\d+ disks?",
    ),
    "cache": Section(
        "Kept results",
        "How long a disk takes whose inspection was [kept](cache.md), where 50 of them are asked for by one "
        "process, and by ten at once: the slowest counts. The disks are overlays of one image.",
    ),
    "report": Section(
        "Reports",
        "A [page](report.md) about that many guests with 300 packages each, which are inspected already, and "
        "how soon a headless Chromium shows it. Its processor time is that of the process that renders.",
    ),
    "async_inspection": Section(
        "Inspection with asyncio",
        "[The first program for asyncio](async.md), as it is there, which inspects all disks at once, and "
        "loops that ask `inspect_os` the same, by guestkit and by python3-guestfs: one disk after the other, "
        "and in threads, one a processor. Loops take the same time for each disk: those over one disk after "
        "the other are measured with one, python3-guestfs in threads with one a thread, and the time is "
        "multiplied.",
        r"\d+ disks",
    ),
    "async": Section(
        "asyncio",
        "The event loop's lag, by a ticker of 5 ms, while handles launch, inspect, download and close, and "
        "while one that launches is asked for a setting; [asyncio](async.md#what-it-costs) tells more. "
        "Then how soon work ends: after a cancel, after the appliance's death, at the exit.",
        r".*lag, max",
    ),
    "calls": Section(
        "Calls",
        "One call of each kind of argument and result, without an appliance, in one process. Each call of "
        "guestkit releases the GIL and takes a turn on its handle, as python3-guestfs' calls do not; what "
        "that takes is measured alone, too. The picture has the ratio to guestkit.",
        "(?!.* alone$).*",
        ratios=True,
    ),
    "files": Section(
        "Files of a guest",
        "A guest's files through the handle, used at its best, through [fsspec](files.md), through "
        "[SFTP](serve.md), which encrypts them, with asyncssh as the client, through [`guestkit "
        "mount`](mount.md), and through libguestfs' guestmount and guestfish. Each opens the guest anew; "
        "only tar-out's figure includes its launch.",
        ".*",
    ),
    "memory": Section(
        "Memory",
        "What processes share is counted once (PSS), but for the last row, which has the resident memory "
        "of QEMU. That of fleets is in [their table](#fleets).",
        ".*QEMU",
    ),
    "startup": Section("Start", "How soon a program has begun, and ended: Python and its imports.", ".*"),
    "include_cost": Section(
        "Compiling a C++ program",
        "The processor time and the memory of `g++ -O2` for programs that only include a header, and for "
        "one that opens a handle and mounts a filesystem.",
        "only included|a program that mounts",
    ),
    "module_cost": Section("Compiling the Python module", "From nothing, one file at a time."),
}


def picture(suite: str) -> str:
    """Return the name of the suite's picture."""
    return f"performance-{suite}.svg"


def page(results: Results) -> str:
    """Return the page, in Markdown."""
    return "\n\n".join(_parts(results)) + "\n"


def _parts(results: Results) -> Iterator[str]:
    yield "# Performance"
    yield _paragraph(
        "What guestkit takes, beside what others take for the same work, on one machine. `./run bench` "
        "measures it on yours, in some ten minutes; `./run bench NAME` measures one part in its long form. "
        "`./run bench --write` makes this page, its pictures and [the "
        "figures](../benchmarks/figures.json) from which they are made: nothing here is typed by hand. "
        "`./run bench --against benchmarks/figures.json` compares a run with this one."
    )
    date = results.date.replace("T", " ").replace("+00:00", " UTC")
    yield bullets([f"{date}: `{results.command}`", *results.machine.lines()])
    yield _paragraph(
        "A cell has the median. Behind ±: how far the samples lie from it; of five and more, their middle "
        "half. In brackets: how many times the first column's figure it is. What has no ± was measured once, "
        f"as is all that takes longer than {PATIENCE:.0f} seconds. The programs that are compared took "
        "turns. Everywhere, less is better."
    )
    if results.machine.load > QUIET:
        yield _paragraph(
            f"**Other programs ran on the machine** (its load was {results.machine.load} before the first "
            "figure), so the seconds are too many; the ratios tell more."
        )
    for suite, figures in by_suite(results.figures).items():
        section = SECTIONS[suite]
        yield f"## {section.title}"
        yield _paragraph(section.about)
        if section.drawn:
            yield f"![{section.title}: the figures of the table below, as bars](pictures/{picture(suite)})"
        yield table(figures)
    if results.left_out:
        yield "## Left out"
        yield bullets(results.left_out)


def _paragraph(text: str) -> str:
    return textwrap.fill(text, 118, break_on_hyphens=False, break_long_words=False)


def write(results: Results, root: Path) -> None:
    """Write the page, its pictures and the figures below the root of a checkout."""
    from benchmarks.common import pictures  # only this needs a library for plots

    place = root / "docs" / "pictures"
    for old in place.glob(picture("*")):
        old.unlink()
    for name, drawing in pictures.drawings(results).items():
        (place / name).write_text(drawing, encoding="utf-8")
    (root / "docs" / "performance.md").write_text(page(results), encoding="utf-8")
    save(results, root / "benchmarks" / "figures.json")
