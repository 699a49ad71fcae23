"""`guestkit.open_guest` for asyncio."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

from guestkit._taking import taking
from guestkit.aio.call import until_done
from guestkit.aio.events import on_loop
from guestkit.aio.handle import AsyncGuestfs
from guestkit.disks import add_disks
from guestkit.guest import STARTING, WRITING, GuestArguments, finish, guest_arguments

_log = logging.getLogger("guestkit")


@taking(guest_arguments)
@asynccontextmanager
async def open_guest(asked: GuestArguments) -> AsyncGenerator[AsyncGuestfs, None]:
    """Launch an appliance with a guest's disks and mount its filesystems, as `guestkit.open_guest` does.

    step is called on the loop. An exception in the block, such as a cancel, ends the calls that run. A cancel
    at the end of the context waits until everything is on the disk.
    """
    if asked.step is not None:
        asked = replace(asked, step=on_loop("open_guest", "step", asked.step))
    async with AsyncGuestfs(asked.handle) as g:
        await prepare(g, asked)
        yield g
        if not asked.opening.readonly:
            asked.tell(WRITING)
            await _finished(g)


async def _finished(g: AsyncGuestfs) -> None:
    """Have everything written, even after a cancel; where that is raised, a failure is logged.

    A cancel of the call itself would take it back as long as it waits for its turn or for a thread.
    """
    writing = g.run(finish)._future
    try:
        await until_done(writing, lambda: None)
    except asyncio.CancelledError:
        if (error := writing.exception()) is not None:
            _log.warning("writing to the disk failed while a cancel was on its way", exc_info=error)
        raise


async def prepare(g: AsyncGuestfs, asked: GuestArguments) -> None:
    """Add the disks, launch the handle, and mount the guest's filesystems."""
    await g._submit(
        "open_disks", lambda handle: add_disks(handle, asked.guest, asked.opening, step=asked.step)
    )
    asked.tell(STARTING)
    await g.launch()
    await g.run(asked.mount)
