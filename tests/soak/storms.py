"""Cancels of every kind on asyncio: time-outs, task groups, closed loops, exits with stuck handles."""

from __future__ import annotations

import asyncio
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from guestkit import (
    AsyncGuestfs,
    Error,
    HandleOptions,
    aio,
    set_appliance_limit,
)
from tests.images.corpus import images
from tests.soak.case import Case, Found, expect
from tests.soak.leftovers import within
from tests.soak.running import ROOT

ABOUT = "cancels on asyncio: wait_for, task groups, closed loops, exits with stuck handles; the loop's lag"
LIMIT = 900.0
LIMITS = HandleOptions(launch_timeout=200, call_timeout=200, cancel_grace=0.5)

#: The loop's thread is never in a call of libguestfs, which would hold it for seconds. A busy host delays
#: it by less.
LAG = 2.0
TICK = 0.005


def run(case: Case) -> None:
    """Have a storm."""
    kind = case.random.choice((waits, waits, groups, groups, _queues, _fleet, _closed_loop, _exit, _exit))
    case.tried(kind.__name__.lstrip("_").replace("_", " "))
    (disk,) = images(["debian"]).values()
    kind(case, disk)


def _measured(case: Case, storm: Callable[[], Awaitable[None]]) -> None:
    """Run the storm on a loop, and record the loop's lag."""
    lags: list[float] = []

    async def tick() -> None:
        while True:
            due = time.perf_counter() + TICK
            await asyncio.sleep(TICK)
            lags.append(time.perf_counter() - due)

    async def main() -> None:
        ticker = asyncio.create_task(tick())
        try:
            await storm()
        finally:
            ticker.cancel()

    asyncio.run(main())
    if len(lags) > 100:
        p99 = statistics.quantiles(lags, n=100)[98]
        case.tried(f"lag p99 {p99 * 1000:.1f} ms, max {max(lags) * 1000:.0f} ms")
        expect(max(lags) < LAG, f"the loop's lag is below {LAG} s", f"{max(lags):.2f} s")


async def _work(disk: Path, chance: random.Random) -> str:
    """Use a handle, which works unless it is cancelled."""
    async with AsyncGuestfs(LIMITS) as g:
        await g.open_disk(disk)
        await g.launch()
        for _ in range(3):
            way = chance.randrange(3)
            if way == 0:
                await g.inspect()
            elif way == 1:
                await g.checksum_device("md5", "/dev/sda")
            else:
                await g.download("/dev/sda", "/dev/null")
    return "done"


async def _one_more(disk: Path) -> None:
    """Launch after the storm, so that some launch has to succeed."""
    async with AsyncGuestfs(LIMITS) as g:
        await g.open_disk(disk)
        await g.launch()
        expect(await g.list_devices() == ["/dev/sda"], "a handle works afterwards", "it does not")


def waits(case: Case, disk: Path) -> None:
    chance = case.random

    async def one(seconds: float) -> str:
        try:
            return await asyncio.wait_for(_work(disk, chance), seconds)
        except TimeoutError as error:
            if isinstance(error, Error):  # guestkit's own limits are longer
                raise
            return "timed out"

    async def storm() -> None:
        ends = [chance.uniform(0, 12) for _ in range(chance.choice((2, 4, 8)))]
        told = await asyncio.gather(*map(one, ends), return_exceptions=True)
        wrong = [error for error in told if isinstance(error, BaseException)]
        expect(not wrong, "a result or TimeoutError", wrong)
        case.tried(", ".join(map(str, told)))
        await _one_more(disk)

    _measured(case, storm)


def groups(case: Case, disk: Path) -> None:
    chance = case.random

    async def fail(seconds: float) -> None:
        await asyncio.sleep(seconds)
        raise LookupError

    async def storm() -> None:
        for _ in range(2):
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(chance.choice((1, 3, 6))):
                        group.create_task(_work(disk, chance))
                    group.create_task(fail(chance.uniform(0, 8)))
            except* LookupError:
                pass  # an error of guestkit would be a finding
            else:
                raise Found("the group fails", "it did not")
        await _one_more(disk)

    _measured(case, storm)


