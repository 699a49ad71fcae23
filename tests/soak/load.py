"""Much of everything: handles, launches, queues, fleets, builds. What a process holds stays flat."""

from __future__ import annotations

import asyncio
import gc
import mmap
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from guestkit import AsyncGuestfs, Guestfs, HandleOptions, appliance, inspect_many, probe, set_appliance_limit
from tests.images.corpus import images
from tests.leaks import mallinfo2
from tests.soak.case import Case, expect
from tests.soak.leftovers import children, files_with
from tests.soak.running import ROOT

ABOUT = "handles, launches, queues, fleets, builds over and over; memory, descriptors, threads stay flat"
LIMIT = 1500.0


def run(case: Case) -> None:
    """Repeat something for the case's time, or do much of it at once."""
    kinds = (_handles, _launches, _inspections, _fleets, _awaited, _probes, _queued, _crowd, _builders)
    # In turn: a random choice would leave one of them out for a night.
    kind = kinds[(case.number + case.seed) % len(kinds)]
    case.tried(kind.__name__.lstrip("_"))
    (disk,) = images(["debian"]).values()
    kind(case, disk)


# ---- what must stay flat


def _held() -> dict[str, int]:
    gc.collect()
    return {
        "C's heap in bytes": mallinfo2().uordblks + mallinfo2().hblkhd,
        "resident bytes": int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        * mmap.PAGESIZE,
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "children": len(children(os.getpid())),
        "temporary files": len(os.listdir(os.environ.get("TMPDIR", "/tmp"))),
    }


def _flat(case: Case, repeat: Callable[[], object], *, bytes_each: int) -> None:
    """Repeat it; what is held afterwards is what was held when a third of the time was over, or nearly.

    bytes_each: how many bytes a repetition may leave, beyond the allowance for caches
    """
    end = time.monotonic() + case.seconds
    third = time.monotonic() + case.seconds / 3
    count = 0
    while time.monotonic() < third or count < 3:
        repeat()
        count += 1
    before, warm = _held(), count
    while time.monotonic() < end or count < 2 * warm:
        repeat()
        count += 1
    after, done = _held(), count - warm
    case.tried(f"{count} times")
    allowed = {"C's heap in bytes": 1 << 20, "resident bytes": 8 << 20}
    for name, value in after.items():
        room = allowed[name] + bytes_each * done if name in allowed else 0
        if name == "threads":
            room = 2  # of the executor, which starts them as they are needed
        grown = value - before[name]
        case.tried(f"{name} {before[name]} → {value}") if grown else None
        expect(grown <= room, f"{name} stay flat", f"{before[name]} → {value} in {done} repetitions")


def _handles(case: Case, disk: Path) -> None:
    def some() -> None:
        handles = [Guestfs() for _ in range(200)]
        for g in handles:
            g.open_disk(disk)
        for g in handles:
            g.close()

    _flat(case, some, bytes_each=0)


def _launches(case: Case, disk: Path) -> None:
    def one() -> None:
        with Guestfs() as g:
            g.open_disk(disk)
            g.launch()
            g.list_devices()

    _flat(case, one, bytes_each=4096)


def _inspections(case: Case, disk: Path) -> None:
    with Guestfs(appliance="inspection") as g:
        g.open_disk(disk)
        g.launch()
        _flat(case, g.inspect, bytes_each=1024)


def _fleets(case: Case, disk: Path) -> None:
    def fleet() -> None:
        for report in inspect_many([disk] * 4):
            expect(report.error is None, "every disk is inspected", report.error)

    _flat(case, fleet, bytes_each=16384)


def _awaited(case: Case, disk: Path) -> None:
    async def one() -> None:
        async with AsyncGuestfs() as g:
            await g.open_disk(disk)
            await g.launch()
            await asyncio.gather(*(g.get_memsize() for _ in range(100)))
            await g.download("/dev/sda", "/dev/null")

    async def two() -> None:
        await asyncio.gather(one(), one())

    _flat(case, lambda: asyncio.run(two()), bytes_each=16384)


def _probes(case: Case, disk: Path) -> None:
    made = case.input / "disk.qcow2"
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", disk, made], check=True)

    def some() -> None:
        for _ in range(500):
            probe(made)
            probe(disk)

    _flat(case, some, bytes_each=0)


# ---- much at once


def _queued(case: Case, disk: Path) -> None:
    """Have 64 launches wait for the memory of two."""
    set_appliance_limit(2)
    options = HandleOptions(admission_timeout=LIMIT)

    async def one() -> None:
        async with AsyncGuestfs(options) as g:
            await g.open_disk(disk)
            await g.launch()

    async def all_of_them() -> None:
        await asyncio.gather(*(one() for _ in range(64)))

    asyncio.run(all_of_them())
    expect(not children(os.getpid()), "no process stays", children(os.getpid()))


def _crowd(case: Case, disk: Path) -> None:
    """Open as many handles as there may be, and launch some of them."""
    handles = [Guestfs() for _ in range(900)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda g: g.open_disk(disk), handles[:100]))
        list(threads.map(lambda g: g.launch(), handles[:4]))
        list(threads.map(lambda g: g.close(), handles))
    expect(not children(os.getpid()), "no process stays", children(os.getpid()))


BUILD = """
import sys
from guestkit import Guestfs, appliance
built = appliance.build()
with Guestfs() as g:
    g.open_disk(sys.argv[1])
    g.launch()
    print(built.directory, g.launch_info().mode)
"""


def _builders(case: Case, disk: Path) -> None:
    """Have ten processes build the appliances of an empty cache at once: one builds, the others take its own.

    Their environment has a secret, which must be in no file of the appliances, a machine's memory among them.
    """
    cache = case.folder / "cache"
    secret = case.secret()
    environment = os.environ | {"GUESTKIT_CACHEDIR": str(cache), "PLANTED": secret}
    words = [sys.executable, "-c", BUILD, str(disk)]
    builders = [
        subprocess.Popen(
            words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(10)
    ]
    told = [builder.communicate() for builder in builders]
    failed = [errors for builder, (_, errors) in zip(builders, told, strict=True) if builder.returncode]
    expect(not failed, "each process has its appliance", failed[:1])
    directories = {output.rpartition(" ")[0] for output, _ in told}
    expect(len(directories) == 1, "all use the same appliance", directories)
    modes = sorted({output.split()[-1] for output, _ in told})
    case.tried(f"ten builders, {', '.join(modes)}")
    left = [path.name for path in cache.rglob("new-*")]
    expect(not left, "no unfinished appliance stays", left)
    fault = appliance.check(Path(directories.pop()))
    expect(not fault, "the appliance is good", fault)
    found = files_with([secret.encode()], [path for path in cache.rglob("*") if path.is_file()])
    expect(not found, "no secret of the builder is in an appliance", found)
