"""Launches of libguestfs' own, the lean and the warm appliance: seconds, memory, build time, size.

`./run bench launch [ROUNDS] [--accel kvm]` alternates the appliances, so that all meet the same load of the
host. It prints medians, with their ratio to libguestfs' own appliance without guestkit's tuning, then where
the time of a lean launch goes. Guests are emulated by default; with KVM there is no warm appliance.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from guestkit import Event, Guestfs, appliance
from guestkit.handle_options import Accel, Tuning

#: The stages of a lean launch, and the console message that ends each.
STAGES = (
    ("QEMU, its firmware, loading the kernel", "Linux version"),
    ("the kernel", "Run /init"),
    ("modules and the root disk (supermin's initrd)", "supermin: chroot"),
    ("init: mounts, udev, the disks", "init: starting guestfsd"),
    ("guestfsd: its start and scan of the disks", "appliance is up"),
)


def private_kilobytes(pid: int) -> tuple[int, int]:
    """Return the proportional and the private memory of the process."""
    rows = dict[str, int]()
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value, *_ = line.split()
        rows[name.rstrip(":")] = int(value)
    return rows["Pss"], rows["Private_Clean"] + rows["Private_Dirty"]


def measure(accel: Accel, choice: str | Path, disks: list[str]) -> tuple[float, int, int]:
    tuning: Tuning = "none" if choice == "system" else "auto"
    with Guestfs(accel=accel, environment=False, appliance=choice, tuning=tuning) as g:
        for disk in disks:
            g.add_drive(disk, format="raw", readonly=True)
        begun = time.perf_counter()
        g.launch()
        seconds = time.perf_counter() - begun
        info = g.launch_info()
        if info is None or info.reason != "asked for":
            sys.exit(f"another appliance was used: {info}")
        return seconds, *private_kilobytes(g.get_pid())


def stages(accel: Accel, lean: Path, disk: str) -> list[float]:
    """Return the seconds of each stage; the messages that mark the stages add a little."""
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
    return [after - before for before, after in itertools.pairwise(times)]


def build(*, warm: bool) -> Path:
    begun = time.perf_counter()
    built = appliance.build(force=not warm, warm=warm)
    seconds = time.perf_counter() - begun
    size = sum(path.stat().st_blocks for path in built.directory.iterdir() if path.is_file()) * 512
    print(f"{'warm' if warm else 'lean'}: built in {seconds:.1f} s, {size / 1e6:.0f} MB on disk")
    return built.directory


def main() -> None:
    parser = argparse.ArgumentParser(prog="./run bench launch")
    parser.add_argument("rounds", type=int, nargs="?", default=5)
    parser.add_argument("--accel", choices=("tcg", "kvm"), default="tcg")
    arguments = parser.parse_args()
    rounds: int = arguments.rounds
    accel: Accel = arguments.accel
    lean = build(warm=False)
    choices: dict[str, str | Path] = {"plain": "system", "lean": lean}
    if accel == "tcg":
        for template in lean.glob("warm-*"):
            shutil.rmtree(template)
        choices["warm"] = build(warm=True)
    with tempfile.TemporaryDirectory() as folder:
        disks = [f"{folder}/{number}.img" for number in range(20)]
        for disk in disks:
            with open(disk, "wb") as file:
                file.truncate(64 << 20)
        for count in (1, 2, 20):
            runs: dict[str, list[tuple[float, int, int]]] = {name: [] for name in choices}
            for _ in range(rounds):
                for name, choice in choices.items():
                    runs[name].append(measure(accel, choice, disks[:count]))
            plain = [statistics.median(column) for column in zip(*runs["plain"], strict=True)]
            for name, results in runs.items():
                seconds, shared, private = (
                    statistics.median(column) for column in zip(*results, strict=True)
                )
                print(
                    f"{count:2} disks, {name:5}: {seconds:5.2f} s ({seconds / plain[0]:.2f}), "
                    f"PSS {shared / 1024:.0f} MB ({shared / plain[1]:.2f}), "
                    f"private {private / 1024:.0f} MB ({private / plain[2]:.2f})"
                )
        profile = zip(*(stages(accel, lean, disks[0]) for _ in range(rounds)), strict=True)
        for (name, _), seconds in zip(STAGES, profile, strict=True):
            print(f"lean, {name}: {statistics.median(seconds):.2f} s")


main()
