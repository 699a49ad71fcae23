"""What AsyncGuestfs costs and how quickly its work ends, compared with libguestfs' own module in threads.

    ./run bench async [ROUNDS]

Measures what a user notices: the lag of the event loop while handles work, and the wait after a cancel,
after the appliance's death and at the program's end. Takes some minutes. The short form has two handles in
place of four, and 50 MB to download in place of 200.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.common import peers, program
from benchmarks.common.machine import accelerator
from benchmarks.common.record import Record
from guestkit import ApplianceCrashed, AsyncGuestfs, Guestfs, LaunchError
from guestkit.demo import make_demo_guest

MEGABYTE = 1 << 20
TICK = 0.005  # seconds
INSPECTION = ("inspect_get_type", "inspect_get_distro", "inspect_get_product_name", "inspect_get_mountpoints")
OURS, THEIRS = "guestkit", "python3-guestfs in threads"


# ---- loop lag


async def lags(work: Coroutine[Any, Any, object]) -> list[float]:
    """Return how late each tick of the event loop comes while the work runs."""
    late = []
    task = asyncio.ensure_future(work)
    while not task.done():
        due = time.perf_counter() + TICK
        await asyncio.sleep(TICK)
        late.append(time.perf_counter() - due)
    await task
    return late


@contextlib.contextmanager
def first_on_the_processor() -> Iterator[None]:
    """Run this thread, but none that it starts, ahead of all others: they would add their own lag.

    Only root may do that; for other users, the figures need an idle machine.
    """
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    yield
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def add_times(record: Record, what: str, who: str, times: list[float]) -> None:
    """Add what is to be known of a distribution of many times."""
    p50, p99 = (statistics.quantiles(times, n=100)[number] for number in (49, 98))
    for statistic, sample in (("p50", p50), ("p99", p99), ("max", max(times))):
        record.add(f"{what}, {statistic}", who, sample)


async def measure_lag(record: Record, what: str, who: str, work: Coroutine[Any, Any, object]) -> None:
    begun = time.perf_counter()
    with first_on_the_processor():
        late = await lags(work)
    seconds = time.perf_counter() - begun
    add_times(record, f"{what}: the loop's lag", who, late)
    record.add(f"{what}: it took", who, seconds)


async def guestkit_load(disks: list[Path]) -> None:
    async with AsyncGuestfs() as g:
        await add(g, disks)
        await g.launch()
        for root in await g.inspect_os():
            for name in INSPECTION:
                await getattr(g, name)(root)
        await g.download("/dev/sdb", "/dev/null")


async def guestkit_getter(disks: list[Path]) -> None:
    """Call a getter while the handle launches."""
    async with AsyncGuestfs() as g:
        await add(g, disks)
        launch = g.launch()
        await asyncio.sleep(0.5)
        await g.get_memsize()
        await launch


async def add(g: AsyncGuestfs, disks: list[Path]) -> None:
    for disk in disks:
        await g.add_drive(disk, format="raw", readonly=True)


@dataclass(frozen=True)
class Upstream:
    """The same with python3-guestfs, each of whose calls runs in a thread."""

    module: Any

    def handle(self, disks: list[Path]) -> Any:
        g = self.module.GuestFS(python_return_dict=True)
        g.set_backend("direct")
        if accelerator() == "tcg":
            g.set_backend_settings(["force_tcg"])
        for disk in disks:
            g.add_drive(str(disk), format="raw", readonly=True)
        return g

    async def load(self, disks: list[Path]) -> None:
        await asyncio.to_thread(self._load, disks)

    def _load(self, disks: list[Path]) -> None:
        g = self.handle(disks)
        g.launch()
        for root in g.inspect_os():
            for name in INSPECTION:
                getattr(g, name)(root)
        g.download("/dev/sdb", "/dev/null")
        g.close()

    async def getter(self, disks: list[Path]) -> None:
        g = self.handle(disks)
        launch = asyncio.ensure_future(asyncio.to_thread(g.launch))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(g.get_memsize)
        await launch
        await asyncio.to_thread(g.close)


async def loop_lag(record: Record, disks: list[Path]) -> None:
    loads, getters = {OURS: guestkit_load}, {OURS: guestkit_getter}
    if module := peers.module(record):
        upstream = Upstream(module)
        loads[THEIRS], getters[THEIRS] = upstream.load, upstream.getter
    handles = 2 if record.short else 4

    async def at_once(load: Callable[[list[Path]], Awaitable[None]]) -> None:
        await asyncio.gather(*(load(disks) for _ in range(handles)))

    for who in record.turns(loads):
        await measure_lag(record, f"{handles} handles at work", who, at_once(loads[who]))
    for who in record.turns(getters):
        await measure_lag(record, "a getter beside a launch", who, getters[who](disks))


# ---- one handle beside another, and the ends of work


@contextlib.asynccontextmanager
async def launched(disks: list[Path]) -> AsyncIterator[AsyncGuestfs]:
    async with AsyncGuestfs() as g:
        await add(g, disks)
        await g.launch()
        yield g


async def idle_beside_busy(record: Record, disks: list[Path]) -> None:
    async with launched(disks) as busy, AsyncGuestfs() as idle:
        await idle.get_memsize()
        calls = asyncio.gather(
            *(busy.checksum_device("md5", "/dev/sda") for _ in range(50)), return_exceptions=True
        )
        times: list[float] = []
        while len(times) < 500:
            begun = time.perf_counter()
            await idle.get_memsize()
            times.append(time.perf_counter() - begun)
            await asyncio.sleep(TICK)
        busy.terminate()
        await calls
        add_times(record, "an idle handle's answer beside 50 queued calls", OURS, times)


async def cancel_to_usable(record: Record, disks: list[Path], folder: Path) -> None:
    async with launched(disks) as g:
        for number in range(record.rounds):
            target = folder / f"download-{number}"
            task = asyncio.ensure_future(g.download("/dev/sdb", target))
            await grown(target)
            begun = time.perf_counter()
            task.cancel()
            await asyncio.wait([task])
            assert await g.list_devices() == ["/dev/sda", "/dev/sdb"]
            seconds = time.perf_counter() - begun
            record.add("a download is cancelled → its handle answers again", OURS, seconds)
            assert task.cancelled()
            os.unlink(target)


async def grown(target: Path) -> None:
    while True:
        with contextlib.suppress(FileNotFoundError):
            if os.stat(target).st_size > MEGABYTE:
                return
        await asyncio.sleep(TICK)


async def death_to_exception(record: Record, disks: list[Path], folder: Path) -> None:
    async def after_death(call: str, pid: int, task: asyncio.Future[Any]) -> None:
        begun = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        await asyncio.wait([task])
        seconds = time.perf_counter() - begun
        assert isinstance(task.exception(), ApplianceCrashed | LaunchError), task
        record.add(f"QEMU is killed during a {call} → the exception", OURS, seconds)

    for number in range(record.rounds):
        async with launched(disks) as g:
            pid = await g.get_pid()
            task: asyncio.Future[Any] = asyncio.ensure_future(g.checksum_device("md5", "/dev/sdb"))
            await asyncio.sleep(0.2)
            await after_death("checksum", pid, task)
        async with launched(disks) as g:
            pid = await g.get_pid()
            target = folder / f"dying-{number}"
            task = asyncio.ensure_future(g.download("/dev/sdb", target))
            await grown(target)
            await after_death("download", pid, task)
        async with AsyncGuestfs() as g:
            await g.set_memsize(1024)  # forces a boot: a killed restore would be repeated
            await g.add_drive(disks[0], format="raw", readonly=True)
            task = asyncio.ensure_future(g.launch())
            await after_death("launch", await hypervisor(), task)


async def hypervisor() -> int:
    """Wait until this process runs a hypervisor; return its process id."""
    while True:
        if found := hypervisors():
            return found[0]
        await asyncio.sleep(TICK)


def hypervisors() -> list[int]:
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended
            if " -name guestkit-" in " ".join(child.cmdline()):
                found.append(child.pid)
    return found


STUCK = """
import asyncio, os, signal, sys
from guestkit import AsyncGuestfs
async def main():
    g = AsyncGuestfs()
    await g.add_drive(sys.argv[1], format="raw", readonly=True)
    await g.launch()
    os.kill(await g.get_pid(), signal.SIGSTOP)
    g.list_devices()
    await asyncio.sleep(0.2)
    print("ends", flush=True)
