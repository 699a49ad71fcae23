"""How soon the result of an inspection is there that was kept, for each of 50 disks.

    ./run bench cache [ROUNDS]

The disks are overlays of one image, each of which had been inspected: one process asks for all of them, and
ten processes do so at once. The first column is an inspection of one of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import guestkit
from benchmarks.common import program
from benchmarks.common.record import Record
from guestkit import Guestfs
from guestkit.opening import OpeningKeywords
from tests.images.corpus import images

COUNT = 50
PROCESSES = (1, 10)
ONE = "a disk, one process"
OPENING: OpeningKeywords = {"format": "qcow2", "backing": "allow"}

#: What a user writes. It begins when it is told to, so that all begin at once; it tells how long a disk took.
PROGRAM = """
import sys, time, guestkit

print("ready", flush=True)
sys.stdin.readline()
begun = time.perf_counter()
disks = sys.argv[2:]
for report in guestkit.inspect_many(disks, cache=sys.argv[1], format="qcow2", backing="allow"):
    assert report.inspection is not None and report.inspection.provenance.cached, report.error
print((time.perf_counter() - begun) / len(disks))
"""


def overlays(folder: Path) -> list[Path]:
    """Make the disks; return them when they are old enough for their results to be kept."""
    (base,) = images(["debian"]).values()
    disks = [folder / f"{number}.qcow2" for number in range(COUNT)]
    for disk in disks:
        command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(base), "-F", "raw", str(disk)]
        subprocess.run(command, check=True)
    while time.time_ns() - disks[-1].stat().st_ctime_ns < 2.5e9:
        time.sleep(0.1)
    return disks


def keep(disks: Sequence[Path], kept: Path, found: guestkit.Inspection) -> None:
    """Keep that result of each disk, as if all of them had been inspected."""
    with mock.patch.object(Guestfs, "_inspect_disks", return_value=found):
        for disk in disks:
            guestkit.inspect(disk, cache=kept, **OPENING)


def ask(kept: Path, disks: Sequence[Path], processes: int) -> float:
    """Return how many seconds a disk takes the slowest of that many processes."""
    command = [sys.executable, "-c", PROGRAM, str(kept), *map(str, disks)]
    environment = {name: value for name, value in os.environ.items() if name != "GUESTKIT_INSPECTION_CACHE"}
    asking = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, bufsize=1
        )
        for _ in range(processes)
    ]
    for one in asking:
        assert one.stdout is not None
        one.stdout.readline()
    for one in asking:
        assert one.stdin is not None
        one.stdin.write("\n")
    return max(float(one.communicate()[0]) for one in asking)


def measure(record: Record) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        disks, kept = overlays(folder), folder / "kept"
        begun = time.perf_counter()
        found = guestkit.inspect(disks[0], **OPENING)
        record.add(ONE, "inspected", time.perf_counter() - begun)
        keep(disks, kept, found)
        for processes in record.turns(PROCESSES):
            what = ONE if processes == 1 else f"a disk, {processes} processes at once"
            record.add(what, "kept", ask(kept, disks, processes))


def main() -> None:
    program.run("cache", program.benchmark("cache", __doc__).parse_args(), measure)


if __name__ == "__main__":
    main()
