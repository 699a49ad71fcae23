"""One guest or many on an event loop: `guestkit.inspect` and `guestkit.inspect_many`, awaited."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, Literal

from guestkit.aio.handle import AsyncGuestfs
from guestkit.fleet import (
    TIMEOUT,
    Elsewhere,
    FleetProgress,
    Job,
    Report,
    failed,
    names_of,
    number_at_once,
    opening_for,
    succeeded,
)
from guestkit.images import Backing, InUse
from guestkit.inspection import DEFAULT_PARTS, Inspection, Key, Mode, Part
from guestkit.unpack import UNPACK, UnpackLimits

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath


async def inspect(
    disk: StrOrBytesPath | Sequence[StrOrBytesPath],
    *,
    parts: Collection[Part] = DEFAULT_PARTS,
    keys: Iterable[Key] = (),
    mode: Mode = "auto",
    verify: bool | float = False,
    timeout: float | None = TIMEOUT,
    format: str | None = None,
    backing: Backing = "refuse",
    protocols: Iterable[str] = ("file",),
    in_use: InUse = "allow",
    blocksize: int | None = None,
    unpack: UnpackLimits | None = UNPACK,
    step: Callable[[str], object] | None = None,
    **handle: Any,
) -> Inspection:
    """Tell what is on a guest's disk, or on all its disks: as `guestkit.inspect`; step is called on the loop.

    A cancel ends it and waits until it has ended.
    """
    opening = opening_for(format, backing, protocols, in_use, blocksize, unpack)
    job = Job(parts, tuple(keys), mode, verify, timeout, opening, handle)
    return await _inspect(job, disk, step)


async def _inspect(job: Job, guest: Any, step: Callable[[str], object] | None) -> Inspection:
    loop = asyncio.get_running_loop()

    def on_thread(text: str) -> None:
        assert step is not None
        loop.call_soon_threadsafe(step, text)

    async with AsyncGuestfs(**job.options()) as g:
        return await g._submit(
            "inspect_disks", lambda handle: job.run(handle, guest, None if step is None else on_thread)
        )


async def inspect_many(
    disks: Iterable[StrOrBytesPath | Sequence[StrOrBytesPath]],
    *,
    concurrency: int | Literal["auto"] = "auto",
    parts: Collection[Part] = DEFAULT_PARTS,
    keys: Iterable[Key] = (),
    mode: Mode = "auto",
    verify: bool | float = False,
    timeout: float | None = TIMEOUT,
    format: str | None = None,
    backing: Backing = "refuse",
    protocols: Iterable[str] = ("file",),
    in_use: InUse = "allow",
    blocksize: int | None = None,
    unpack: UnpackLimits | None = UNPACK,
    progress: Callable[[FleetProgress], object] | None = None,
    jobs_executor: Executor | None = None,
    **handle: Any,
) -> AsyncGenerator[Report, None]:
    """Inspect many guests, several at once; yield a report for each as it comes.

    As `guestkit.inspect_many`; progress is called on the loop. Leaving the loop early
    (`contextlib.aclosing` says when) or a cancel ends what runs and waits until it has ended; what runs on a
    jobs_executor ends by its time-out.
    """
    opening = opening_for(format, backing, protocols, in_use, blocksize, unpack)
    job = Job(parts, tuple(keys), mode, verify, timeout, opening, handle)
    at_once = None if jobs_executor is not None and concurrency == "auto" else number_at_once(concurrency)
    steps: dict[str, str] = {}
    done = 0

    def tell() -> None:
        if progress is not None:
            progress(FleetProgress(done=done, steps=dict(steps)))

    def on_step(name: str, text: str) -> None:
        steps[name] = text
        tell()

    async def report(guest: Any) -> Report:
        begun = time.monotonic()
        name = names_of(guest)[0]

        try:
            if jobs_executor is not None:
                return await asyncio.wrap_future(jobs_executor.submit(Elsewhere(job), guest))
            step = None if progress is None else functools.partial(on_step, name)
            found = await _inspect(job, guest, step)
            return succeeded(guest, found, time.monotonic() - begun)
        except Exception as error:
            return failed(guest, error, time.monotonic() - begun)
        finally:
            steps.pop(name, None)

    running: set[asyncio.Task[Report]] = set()
    waiting = iter(disks)
    try:
        while True:
            while at_once is None or len(running) < at_once:
                try:
                    guest = next(waiting)
                except StopIteration:
                    break
                running.add(asyncio.create_task(report(guest)))
            if not running:
                return
            ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                done += 1
                tell()
                yield task.result()
    finally:
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
