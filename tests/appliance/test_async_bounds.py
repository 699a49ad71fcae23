"""Bounds of the event loop's lag with four handles at work, and of the errors when QEMU is killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import pytest_asyncio

from guestkit import ApplianceCrashed, AsyncGuestfs, Error, LaunchError, LaunchInfo

MEGABYTE = 1 << 20

#: Seconds; only something that hangs takes longer.
PATIENCE = 60

PHASES = ("launch", "inspect", "download", "close")

pytestmark = pytest.mark.asyncio(loop_scope="module")


def hypervisors() -> set[int]:
    """Return the process ids of the QEMUs of this process' handles."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # the thread has ended
            for child in (task / "children").read_text().split():
                if b"-name\0guestkit-" in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.add(int(child))
    return found


class Work:
    """A program's work with a guest, and the phase that it has reached."""

    def __init__(self, disks: list[Path], pool: ThreadPoolExecutor | None = None) -> None:
        self.phase = ""
        self.spans: dict[str, float] = {}
        self.changed = asyncio.Event()
        self.killed_in: str | None = None
        self.launch: LaunchInfo | None = None
        self.others = hypervisors()  # of other tests' handles
        self._disks = disks
        self._since = 0.0
        self._g = AsyncGuestfs(executor=pool)

    def _reach(self, phase: str) -> None:
        now = time.monotonic()
        self.spans[self.phase] = now - self._since
        self.phase, self._since = phase, now
        self.changed.set()

    async def run(self) -> None:
        try:
            for disk in self._disks:
                await self._g.add_drive(disk, format="raw", readonly=True)
            self._reach("launch")
            await self._g.launch()
            self.launch = await self._g.launch_info()
            self._reach("inspect")
            for root in await self._g.inspect_os():
                assert await self._g.inspect_get_mountpoints(root)
            self._reach("download")
            await self._g.download((await self._g.list_devices())[-1], "/dev/null")
            if self.killed_in is not None:  # a kill after the last byte fails only the next call
                await self._g.list_devices()
        finally:
            self._reach("close")
            await asyncio.wait_for(self._g.close(), PATIENCE)
            self._reach("end")

    async def kill_in(self, phase: str, delay: float) -> None:
        """Kill QEMU that many seconds after the phase has begun, or once it runs."""
        while self.phase != phase:
            self.changed.clear()
            await self.changed.wait()
        await asyncio.sleep(delay)
        while self.phase != "end":
            for pid in hypervisors() - self.others:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    self.killed_in = self.phase
                    return
            await asyncio.sleep(0.001)


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    """A pool of one thread: a call that failed to give it back would block all later ones."""
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def spans(demo_guest: Path) -> AsyncIterator[dict[str, float]]:
    """Measure how long each phase takes when QEMU is not killed."""
    work = Work([demo_guest])
    await work.run()
    yield work.spans


@pytest.mark.parametrize(
    "seed", [seed if seed < 5 else pytest.param(seed, marks=pytest.mark.full) for seed in range(50)]
)
async def test_qemu_killed_at_any_moment_is_one_error_and_leaves_nothing(
    demo_guest: Path, pool: ThreadPoolExecutor, spans: dict[str, float], seed: int
) -> None:
    phase = PHASES[seed % len(PHASES)]
    work = Work([demo_guest], pool)
    killer = asyncio.ensure_future(work.kill_in(phase, random.Random(seed).uniform(0, spans[phase])))
    error: Error | None = None
    try:
        await work.run()
    except Error as caught:
        error = caught
    await killer
    if work.killed_in in (None, "close"):  # close() reports no crash
        assert error is None
    elif work.killed_in == "launch" and work.launch is not None:
        if error is None:  # a failed restore is repeated as a boot
            assert work.launch.reason.startswith("the warm appliance failed: ")
        else:  # it had just come up
            assert type(error) is ApplianceCrashed
    elif work.killed_in == "launch":
        assert type(error) is LaunchError
    else:
        assert type(error) is ApplianceCrashed
    assert hypervisors() == work.others
    assert await asyncio.wait_for(asyncio.wrap_future(pool.submit(lambda: "free")), PATIENCE) == "free"


@pytest.mark.full
async def test_four_handles_at_work_leave_the_loop_alone(demo_guest: Path, tmp_path: Path) -> None:
    big = tmp_path / "big.img"
    big.write_bytes(os.urandom(MEGABYTE) * 200)
    # Run this thread ahead of other programs, whose load is not to be measured.
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    tick = 0.005
    lags = []
    work = asyncio.gather(*(Work([demo_guest, big]).run() for _ in range(4)))
    while not work.done():
        due = time.perf_counter() + tick
        await asyncio.sleep(tick)
        lags.append(time.perf_counter() - due)
    await work
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    assert len(lags) > 200
    assert statistics.quantiles(lags, n=100)[98] < 0.050
    assert max(lags) < 0.250
