"""`guestkit.inspect` and `guestkit.inspect_many` for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor
from dataclasses import replace
from itertools import islice

from guestkit._inspect_arguments import InspectionJob, Many, One, many, one
from guestkit._taking import taking
from guestkit.aio.call import all_done
from guestkit.aio.events import on_loop
from guestkit.aio.handle import AsyncGuestfs
from guestkit.disks import Guest
from guestkit.errors import dropped
from guestkit.fleet import Report, Tally, elsewhere, failed, succeeded
from guestkit.inspection import Inspection


@taking(one)
async def inspect(asked: One) -> Inspection:
    """Return what is on a guest's disk or disks, as `guestkit.inspect` does; step is called on the loop.

    A cancel stops the inspection and waits until it has stopped.
    """
    return await _inspect(asked.job, asked.guest, asked.step)


async def _inspect(job: InspectionJob, guest: Guest, step: Callable[[str], object] | None) -> Inspection:
    follow = None if step is None else on_loop("inspect", "step", step)
    async with AsyncGuestfs(job.handle) as g:
        return await g._submit("inspect_disks", lambda handle: job.run(handle, guest, follow))


@taking(many)
async def inspect_many(asked: Many) -> AsyncGenerator[Report, None]:
    """Inspect many guests, several at once; yield a report for each as soon as it is ready.

    Like `guestkit.inspect_many`; progress is called on the event loop. If you leave the loop early (use
    `contextlib.aclosing` to control when) or it is cancelled, running inspections are stopped, and it waits
    for their end. Jobs on a jobs_executor go on until they finish or time out.
    """
    tally = Tally(asked.progress)
    running: set[asyncio.Task[Report]] = set()
    waiting = enumerate(asked.guests)
    try:
        while True:
            for index, guest in islice(waiting, asked.at_once - len(running)):
                running.add(asyncio.create_task(_report(index, guest, asked, tally)))
            if not running:
                return
            ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                yield tally.told(task.result())
    finally:
        for task in running:
            task.cancel()
        await all_done(running)


async def _report(index: int, guest: Guest, asked: Many, tally: Tally) -> Report:
    begun = time.monotonic()
    try:
        if asked.executor is not None:
            report = await _on_executor(asked.executor, asked.job, guest)
        else:
            found = await _inspect(asked.job, guest, tally.following(index, guest))
            report = succeeded(guest, found, time.monotonic() - begun)
    except Exception as error:
        report = failed(guest, error, time.monotonic() - begun)
    finally:
        tally.ended(index)
    return replace(report, index=index)


async def _on_executor(executor: Executor, job: InspectionJob, guest: Guest) -> Report:
    try:
        return await asyncio.wrap_future(executor.submit(elsewhere, job, guest))
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and not task.cancelling():  # the executor has dropped it
            raise dropped() from None
        raise