asyncio.run(main())
"""


def exit_with_a_stuck_handle(record: Record, disk: Path) -> None:
    for _ in range(record.rounds):
        with subprocess.Popen([sys.executable, "-c", STUCK, disk], stdout=subprocess.PIPE) as program:
            assert program.stdout is not None
            assert program.stdout.readline() == b"ends\n"
            with record.timed("the exit of a program with a stuck handle", OURS):
                assert program.wait() == 0


# ---- the hop


async def hop(record: Record) -> None:
    async def measure_calls(what: str, work: Callable[[], Awaitable[object]], calls: int) -> None:
        samples = []
        for _ in range(7):
            begun = time.perf_counter()
            await work()
            samples.append((time.perf_counter() - begun) / calls)
        record.add(what, OURS, *samples)

    def hundred(handle: Guestfs) -> None:
        for _ in range(100):
            handle.get_memsize()

    blocking = Guestfs()

    async def in_line() -> None:
        for _ in range(100):
            hundred(blocking)

    async with AsyncGuestfs() as g:

        async def one_by_one() -> None:
            for _ in range(1000):
                await g.get_memsize()

        async def in_hundreds() -> None:
            for _ in range(10):
                await g.run(hundred)

        await measure_calls("g.get_memsize()", in_line, 10_000)
        await measure_calls("await g.get_memsize()", one_by_one, 1000)
        await measure_calls("one of 100 in await g.run(function)", in_hundreds, 1000)
    blocking.close()


def make_disks(folder: Path, megabytes: int) -> list[Path]:
    """Make the demo guest, and random data that no layer can compress."""
    disks = [folder / "demo.img", folder / "big.img"]
    make_demo_guest(disks[0])
    with open(disks[1], "wb") as big:
        for _ in range(megabytes):
            big.write(os.urandom(MEGABYTE))
    return disks


async def measure_in_loop(record: Record, disks: list[Path], folder: Path) -> None:
    await loop_lag(record, disks)
    await idle_beside_busy(record, disks)
    await cancel_to_usable(record, disks, folder)
    await death_to_exception(record, disks, folder)
    await asyncio.to_thread(exit_with_a_stuck_handle, record, disks[0])
    await hop(record)


def measure(record: Record) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        asyncio.run(measure_in_loop(record, make_disks(folder, 50 if record.short else 200), folder))


def main() -> None:
    program.run("async", program.benchmark("async", __doc__, 5).parse_args(), measure)


if __name__ == "__main__":
    main()