def _queues(case: Case, disk: Path) -> None:
    """Cancel calls that wait in a handle's queue, and transfers that run: the handle goes on working."""
    chance = case.random

    async def storm() -> None:
        async with AsyncGuestfs(replace(LIMITS, cancel_grace=60)) as g:  # transfers end, if slowly
            await g.open_disk(disk)
            await g.launch()
            for _ in range(chance.choice((5, 20))):
                calls = [asyncio.ensure_future(_call(g, chance)) for _ in range(chance.choice((1, 5, 50)))]
                await asyncio.sleep(chance.choice((0, 0, 0.001, 0.05, 0.3)))
                for call in chance.sample(calls, chance.randrange(len(calls) + 1)):
                    call.cancel()
                told = await asyncio.gather(*calls, return_exceptions=True)
                odd = [
                    one
                    for one in told
                    if isinstance(one, BaseException) and not isinstance(one, asyncio.CancelledError)
                ]
                expect(not odd, "a result or CancelledError", odd)
                expect(await g.list_devices() == ["/dev/sda"], "the handle goes on working", "it does not")

    _measured(case, storm)


async def _call(g: AsyncGuestfs, chance: random.Random) -> object:
    """Make a call that is quick, or a transfer, which a cancel ends without the appliance's death."""
    if chance.random() < 0.8:
        return await g.get_memsize()
    await g.download("/dev/sda", "/dev/null")
    return None


def _fleet(case: Case, disk: Path) -> None:
    chance = case.random
    set_appliance_limit(3)

    async def storm() -> None:
        for _ in range(3):
            reports = aio.inspect_many([disk] * 8, timeout=200.0, concurrency=4)
            async with asyncio.timeout(chance.uniform(0, 8)) if chance.random() < 0.5 else _Nothing():
                left = chance.randrange(4)
                async for report in reports:
                    expect(report.error is None, "the disk is inspected", report.error)
                    left -= 1
                    if left <= 0:
                        break
            await reports.aclose()

    async def suppressed() -> None:
        try:
            await storm()
        except TimeoutError as error:
            if isinstance(error, Error):
                raise

    _measured(case, suppressed)


class _Nothing:
    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *error: object) -> None:
        pass


def _closed_loop(case: Case, disk: Path) -> None:
    """Leave the loop while launches and calls run; the handles are dropped afterwards."""
    chance = case.random
    handles: list[AsyncGuestfs] = []

    async def leave() -> None:
        for _ in range(chance.choice((1, 3))):
            g = AsyncGuestfs(LIMITS)
            handles.append(g)
            _ = g.open_disk(disk)
            _ = g.launch()
            _ = g.inspect()
        await asyncio.sleep(chance.uniform(0, 6))

    asyncio.run(leave())
    for g in handles:
        g.terminate()
    handles.clear()
    asyncio.run(_one_more(disk))


#: A program that leaves handles behind: stuck, in a launch, forgotten. It prints when it is about to end.
PROGRAM = """
import asyncio, os, signal, sys, threading, time
from guestkit import AsyncGuestfs, Guestfs
disk, how, delay = sys.argv[1], sys.argv[2], float(sys.argv[3])
async def main():
    g = AsyncGuestfs()
    await g.open_disk(disk)
    if how == "launch":
        call = g.launch()
        await asyncio.sleep(delay)
    else:
        await g.launch()
        if how == "stopped":
            os.kill(await g.get_pid(), signal.SIGSTOP)
        call = g.debug("sh", ["sleep 1000"])
        await asyncio.sleep(min(delay, 1))
    print("end", time.monotonic(), flush=True)
    if delay > 3: sys.exit(3)
    if delay > 2: raise LookupError
    if delay > 1: signal.raise_signal(signal.SIGINT); await asyncio.sleep(100)
keep = AsyncGuestfs() if delay % 1 > 0.5 else Guestfs()
asyncio.run(main())
"""


def _exit(case: Case, disk: Path) -> None:
    chance = case.random
    how, delay = chance.choice(("launch", "busy", "stopped")), chance.uniform(0, 4)
    case.tried(f"{how} {delay:.1f}")
    words = [sys.executable, "-X", "faulthandler", "-W", "ignore", "-c", PROGRAM, str(disk), how, str(delay)]
    with subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        line = program.stdout.readline().split()
        begun = float(line[1]) if line else 0.0
        ended = within(60, lambda: program.poll() is not None)
        took = time.monotonic() - begun
        program.kill()
        errors = program.communicate()[1]
    expect(bool(line), "the program runs", f"status {program.returncode}: {errors}")
    expect(ended, "the program ends", f"it went on for a minute: {errors[-2000:]}")
    case.tried(f"status {program.returncode} after {took:.1f} s")
    expected = 3 if delay > 3 else 1 if delay > 2 else -signal.SIGINT if delay > 1 else 0
    expect(program.returncode == expected, f"status {expected}", f"{program.returncode}: {errors[-2000:]}")
