"""`guestkit.open_guest` for asyncio."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

from guestkit._taking import taking
from guestkit.aio.call import until_written
from guestkit.aio.events import on_loop
from guestkit.aio.handle import AsyncGuestfs
from guestkit.disks import add_disks
from guestkit.guest import STARTING, WRITING, GuestArguments, finish, guest_arguments


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
            # The call's own future: a cancel of the call would take it back as long as it waits for its turn.
            await until_written(g.run(finish)._future)


async def prepare(g: AsyncGuestfs, asked: GuestArguments) -> None:
    """Add the disks, launch the handle, and mount the guest's filesystems."""
    await g._submit(
        "open_disks", lambda handle: add_disks(handle, asked.guest, asked.opening, step=asked.step)
    )
    asked.tell(STARTING)
    await g.launch()
    await g.run(asked.mount)
