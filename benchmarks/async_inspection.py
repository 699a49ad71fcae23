"""The first program of docs/async.md, as it is there, compared with loops and threads that find the same.

    ./run bench async_inspection [ROUNDS] [--disks N]

Asks `inspect_os` of N disks (default: 6), all of them one qcow2 with a small Debian. The program begins with
all at once. The loops take one after the other, or in threads as many at a time as there are processors.
Where each disk takes the same time, it is measured with fewer, and the time is multiplied: loops with one
disk, python3-guestfs in threads with one a thread.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.common import peers, processes, program
from benchmarks.common.machine import ROOT
from benchmarks.common.record import Record
from guestkit.demo import make_demo_guest

DISKS, IN_SHORT = 6, 4
THREADS = os.cpu_count() or 1

#: The same without asyncio. Its arguments: how many threads, and the disks.
LOOP = """
import sys
from concurrent.futures import ThreadPoolExecutor
{handle}

def systems(disk):
    g = Handle()
    g.add_drive(disk, readonly=True, format="qcow2")
    g.launch()
    found = [g.inspect_get_product_name(root) for root in g.inspect_os()]
    g.close()
    return found

with ThreadPoolExecutor(int(sys.argv[1])) as threads:
    print(list(threads.map(systems, sys.argv[2:])))
"""


def announced() -> str:
    """Return the program that the page begins with."""
    page = (ROOT / "docs" / "async.md").read_text(encoding="utf-8")
    found = re.search(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


@dataclass(frozen=True)
class Way:
    """The command that the disks follow, and with how many of them it is measured at most."""

    command: list[str]
    most: int = sys.maxsize


def loop(python: str, handle: str, threads: int) -> list[str]:
    return [python, "-c", LOOP.format(handle=handle), str(threads)]


def measure(record: Record, disks: int = 0) -> None:
    disks = disks or (IN_SHORT if record.short else DISKS)
    guestkit, libguestfs = "from guestkit import Guestfs as Handle", "from guestfs import GuestFS as Handle"
    ways = {
        "AsyncGuestfs": Way([sys.executable, "-c", announced()]),
        "guestkit, one by one": Way(loop(sys.executable, guestkit, 1), 1),
        f"guestkit, {THREADS} threads": Way(loop(sys.executable, guestkit, THREADS)),
    }
    if peers.system_python(record):
        ways["python3-guestfs, one by one"] = Way(loop(peers.SYSTEM_PYTHON, libguestfs, 1), 1)
        ways[f"python3-guestfs, {THREADS} threads"] = Way(
            loop(peers.SYSTEM_PYTHON, libguestfs, THREADS), THREADS
        )
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        disk = make_disk(Path(folder))
        answers: set[tuple[str, ...]] = set()
        for who in record.turns(ways):
            way = ways[who]
            count = min(disks, way.most)
            ran = processes.run([*way.command, *[str(disk)] * count], peers.environment())
            if ran.failed:
                raise RuntimeError(f"{who} failed")
            answers |= {tuple(found) for found in ast.literal_eval(ran.output.decode())}
            what = f"{disks} disks"
            record.add(what, who, ran.seconds * disks / count)
            record.add(f"{what}: processor time", who, ran.cpu * disks / count)
            record.add(f"{what}: memory at most", who, ran.peak, unit="B")
        if len(answers) != 1:
            raise RuntimeError(f"they do not find the same: {answers}")


def make_disk(folder: Path) -> Path:
    raw, disk = folder / "demo.img", folder / "disk.qcow2"
    make_demo_guest(raw)
    command = ["qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", str(raw), str(disk)]
    subprocess.run(command, check=True)
    return disk


def main() -> None:
    parser = program.benchmark("async_inspection", __doc__)
    parser.add_argument("--disks", type=program.positive, default=0, metavar="N")
    given = parser.parse_args()
    program.run("async_inspection", given, partial(measure, disks=given.disks))


if __name__ == "__main__":
    main()
