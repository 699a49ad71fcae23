"""The launch, from libguestfs' own appliance and from the lean one: seconds, memory, build time, size.

`./run bench launch [ROUNDS]`. Interleaved, so that both see the same host; medians and ratios.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from guestkit import Guestfs, appliance

TUNING = "acpi=off pci=nomsi norandmaps clearcpuid=297,580 init_on_alloc=0"


def private_kilobytes(pid: int) -> tuple[int, int]:
    """The process' proportional and private memory."""
    rows = dict[str, int]()
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value, *_ = line.split()
        rows[name.rstrip(":")] = int(value)
    return rows["Pss"], rows["Private_Clean"] + rows["Private_Dirty"]


def measure(directory: Path | None, disks: list[str]) -> tuple[float, int, int]:
    with Guestfs(accel="tcg", environment=False) as g:
        if directory:
            g.set_path(directory)
            g.set_append(TUNING)
        for disk in disks:
            g.add_drive(disk, format="raw", readonly=True)
        begun = time.perf_counter()
        g.launch()
        seconds = time.perf_counter() - begun
        return seconds, *private_kilobytes(g.get_pid())


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    begun = time.perf_counter()
    built = appliance.build(force=True)
    seconds = time.perf_counter() - begun
    size = sum(path.stat().st_blocks for path in built.directory.iterdir()) * 512
    print(f"build {seconds:.1f} s, {size / 1e6:.0f} MB on disk")
    with tempfile.TemporaryDirectory() as folder:
        disks = [f"{folder}/{number}.img" for number in range(20)]
        for disk in disks:
            with open(disk, "wb") as file:
                file.truncate(64 << 20)
        for count in (1, 2, 20):
            runs = [
                (measure(None, disks[:count]), measure(built.directory, disks[:count])) for _ in range(rounds)
            ]
            plain, lean = (
                [statistics.median(column) for column in zip(*side, strict=True)]
                for side in zip(*runs, strict=True)
            )
            print(
                f"{count:2} disks: plain {plain[0]:.2f} s, lean {lean[0]:.2f} s, "
                f"ratio {lean[0] / plain[0]:.2f}; "
                f"PSS {plain[1] // 1024:.0f} : {lean[1] // 1024:.0f} MB, "
                f"private {plain[2] // 1024:.0f} : {lean[2] // 1024:.0f} MB"
            )


main()
