#!/usr/bin/env python3
"""What AsyncGuestfs costs and how quickly its work ends, compared with libguestfs' own module in threads.

    ./run bench async [ROUNDS]

Measures what a user notices: the lag of the event loop while handles work, and the wait after a cancel,
after the appliance's death and at the program's end. Takes some minutes.
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
from pathlib import Path
from typing import Any

from guestkit import ApplianceCrashed, AsyncGuestfs, Guestfs, LaunchError
from guestkit.demo import make_demo_guest

sys.path.append("/usr/lib/python3/dist-packages")
import guestfs  # type: ignore[import-not-found]

MEGABYTE = 1 << 20
HANDLES = 4
TICK = 0.005  # seconds
INSPECTION = ("inspect_get_type", "inspect_get_distro", "inspect_get_product_name", "inspect_get_mountpoints")


def say(what: str, *figures: str) -> None:
    print(f"{what:<52}" + "".join(f"{figure:>13}" for figure in figures), flush=True)


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"


def told(what: str, times: list[float]) -> None:
    say(what, milliseconds(statistics.median(times)), milliseconds(max(times)))


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


async def told_lag(what: str, work: Coroutine[Any, Any, object]) -> None:
    begun = time.perf_counter()
    with first_on_the_processor():
        late = await lags(work)
    seconds = time.perf_counter() - begun
    p50, p99 = (statistics.quantiles(late, n=100)[number] for number in (49, 98))
    say(what, milliseconds(p50), milliseconds(p99), milliseconds(max(late)), f"{seconds:.1f} s")


async def guestkit_load(disks: list[Path]) -> str:
    """Run the load on one handle; return the accelerator that it used."""
    async with AsyncGuestfs() as g:
        for disk in disks:
            await g.add_drive(disk, format="raw", readonly=True)
        await g.launch()
        for root in await g.inspect_os():
            for name in INSPECTION:
                await getattr(g, name)(root)
        await g.download("/dev/sdb", "/dev/null")
        launch = await g.launch_info()
        return launch.accelerator if launch else ""


def upstream_handle(disks: list[Path], accelerator: str) -> Any:
    g = guestfs.GuestFS(python_return_dict=True)
    g.set_backend("direct")
    if accelerator == "tcg":
        g.set_backend_settings(["force_tcg"])
    for disk in disks:
        g.add_drive(str(disk), format="raw", readonly=True)
    return g


def upstream_load(disks: list[Path], accelerator: str) -> None:
    g = upstream_handle(disks, accelerator)
    g.launch()
    for root in g.inspect_os():
        for name in INSPECTION:
            getattr(g, name)(root)
    g.download("/dev/sdb", "/dev/null")
    g.close()


async def guestkit_getter(disks: list[Path]) -> None:
    """Call a getter while the handle launches."""
    async with AsyncGuestfs() as g:
        for disk in disks:
            await g.add_drive(disk, format="raw", readonly=True)
        launch = g.launch()
        await asyncio.sleep(0.5)
        await g.get_memsize()
        await launch


async def upstream_getter(disks: list[Path], accelerator: str) -> None:
    g = upstream_handle(disks, accelerator)
    launch = asyncio.ensure_future(asyncio.to_thread(g.launch))
    await asyncio.sleep(0.5)
    await asyncio.to_thread(g.get_memsize)
    await launch
    await asyncio.to_thread(g.close)


async def loop_lag(disks: list[Path]) -> None:
    say("the event loop's lag", "p50", "p99", "max", "work took")
    accelerators: list[str] = []

    async def ours() -> None:
        accelerators.extend(await asyncio.gather(*(guestkit_load(disks) for _ in range(HANDLES))))

    async def theirs() -> None:
        loads = (asyncio.to_thread(upstream_load, disks, accelerators[0]) for _ in range(HANDLES))
        await asyncio.gather(*loads)

    await told_lag(f"AsyncGuestfs: {HANDLES} handles at work", ours())
    await told_lag(f"upstream in threads: {HANDLES} handles at work", theirs())
    await told_lag("AsyncGuestfs: a getter beside a launch", guestkit_getter(disks))
    await told_lag("upstream in threads: a getter beside a launch", upstream_getter(disks, accelerators[0]))


# ---- one handle beside another, and the ends of work


@contextlib.asynccontextmanager
async def launched(disks: list[Path]) -> AsyncIterator[AsyncGuestfs]:
    async with AsyncGuestfs() as g:
        for disk in disks:
            await g.add_drive(disk, format="raw", readonly=True)
        await g.launch()
        yield g


async def idle_beside_busy(disks: list[Path]) -> None:
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
        told("an idle handle's answer, another has 50 calls queued", times)


async def cancel_to_usable(disks: list[Path], folder: Path, rounds: int) -> None:
    times = []
    async with launched(disks) as g:
        for number in range(rounds):
            target = folder / f"download-{number}"
            task = asyncio.ensure_future(g.download("/dev/sdb", target))
            await grown(target)
            begun = time.perf_counter()
            task.cancel()
            await asyncio.wait([task])
            assert await g.list_devices() == ["/dev/sda", "/dev/sdb"]
            times.append(time.perf_counter() - begun)
            assert task.cancelled()
            os.unlink(target)
    told("a download is cancelled → its handle answers again", times)


async def grown(target: Path) -> None:
    while True:
        with contextlib.suppress(FileNotFoundError):
            if os.stat(target).st_size > MEGABYTE:
                return
        await asyncio.sleep(TICK)


async def death_to_exception(disks: list[Path], folder: Path, rounds: int) -> None:
    async def after_death(pid: int, task: asyncio.Future[Any]) -> float:
        begun = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        await asyncio.wait([task])
        seconds = time.perf_counter() - begun
        assert isinstance(task.exception(), ApplianceCrashed | LaunchError), task
        return seconds

    calls: dict[str, list[float]] = {"a checksum": [], "a download": [], "a launch": []}
    for number in range(rounds):
        async with launched(disks) as g:
            pid = await g.get_pid()
            task: asyncio.Future[Any] = asyncio.ensure_future(g.checksum_device("md5", "/dev/sdb"))
            await asyncio.sleep(0.2)
            calls["a checksum"].append(await after_death(pid, task))
        async with launched(disks) as g:
            pid = await g.get_pid()
            target = folder / f"dying-{number}"
            task = asyncio.ensure_future(g.download("/dev/sdb", target))
            await grown(target)
            calls["a download"].append(await after_death(pid, task))
        async with AsyncGuestfs() as g:
            await g.set_memsize(1024)  # forces a boot: a killed restore would be repeated
            await g.add_drive(disks[0], format="raw", readonly=True)
            task = asyncio.ensure_future(g.launch())
            calls["a launch"].append(await after_death(await hypervisor(), task))
    for call, times in calls.items():
        told(f"QEMU is killed during {call} → the exception", times)


async def hypervisor() -> int:
    """Wait until this process runs a hypervisor; return its process id."""
    while True:
        if found := hypervisors():
            return found[0]
        await asyncio.sleep(TICK)


def hypervisors() -> list[int]:
    found = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # the thread or the child has ended
            for child in (task / "children").read_text().split():
                if b"-name\0guestkit-" in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.append(int(child))
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


def exit_with_a_stuck_handle(disk: Path, rounds: int) -> None:
    times = []
    for _ in range(rounds):
        with subprocess.Popen([sys.executable, "-c", STUCK, disk], stdout=subprocess.PIPE) as program:
            assert program.stdout is not None
            assert program.stdout.readline() == b"ends\n"
            begun = time.perf_counter()
            assert program.wait() == 0
            times.append(time.perf_counter() - begun)
    told("the exit of a program with a stuck handle", times)


# ---- the hop


async def hop() -> None:
    async def seconds_a_call(work: Callable[[], Awaitable[object]], calls: int) -> float:
        rounds = []
        for _ in range(7):
            begun = time.perf_counter()
            await work()
            rounds.append((time.perf_counter() - begun) / calls)
        return statistics.median(rounds)

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

        say("what a call costs", "each")
        say("g.get_memsize()", f"{await seconds_a_call(in_line, 10_000) * 1e6:.2f} µs")
        say("await g.get_memsize()", f"{await seconds_a_call(one_by_one, 1000) * 1e6:.2f} µs")
        say("one of 100 in await g.run(function)", f"{await seconds_a_call(in_hundreds, 1000) * 1e6:.2f} µs")
    blocking.close()


def make_disks(folder: Path) -> list[Path]:
    """Make the demo guest, and 200 MB of random data that no layer can compress."""
    disks = [folder / "demo.img", folder / "big.img"]
    make_demo_guest(disks[0])
    with open(disks[1], "wb") as big:
        for _ in range(200):
            big.write(os.urandom(MEGABYTE))
    return disks


async def measure(disks: list[Path], folder: Path, rounds: int) -> None:
    await loop_lag(disks)
    print()
    say(f"time, {rounds} rounds", "median", "max")
    await idle_beside_busy(disks)
    await cancel_to_usable(disks, folder, rounds)
    await death_to_exception(disks, folder, rounds)
    await asyncio.to_thread(exit_with_a_stuck_handle, disks[0], rounds)
    print()
    await hop()


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        asyncio.run(measure(make_disks(folder), folder, rounds))


if __name__ == "__main__":
    main()
