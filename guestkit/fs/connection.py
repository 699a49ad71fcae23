"""The appliance behind a filesystem: launched by the first call, closed and launched again as need be."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TypeVar

from guestkit._text import printable
from guestkit.aio import AsyncGuestfs
from guestkit.aio.call import until_written
from guestkit.aio.executor import post
from guestkit.aio.guest import prepare
from guestkit.errors import ApplianceCrashed, CallTimeout, Error, HandleClosed
from guestkit.guest import GuestArguments, finish
from guestkit.handle import Guestfs
from guestkit.handle_options import HandleOptions

T = TypeVar("T")

_log = logging.getLogger("guestkit")


class Connection:
    """An appliance with a guest's filesystems mounted. It belongs to the event loop that uses it."""

    def __init__(self, disk: GuestArguments) -> None:
        self._disk = disk
        self._opening: asyncio.Task[AsyncGuestfs] | None = None  # its result is what is used
        self._closing: asyncio.Task[None] | None = None  # of the appliance before, until it has ended
        self._running = 0
        self._was_cancelled = False
        self._used = 0.0
        self._process = os.getpid()

    async def run(self, function: Callable[[Guestfs], T]) -> T:
        """Run a function with the blocking handle as one turn, after those asked for before.

        If the appliance dies, or is killed because the call took too long, the next call launches another. So
        do the calls that waited behind that one, unless the disk is written to: they are not to blame, but
        nobody knows what they have done already.
        """
        self._running += 1
        try:
            while True:
                opening, g = await self._living()
                try:
                    # A cancel may end in a killed appliance, which loses what was written.
                    return await g.run(function, on_cancel="end" if self._disk.opening.readonly else "wait")
                except CallTimeout as error:
                    if not error.handle_usable:
                        self._drop(opening)
                    raise
                except asyncio.CancelledError:
                    self._was_cancelled = True
                    raise
                except (ApplianceCrashed, HandleClosed):
                    was_first = self._drop(opening)
                    to_blame = was_first and not self._was_cancelled  # else a cancel has cost the appliance
                    if to_blame or not self._disk.opening.readonly:
                        raise
        finally:
            self._running -= 1
            self._used = time.monotonic()

    async def _living(self) -> tuple[asyncio.Task[AsyncGuestfs], AsyncGuestfs]:
        """Return the appliance. If a cancel has cost it, launch another: the next caller is not to blame."""
        while True:
            opening = self._open()
            await asyncio.wait([opening])  # a cancel of this caller leaves it going on for the others
            g = opening.result()
            if not self._was_cancelled:
                return opening, g
            try:
                await g.run(Guestfs.is_ready)
            except (ApplianceCrashed, HandleClosed):
                self._drop(opening)
            self._was_cancelled = False

    def _drop(self, opening: asyncio.Task[AsyncGuestfs]) -> bool:
        """Close a dead appliance, and refuse the calls behind; return False if another call has done so."""
        if self._opening is not opening:
            return False
        opening.result().terminate()
        self.reap()
        return True

    async def close(self) -> None:
        """Shut the appliance down; raise Error if a last write to the disk failed.

        If another close has begun, wait for that one. A cancel does not stop it, and is raised afterwards.
        """
        foreign = self._foreign()
        opening, self._opening = self._opening, None
        if opening is not None:
            closed = asyncio.to_thread(self._close_blocking, opening) if foreign else self._closed(opening)
            self._closing = asyncio.create_task(closed, name="guestkit-fs-close")
            self._closing.add_done_callback(self._has_closed)
        if self._closing is not None:
            await until_written(self._closing)

    async def _closed(self, opening: asyncio.Task[AsyncGuestfs]) -> None:
        await asyncio.wait([opening])  # as the calls do, which so come before what follows
        async with opening.result() as g:
            if not self._disk.opening.readonly:
                await g.run(finish, on_cancel="wait")

    def _has_closed(self, closing: asyncio.Task[None]) -> None:
        if self._closing is closing:
            self._closing = None

    def _close_blocking(self, opening: asyncio.Task[AsyncGuestfs]) -> None:
        """Close the appliance of a loop that is closed, as `close` does."""
        if not opening.done() or opening.cancelled() or opening.exception() is not None:
            return
        handle = opening.result()._handle
        if handle is None or not handle.is_open():
            return
        with handle:
            if not self._disk.opening.readonly:
                finish(handle)

    def reap(self) -> None:
        """Close the appliance on a thread of its own, without waiting: nobody uses it any more."""
        opening, self._opening = self._opening, None
        if opening is None or self._process != os.getpid():  # a forked child leaves the parent's alone
            return
        if not opening.done():
            post(opening.get_loop(), opening.cancel)  # a closed loop has cancelled it
        elif not opening.cancelled() and opening.exception() is None:
            opening.result()._reap()

    def _open(self) -> asyncio.Task[AsyncGuestfs]:
        loop = asyncio.get_running_loop()
        if self._foreign():
            self.reap()
        if self._opening is None:
            # A task of its own: if one caller is cancelled, the launch goes on for the others.
            self._opening = loop.create_task(self._launched(self._closing), name="guestkit-fs-open")
            self._opening.add_done_callback(self._opened)
            with _lock:
                _connections.add(self)
        return self._opening

    def _foreign(self) -> bool:
        """Return whether another loop has the appliance; raise RuntimeError if that loop still runs."""
        task = self._opening or self._closing
        if task is None or (other := task.get_loop()) is asyncio.get_running_loop():
            return False
        if not other.is_closed():
            raise RuntimeError("the filesystem belongs to another event loop: make one for each loop")
        self._closing = None  # it has ended with its loop
        return True

    def _opened(self, opening: asyncio.Task[AsyncGuestfs]) -> None:
        failed = opening.cancelled() or opening.exception() is not None
        if failed and self._opening is opening:  # the next call tries again
            self._opening = None

    async def _launched(self, closing: asyncio.Task[None] | None) -> AsyncGuestfs:
        """Open the disks. Where memory is short, first close filesystems that nobody uses at the moment.

        closing: the end of the appliance before, whose hypervisor has the disks until then
        """
        if closing is not None:
            await asyncio.wait([closing])  # whoever closes it is told how
        patient = self._disk.handle
        hasty = replace(patient, admission_timeout=0.0)
        while True:
            options = patient if self._idle() is None else hasty
            try:
                return await self._attempt(options)
            except CallTimeout as error:
                if options is patient or error.clock != "admission_timeout":
                    raise
            if (idle := self._idle()) is not None:
                _log.info("closing the appliance of a filesystem that is not in use, for its memory")
                try:
                    await idle.close()
                except Error as error:  # of another disk, which may still have been opening
                    _log.info("that appliance could not be closed: %s", printable(str(error)))

    async def _attempt(self, options: HandleOptions) -> AsyncGuestfs:
        async with AsyncExitStack() as stack:
            g = await stack.enter_async_context(AsyncGuestfs(options))
            await prepare(g, self._disk)
            stack.pop_all()
            return g

    def _idle(self) -> Connection | None:
        """Return the read-only connection of this loop that has not been used for the longest time."""
        loop = asyncio.get_running_loop()
        with _lock:
            connections = list(_connections)
        unused = [
            other
            for other in connections
            if other is not self
            and other._process == os.getpid()
            and other._running == 0
            and other._disk.opening.readonly
            and (opening := other._opening) is not None  # read once: another loop may set it meanwhile
            and opening.get_loop() is loop
        ]
        return min(unused, key=lambda other: other._used, default=None)


#: Those that have been opened, of all loops; with the lock alone.
_connections: weakref.WeakSet[Connection] = weakref.WeakSet()
_lock = threading.Lock()


def _forget() -> None:
    global _connections, _lock
    _connections, _lock = weakref.WeakSet(), threading.Lock()


os.register_at_fork(after_in_child=_forget)
