"""Fleets, by `inspect_many`, one by one, virt-inspector and loops over python3-guestfs: seconds and memory.

    ./run bench fleet [ROUNDS] [--disk DISK] [--largest N]

DISK is a raw image, by default the real Debian of tests/images, and all disks of a fleet are that one. Fleets
have 1, 2, 4, 8 and up to N disks (default: 16). The programs alternate. Those that take one disk after the
other take the same time for each: they are measured with one or two disks, and the time is multiplied.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial

from benchmarks.common import peers, processes, program
from benchmarks.common.record import Record
from tests.images.corpus import images

#: What users write for it; the disks are the arguments.
AT_ONCE = """
import sys, guestkit

for report in guestkit.inspect_many(sys.argv[1:]):
    assert report.inspection is not None, report.error
"""
ONE_BY_ONE = """
import sys, guestkit

for disk in sys.argv[1:]:
    guestkit.inspect(disk)
"""
VIRT_INSPECTOR = 'for disk; do virt-inspector --format=raw -a "$disk"; done'

#: What a user of python3-guestfs writes to get the same facts. The disks of one guest are joined by commas.
LOOP = """
import sys
from concurrent.futures import ThreadPoolExecutor
import guestfs

FACTS = (
    "type distro product_name product_variant major_version minor_version arch hostname package_format "
    "package_management osinfo mountpoints filesystems"
).split()

def inspect(disks):
    g = guestfs.GuestFS(python_return_dict=True)
    for disk in disks.split(","):
        g.add_drive_opts(disk, readonly=1, format="raw")
    g.launch()
    found = [g.list_devices(), g.list_partitions(), g.list_filesystems()]
    for device in found[2]:
        found += [g.vfs_label(device), g.vfs_uuid(device)]
    for root in g.inspect_os():
        for fact in FACTS:
            found.append(getattr(g, "inspect_get_" + fact)(root))
        for mountpoint, device in sorted(g.inspect_get_mountpoints(root).items(), key=lambda m: len(m[0])):
            try:
                g.mount_ro(device, mountpoint)
            except RuntimeError:  # a mountpoint may be a link, or missing
                continue
            found.append(g.statvfs(mountpoint))
        try:
            found.append(g.inspect_list_applications2(root))
        except RuntimeError:  # it cannot read some databases of real guests
            pass
        g.umount_all()
    g.close()

with ThreadPoolExecutor(int(sys.argv[1])) as threads:
    list(threads.map(inspect, sys.argv[2:]))
"""
FLEETS = (1, 2, 4, 8, 16)
THREADS = 2


@dataclass(frozen=True)
class Way:
    """The command that the disks follow, and the smallest and the largest fleet with which it is measured."""

    command: list[str]
    least: int = 1
    most: int = FLEETS[-1]


def loop(threads: int) -> list[str]:
    """Return the command of a loop over python3-guestfs, which the disks follow."""
    return [peers.SYSTEM_PYTHON, "-c", LOOP, str(threads)]


def measure(record: Record, disk: str = "", largest: int = 0) -> None:
    disk = disk or str(images(["real debian"])["real debian"])
    counts = [count for count in FLEETS if count <= (largest or (4 if record.short else FLEETS[-1]))]
    ways = {
        "guestkit": Way([sys.executable, "-c", AT_ONCE]),
        "guestkit, one by one": Way([sys.executable, "-c", ONE_BY_ONE]),
    }
    after_each_other = 1 if record.short else 2
    if peers.system_python(record):
        ways["python3-guestfs"] = Way(loop(1), most=after_each_other)
        ways[f"python3-guestfs, {THREADS} threads"] = Way(loop(THREADS), least=THREADS, most=THREADS)
    if not record.short and peers.program(record, "virt-inspector"):
        ways["virt-inspector"] = Way(["sh", "-c", VIRT_INSPECTOR, "-"], most=after_each_other)
    fleets: dict[tuple[str, int], list[int]] = {}  # which fleets each run stands for
    for who, way in ways.items():
        for count in counts:
            if count >= way.least:
                fleets.setdefault((who, min(count, way.most)), []).append(count)
    processes.run([*ways["guestkit"].command, disk])  # warms the kernel's caches for all of them
    for who, disks in record.turns(fleets):
        ran = processes.run([*ways[who].command, *[disk] * disks], peers.environment())
        if ran.failed:
            raise RuntimeError(f"{who} failed")
        for count in fleets[who, disks]:
            what = "1 disk" if count == 1 else f"{count} disks"
            record.add(what, who, ran.seconds * count / disks)
            record.add(f"{what}: processor time", who, ran.cpu * count / disks)
            record.add(f"{what}: memory at most", who, ran.peak, unit="B")


def main() -> None:
    parser = program.benchmark("fleet", __doc__)
    parser.add_argument("--disk", default="")
    parser.add_argument("--largest", type=program.positive, default=0, metavar="N")
    given = parser.parse_args()
    program.run("fleet", given, partial(measure, disk=given.disk, largest=given.largest))


if __name__ == "__main__":
    main()
