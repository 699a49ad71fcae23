"""Inspect one disk and fleets by guestkit, virt-inspector and loops over python3-guestfs: seconds and CPU.

`./run bench inspection [DISK [ROUNDS [LARGEST]]]`: DISK is a raw image, by default the real Debian of
tests/images; LARGEST is the size of the largest fleet. Alternates the programs, and prints medians.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import guestkit
from tests.images.corpus import images

FLEETS = (1, 2, 4, 8, 16)

# What a user of python3-guestfs writes to get the same facts. It runs on the system's Python, which has it.
LOOP = """
import sys
from concurrent.futures import ThreadPoolExecutor
import guestfs

FACTS = (
    "type distro product_name product_variant major_version minor_version arch hostname package_format "
    "package_management osinfo mountpoints filesystems"
).split()

def inspect(disk):
    g = guestfs.GuestFS(python_return_dict=True)
    g.set_backend_setting("force_tcg", "1")
    g.add_drive_opts(disk, readonly=1, format="raw")
    g.launch()
    found = [g.list_devices(), g.list_partitions(), g.list_filesystems()]
    for device in found[2]:
        found += [g.vfs_label(device), g.vfs_uuid(device)]
    for root in g.inspect_os():
        for fact in FACTS:
            found.append(getattr(g, "inspect_get_" + fact)(root))
        for mountpoint, device in sorted(g.inspect_get_mountpoints(root).items(), key=lambda m: len(m[0])):
            g.mount_ro(device, mountpoint)
            found.append(g.statvfs(mountpoint))
        found.append(g.inspect_list_applications2(root))
        g.umount_all()
    g.close()

disks = [sys.argv[2]] * int(sys.argv[3])
with ThreadPoolExecutor(int(sys.argv[1])) as threads:
    list(threads.map(inspect, disks))
"""


def fleet(disk: str, count: int) -> None:
    for report in guestkit.inspect_many([disk] * count):
        assert report.inspection is not None, report.error


def virt_inspector(disk: str, count: int) -> None:
    for _ in range(count):
        run(["virt-inspector", "--format=raw", "-a", disk])


def loop(disk: str, count: int) -> None:
    run(["/usr/bin/python3", "-c", LOOP, "1", disk, str(count)])


def loop_with_threads(disk: str, count: int) -> None:
    run(["/usr/bin/python3", "-c", LOOP, "2", disk, str(count)])


def run(command: list[str]) -> None:
    environment = os.environ | {"LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"}
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


def measure(work: Callable[[str, int], None], disk: str, count: int) -> tuple[float, float]:
    """Return the wall-clock and the CPU seconds of the work, child processes included."""
    before, begun = cpu(), time.perf_counter()
    work(disk, count)
    return time.perf_counter() - begun, cpu() - before


def cpu() -> float:
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def main() -> None:
    disk = sys.argv[1] if len(sys.argv) > 1 else str(images(["real debian"])["real debian"])
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    largest = int(sys.argv[3]) if len(sys.argv) > 3 else 16
    ways = {
        "guestkit": fleet,
        "virt-inspector": virt_inspector,
        "python3-guestfs": loop,
        "the same, 2 threads": loop_with_threads,
    }
    fleet(disk, 1)  # warms the kernel's caches for all of them
    for count in (count for count in FLEETS if count <= largest):
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, work in ways.items():
                # Those that inspect one disk after the other take the same time for each: two are enough.
                disks = count if work in (fleet, loop_with_threads) else min(count, 2)
                seconds, busy = measure(work, disk, disks)
                runs[name].append((seconds * count / disks, busy * count / disks))
        ours = statistics.median(seconds for seconds, _ in runs["guestkit"])
        for name, measured in runs.items():
            seconds, busy = (statistics.median(column) for column in zip(*measured, strict=True))
            times = f"{seconds:7.1f} s  CPU {busy:7.1f} s  {seconds / ours:5.1f} times guestkit"
            print(f"{count:2} disks  {name:20} {times}", flush=True)


main()
