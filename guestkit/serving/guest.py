"""The guest's files as both protocols see them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, TypeVar

from guestkit import _operations as operations
from guestkit._file_errors import failure
from guestkit._operations import Entry, Place
from guestkit.aio.call import all_done, until_done
from guestkit.aio.lent import Lent
from guestkit.errors import ApplianceCrashed, CallTimeout, Error, HandleClosed
from guestkit.files import CHUNK, absolute
from guestkit.handle import Guestfs
from guestkit.serving.limits import MOST, NAMES
from guestkit.serving.openings import Openings

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from guestkit.aio import AsyncGuestfs
    from guestkit.generated.structs import StatNS

T = TypeVar("T")


class GuestFiles:
    """The guest's files, for all clients. Their calls take turns, in the order in which they were made.

    All that is wrong is raised as OSError, whose `strerror` holds no text of the guest's.

    Attributes:
        lost: whether the hypervisor has ended
        changes: how many there were: what was read before may be another's by now
    """

    def __init__(self, handle: Guestfs | AsyncGuestfs, *, readonly: bool) -> None:
        self._lent = Lent(handle)
        self.readonly = readonly
        self.lost = asyncio.Event()
        self.changes = 0
        self._names = 0
        self._storing: set[asyncio.Task[object]] = set()
        self._openings = Openings(self.look)

    async def close(self) -> None:
        """Break off what still runs, and wait until nothing of the uploads is left."""
        self._openings.cancel()
        for task in self._storing:
            task.cancel()
        await all_done(self._storing)

    async def look(self, function: Callable[..., T], *arguments: object) -> T:
        """Run one of the operations as one turn."""
        try:
            return await self._lent.run(lambda g: function(g, *arguments))
        except CallTimeout as error:
            if not error.handle_usable:
                self.lost.set()
            raise OSError(errno.ETIMEDOUT, "the guest took too long") from error
        except (ApplianceCrashed, HandleClosed) as error:
            self.lost.set()
            raise OSError(errno.EIO, "the hypervisor has ended") from error
        except Error as error:
            raise OSError(errno.EIO, "the guest does not answer") from error

    async def change(self, function: Callable[..., T], path: str, *arguments: object) -> T:
        """Run an operation that changes a file; raise PermissionError if all is served read-only."""
        if self.readonly:
            raise failure(errno.EACCES, path, "served read-only")
        try:
            return await self.look(function, path, *arguments)
        finally:
            self.changes += 1

    async def begin(self, path: str) -> tuple[StatNS, bytes]:
        """Return the status of a regular file and its beginning.

        What is asked for while the guest is busy is read in one turn, which takes less time for each file.
        """
        return await self._openings.begin(path)

    async def parts(self, path: str, start: int, end: int, known: Entry) -> AsyncIterator[bytes]:
        """Yield a part of a regular file, in pieces, between which other clients have their turns.

        Raises OSError with EIO once the file is not as it was: what has its name may be another file by now,
        and the pieces of two are none that anybody has stored.

        known: what was told of the file before
        """
        first: StatNS | None = None
        while start < end:
            seen, piece = await self.look(operations.part, path, start, min(end - start, CHUNK))
            if first is None:
                first = seen
            is_known = (seen["st_size"], seen["st_mtime_sec"]) == (known["size"], known["mtime"])
            is_one = operations.is_same(first, seen) and first["st_mtime_nsec"] == seen["st_mtime_nsec"]
            if not (is_known and is_one and piece):
                raise failure(errno.EIO, path, "the file has changed meanwhile")
            yield piece
            start += len(piece)

    async def store(
        self, path: str, parts: AsyncIterator[ReadableBuffer], permissions: int | None = None
    ) -> None:
        """Make the parts the content of a file, which has its old one until all are there.

        permissions: of a new file, as in chmod(2); None: 0644
        """
        task = asyncio.current_task()
        assert task is not None
        self._storing.add(task)
        try:
            await self._store(path, parts, permissions)
        finally:
            self._storing.discard(task)

    async def _store(self, path: str, parts: AsyncIterator[ReadableBuffer], permissions: int | None) -> None:
        begun: list[Place] = []  # although a cancel loses what `change` returns
        keep = False

        def begin(g: Guestfs, path: str) -> None:
            begun.append(operations.begin(g, path, "w", True, False, permissions))

        try:
            await self.change(begin, path)
            place, offset = begun[0], 0
            async for part in parts:
                await self.change(operations.write, place.path, part, offset)
                offset += len(memoryview(part).cast("B"))
            keep = True
        finally:
            if begun:
                change = self.change(lambda g, _: operations.settle(g, begun[0], keep), path)
                settling = asyncio.ensure_future(change)
                await until_done(settling, lambda: None)

    @contextlib.asynccontextmanager
    async def entries(self, path: str) -> AsyncIterator[list[Entry]]:
        """Give what is in a directory, sorted by name; symlinks are not followed.

        They count as names that are held until the context ends.
        """
        known = await self.look(operations.info, path)
        if known["type"] != "directory":
            raise failure(errno.ENOTDIR, path)
        found = await self.look(operations.listing, path, MOST)
        if self._names + len(found) > NAMES:
            raise failure(errno.ENFILE, path, "too many large directories are being listed")
        self._names += len(found)
        try:
            yield sorted(found, key=lambda entry: os.fsencode(entry["name"]))
        finally:
            self._names -= len(found)


def path_of(name: bytes) -> str:
    """Return the path in the guest that a client names: absolute, and without "..", so that none leaves."""
    if b"\0" in name:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    return absolute(os.fsdecode(name))


def reason(error: OSError) -> str:
    """Return a short reason for a client."""
    return error.strerror or os.strerror(errno.EIO)
