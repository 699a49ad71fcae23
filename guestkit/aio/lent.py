"""A handle of somebody else's, used on an event loop for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from guestkit.aio.call import until_done
from guestkit.aio.executor import Errand, shared_executor
from guestkit.aio.handle import AsyncGuestfs
from guestkit.handle import Guestfs

T = TypeVar("T")


class Lent:
    """A launched handle of the caller's, whose filesystems are mounted. It is never closed here."""

    def __init__(self, handle: Guestfs | AsyncGuestfs) -> None:
        if not isinstance(handle, (Guestfs, AsyncGuestfs)):
            raise TypeError(
                f"the argument 'handle' must be Guestfs or AsyncGuestfs, not {type(handle).__name__}"
            )
        self.handle = handle
        self._turn = asyncio.Lock()  # so that the calls that wait take no threads

    async def run(self, function: Callable[[Guestfs], T]) -> T:
        """Run a function with the blocking handle; once it runs, a cancel waits for its end."""
        if isinstance(self.handle, AsyncGuestfs):
            return await self.handle.run(function, on_cancel="wait")
        async with self._turn:
            work = partial(function, self.handle)
            errand = Errand(shared_executor(), "run", work)
            return await until_done(errand.outcome, errand.withdraw)

    async def close(self) -> None:
        """Do nothing."""

    def reap(self) -> None:
        """Do nothing."""
