"""Launches of libguestfs' own, the lean and the warm appliance: seconds, memory, build time, size.

`./run bench launch [ROUNDS] [--accel tcg|kvm]` alternates the appliances, so that all meet the same load of
the host; the columns' ratios are to libguestfs' own appliance without guestkit's tuning. Then it tells where
the time of a lean launch goes. Guests run on KVM where that works; then there is no warm appliance.
"""

from __future__ import annotations

import itertools
import shutil
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import psutil

from benchmarks.common import program
from benchmarks.common.machine import accelerator, why_no_kvm
from benchmarks.common.record import Record
from guestkit import Event, Guestfs, appliance
from guestkit.handle_options import Accel, Tuning

OWN, LEAN, WARM = "libguestfs' own", "lean", "warm"

#: The stages of a lean launch, and the console message that ends each.
STAGES = (
    ("QEMU, its firmware, loading the kernel", "Linux version"),
    ("the kernel", "Run /init"),
    ("modules and the root disk (supermin's initrd)", "supermin: chroot"),
    ("init: mounts, udev, the disks", "init: starting guestfsd"),
    ("guestfsd: its start and scan of the disks", "appliance is up"),
)


def launch(record: Record, who: str, accel: Accel, choice: str | Path, disks: list[str]) -> None:
    what = "1 disk" if len(disks) == 1 else f"{len(disks)} disks"
    tuning: Tuning = "none" if choice == "system" else "auto"
    with Guestfs(accel=accel, environment=False, appliance=choice, tuning=tuning) as g:
        for disk in disks:
            g.add_drive(disk, format="raw", readonly=True)
        with record.timed(what, who):
            g.launch()
        info = g.launch_info()
        if info is None or info.reason != "asked for":
            raise RuntimeError(f"another appliance was used: {info}")
        used = psutil.Process(g.get_pid()).memory_full_info()
        record.add(f"{what}: memory (PSS)", who, used.pss, unit="B")
        record.add(f"{what}: private memory", who, used.uss, unit="B")


def stages(record: Record, accel: Accel, lean: Path, disk: str) -> None:
    """Measure each stage; the messages that mark the stages add a little."""
    said = list[tuple[float, str]]()
    text = ""
    with Guestfs(accel=accel, environment=False, appliance=lean) as g:
        g.set_verbose(True)

        def hear(_event: Event, _handle: int, message: str, _numbers: list[int]) -> None:
            nonlocal text
            text += message
            said.append((time.perf_counter(), text))

        g.set_event_callback(hear, Event.APPLIANCE | Event.LIBRARY)
        g.add_drive(disk, format="raw", readonly=True)
        times = [time.perf_counter()]
        g.launch()
    for _, mark in STAGES:
        times.append(next(moment for moment, until in said if mark in until))
    for (stage, _), (before, after) in zip(STAGES, itertools.pairwise(times), strict=True):
        record.add(stage, LEAN, after - before)


def build(record: Record, *, warm: bool) -> tuple[Path, float]:
    """Build the appliance anew; in the short form, take the one that is there. Return it, and the seconds."""
    begun = time.perf_counter()
    if warm and not record.short:
        for template in appliance.build(warm=False).directory.glob("warm-*"):
            shutil.rmtree(template)
    built = appliance.build(force=not (warm or record.short), warm=warm)
    return built.directory, time.perf_counter() - begun


def measure(record: Record, accel: Accel | None = None) -> None:
    accel = accel or accelerator()
    built = {LEAN: build(record, warm=False)}
    if accel == "tcg":
        built[WARM] = build(record, warm=True)
    choices: dict[str, str | Path] = {OWN: "system", **{who: place for who, (place, _) in built.items()}}
    with tempfile.TemporaryDirectory() as folder:
        disks = [f"{folder}/{number}.img" for number in range(20)]
        for disk in disks:
            with open(disk, "wb") as file:
                file.truncate(64 << 20)
        for count in (1, 2) if record.short else (1, 2, 20):
            for who in record.turns(choices):
                launch(record, who, accel, choices[who], disks[:count])
        for _ in range(record.rounds):
            stages(record, accel, built[LEAN][0], disks[0])
    for who, (place, seconds) in built.items():
        if not record.short:
            record.add("to build it", who, seconds)
        size = sum(path.stat().st_blocks for path in place.iterdir() if path.is_file()) * 512
        record.add("size on disk", who, size, unit="B")


def main() -> None:
    parser = program.benchmark("launch", __doc__, 5)
    parser.add_argument("--accel", choices=("tcg", "kvm"))
    given = parser.parse_args()
    if given.accel == "kvm" and why_no_kvm():
        sys.exit(f"guestkit: nothing to measure: {why_no_kvm()}")
    program.run("launch", given, partial(measure, accel=given.accel))


if __name__ == "__main__":
    main()
