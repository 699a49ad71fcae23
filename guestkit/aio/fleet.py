"""`guestkit.inspect` and `guestkit.inspect_many` for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Collection, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from guestkit._inspect_arguments import InspectionJob, Many, One, many, one
from guestkit._taking import taking
from guestkit.aio.call import all_done
from guestkit.aio.events import on_loop
from guestkit.aio.executor import programs_executor, run_in_thread
from guestkit.aio.handle import AsyncGuestfs
from guestkit.disks import Guest
from guestkit.errors import dropped
from guestkit.fleet import Report, Tally, elsewhere, failed, inspected
from guestkit.handle import Guestfs
from guestkit.inspection import Inspection

T = TypeVar("T")


@taking(one)
async def inspect(asked: One) -> Inspection:
    """Return what is on a guest's disk or disks, as `guestkit.inspect` does; step is called on the loop.

    A cancel stops the inspection and waits until it has stopped.
    """
    follow = None if asked.step is None else on_loop("inspect", "step", asked.step)
    return await _run(asked.job, lambda handle: asked.job.run(handle, asked.guest, follow))


async def _run(job: InspectionJob, work: Callable[[Guestfs], T], executor: Executor | None = None) -> T:
    """Run what inspects a guest with a handle of its own."""
    async with AsyncGuestfs(job.handle, executor=executor) as g:
        return await g._submit("inspect_disks", work)


@taking(many)
async def inspect_many(asked: Many) -> AsyncGenerator[Report, None]:
    """Inspect many guests, several at once; yield a report for each as soon as it is ready.

    Like `guestkit.inspect_many`; progress is called on the event loop. If you leave the loop early (use
    `contextlib.aclosing` to control when) or it is cancelled, running inspections are stopped, and it waits
    for their end. Jobs on a jobs_executor go on until they finish or time out.

    disks: may be an async iterable, too, such as one that waits for the next guest to be named. An iterable
        that is no collection, such as a generator, is asked for the next one on a thread, not on the loop's.
        As with `async for`, whoever made an async generator closes it, by `contextlib.aclosing`: if you leave
        early, it is cancelled where it waits for the next guest, and else left as it is
    """
    tally = Tally(asked.progress)
    guests = _Guests(asked.guests)
    # Those that all handles share may be fewer than this fleet has at once.
    own = ThreadPoolExecutor(asked.at_once, "guestkit-fleet") if programs_executor() is None else None
    taken: asyncio.Task[tuple[int, Guest] | None] | None = None
    are_more, running = True, set[asyncio.Task[Report]]()
    wrong: Exception | None = None
    try:
        while are_more or running:
            if are_more and taken is None and len(running) < asked.at_once:
                taken = asyncio.create_task(guests.following())
            tasks = running if taken is None else {taken, *running}
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if taken is not None and taken.done():
                following = None
                try:
                    following = taken.result()
                except Exception as error:  # the guests named before are reported first
                    wrong = error
                taken = None
                if following is None:
                    are_more = False
                else:
                    running.add(asyncio.create_task(_report(*following, asked, tally, own)))
            for task in [each for each in running if each.done()]:
                running.remove(task)
                yield tally.told(task.result())
        if wrong is not None:
            raise wrong
    finally:
        tasks = running if taken is None else {taken, *running}
        for each in tasks:
            each.cancel()
        try:
            await all_done(tasks)
        finally:
            if own is not None:
                own.shutdown(wait=False)  # its threads have nothing to do any more


class _Guests:
    """Names the guests, one after the other."""

    def __init__(self, guests: Iterable[Guest] | AsyncIterable[Guest]) -> None:
        self._guests = aiter(guests) if isinstance(guests, AsyncIterable) else iter(guests)
        self._are_known = isinstance(guests, Collection)
        self._count = 0

    async def following(self) -> tuple[int, Guest] | None:
        """Return the index of the next guest and the guest; None: there are no more."""
        if (guest := await self._next()) is _END:
            return None
        self._count += 1
        return self._count - 1, guest

    async def _next(self) -> Any:
        if isinstance(self._guests, AsyncIterator):
            return await anext(self._guests, _END)
        if self._are_known:
            return next(self._guests, _END)
        work = partial(copy_context().run, next, self._guests, _END)
        return await run_in_thread("inspect_many", work)


_END = object()


async def _report(index: int, guest: Guest, asked: Many, tally: Tally, threads: Executor | None) -> Report:
    begun = time.monotonic()
    step = tally.following(index, guest)
    follow = None if step is None else on_loop("inspect", "step", step)

    def work(handle: Guestfs) -> Report:
        nonlocal begun
        begun = time.monotonic()  # the wait for a thread is no part of it
        return inspected(asked.job, handle, guest, follow)

    try:
        if asked.executor is not None:
            report = await _on_executor(asked.executor, asked.job, guest)
        else:
            report = await _run(asked.job, work, threads)
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
