"""A file that a client of SFTP has open."""

from __future__ import annotations

import asyncio
import errno
import os
from typing import TYPE_CHECKING

from guestkit import _operations as operations
from guestkit._file_errors import failure
from guestkit.serving.guest import GuestFiles
from guestkit.serving.limits import AHEAD, BEGINNING

if TYPE_CHECKING:
    from guestkit.generated.structs import StatNS

#: Farther than any file's end.
_FAR = 0xFFFFFFFFFFFFFFFF


class OpenFile:
    """A file that a client has open, by its name.

    What was read, with the file's status, stays known until something in the guest has changed.
    """

    def __init__(self, guest: GuestFiles, path: str, *, append: bool) -> None:
        self.path = path
        self._guest = guest
        self._append = append
        self._turn = asyncio.Lock()
        self._ahead = 0
        self._start = 0
        self._held = b""
        self._seen: StatNS | None = None
        self._changes = 0

    async def begin(self) -> None:
        """Look at the file and read its beginning: a small one takes one turn from opening to end."""
        changes, self._ahead = self._guest.changes, BEGINNING
        self._keep(changes, 0, *await self._guest.begin(self.path))

    async def status(self) -> StatNS:
        """Return the file's status."""
        if self._seen is not None and self._is_fresh():
            return self._seen
        return self._checked(await self._guest.look(operations.status, self.path, True))

    async def read(self, offset: int, size: int) -> bytes:
        """Return a part; a client that reads one after the other has the next ones fetched before.

        Raises OSError if another file has got the name since the first part: no client wants two in one.
        """
        async with self._turn:
            size = min(size, AHEAD)
            found = self._known(offset, size)
            if len(found) < size and not self._ends_at(offset + len(found)):
                left = size - len(found)
                found += (await self._fetch(offset + len(found), left))[:left]
            return found

    def _is_fresh(self) -> bool:
        return self._changes == self._guest.changes

    def _known(self, offset: int, size: int) -> bytes:
        begin = offset - self._start
        return self._held[begin : begin + size] if self._is_fresh() and begin >= 0 else b""

    def _ends_at(self, offset: int) -> bool:
        return self._seen is not None and self._is_fresh() and offset >= self._seen["st_size"]

    async def _fetch(self, offset: int, size: int) -> bytes:
        """Read at least that much, as far as there is so much, and keep it.

        Also what another client's change has made stale meanwhile is returned: it was the file's content when
        it was read, and nothing in its place would be taken for the end of the file.
        """
        in_sequence = self._ahead and offset == self._start + len(self._held)
        self._ahead = min(AHEAD, 2 * self._ahead) if in_sequence else size
        changes = self._guest.changes
        seen, part = await self._guest.look(operations.part, self.path, offset, max(size, self._ahead))
        self._keep(changes, offset, self._checked(seen), part)
        return part

    def _checked(self, seen: StatNS) -> StatNS:
        if self._seen is not None and not operations.is_same(self._seen, seen):
            raise failure(errno.EIO, self.path, "another file has taken its place")
        return seen

    def _keep(self, changes: int, start: int, seen: StatNS, part: bytes) -> None:
        self._changes, self._start, self._seen, self._held = changes, start, seen, part

    def seek(self, offset: int, whence: int) -> int:
        """Tell asyncssh, which looks for holes on behalf of clients, that there are none."""
        return offset if whence == os.SEEK_DATA else _FAR

    async def write(self, offset: int, data: bytes) -> int:
        """Write a part, or append it."""
        for start in range(0, len(data), AHEAD):
            part = data[start : start + AHEAD]
            if self._append:
                await self._guest.change(operations.append, self.path, part)
            else:
                await self._guest.change(operations.write, self.path, part, offset + start)
        return len(data)
