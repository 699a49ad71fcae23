"""Open files: read with read-ahead, or written in blocks."""

from __future__ import annotations

import errno
import warnings
from typing import IO, TYPE_CHECKING, Any

from fsspec.asyn import AbstractAsyncStreamedFile  # type: ignore[import-untyped]
from fsspec.spec import AbstractBufferedFile  # type: ignore[import-untyped]

from guestkit._file_errors import failure
from guestkit._operations import Entry, Place
from guestkit.files import CHUNK

if TYPE_CHECKING:
    from guestkit.fs.filesystem import GuestFileSystem

#: How much a file reads ahead, and gathers before it is written, in bytes.
BLOCK = 2 * CHUNK


class _GuestFile(AbstractBufferedFile):  # type: ignore[misc]
    """What the two kinds of open files have in common."""

    DEFAULT_BLOCK_SIZE = BLOCK
    _place: Place

    def __init__(
        self,
        fs: GuestFileSystem,
        path: str,
        mode: str,
        block_size: int | str | None,
        opened: Entry | Place,
        **kwargs: Any,
    ) -> None:
        if isinstance(opened, Place):
            self._place = opened
        else:
            self.details = opened
            kwargs["size"] = opened["size"]
        super().__init__(fs, path, mode, block_size, **kwargs)
        if isinstance(opened, Place):
            self.loc = opened.offset

    def _checked(self, length: int | None) -> int:
        """Return how many bytes a read is to return; raise OSError if they are more than max_bytes."""
        left = max(0, self.size - self.loc)  # a seek may go past the end
        wanted: int = left if length is None or length < 0 else min(length, left)
        if wanted > self.fs.max_bytes:
            raise self._too_large(wanted)
        return wanted

    def _too_large(self, wanted: int) -> OSError:
        reason = f"{wanted} bytes at once are more than the {self.fs.max_bytes} of max_bytes: read parts"
        return failure(errno.EFBIG, self.path, reason)


class BufferedGuestFile(_GuestFile):
    """A file of a guest as Python's own open files are: what `GuestFileSystem.open` returns.

    Attributes:
        outermost: in a transaction, the text or compressed file around this one, which has to be closed first
    """

    outermost: IO[Any] | None = None

    def read(self, length: int | None = -1) -> bytes:
        """Return the next bytes; None or a negative length: all that are left."""
        if self.mode == "rb":
            length = self._checked(length)
        data: bytes = super().read(length)
        return data

    def readuntil(self, char: bytes = b"\n", blocks: int | None = None) -> bytes:
        """Return the next bytes, up to that text and with it, or all that are left."""
        found = bytearray()
        while part := self.read(min(blocks or self.blocksize, self.fs.max_bytes - len(found))):
            before = max(0, len(found) - len(char) + 1)  # the text may lie in two parts
            found += part
            if (at := found.find(char, before)) >= 0:
                end = at + len(char)
                self.loc -= len(found) - end
                return bytes(found[:end])
        if len(found) == self.fs.max_bytes and self.loc < self.size:
            raise self._too_large(len(found) + 1)
        return bytes(found)

    def _fetch_range(self, start: int, end: int) -> bytes:
        if end - start > self.fs.max_bytes + self.blocksize:  # of a cache that reads far ahead, as "all"
            raise self._too_large(end - start)
        found: bytes = self.fs._fetch(self.path, start, end)
        return found

    def _upload_chunk(self, final: bool = False) -> bool:
        self.fs._store(self._place.path, self.buffer.getvalue(), self._place.offset + self.offset)
        return True

    def commit(self) -> None:
        """Put what was written in the place of the file; the transaction calls it.

        Closes it first, if nobody has done so: what is not written yet would be missing. Raises OSError if it
        cannot be written; the file then stays as it was.
        """
        if self.outermost is not None:
            self.outermost.close()
        self.close()  # a compressed file leaves the one that it is written to open
        if self.buffer.getbuffer():  # an earlier close has failed
            raise failure(errno.EIO, self.path, "not all of it could be written, so it stays as it was")
        self.fs._settle(self._place, keep=True)

    def discard(self) -> None:
        """Drop what was written; the transaction calls it."""
        self.closed = True  # nothing is written any more
        self.fs._settle(self._place, keep=False)


class StreamedGuestFile(_GuestFile, AbstractAsyncStreamedFile):  # type: ignore[misc]
    """A file of a guest whose reads and writes are awaited: what `GuestFileSystem.open_async` returns."""

    async def read(self, length: int | None = -1) -> bytes:
        """Return the next bytes; None or a negative length: all that are left."""
        if self.mode == "rb":
            length = self._checked(length)
        data: bytes = await super().read(length)
        return data

    async def _fetch_range(self, start: int, end: int) -> bytes:
        found: bytes = await self.fs._read(self.path, start, end)
        return found

    def __del__(self) -> None:
        """Warn if what was written is lost: fsspec's own calls `close`, which has to be awaited."""
        if self.mode != "rb" and not self.closed:
            message = f"{self.path!r} was never closed: what was written last is lost"
            warnings.warn(message, ResourceWarning, stacklevel=1, source=self)

    async def _upload_chunk(self, final: bool = False) -> bool:
        await self.fs._write(self._place.path, self.buffer.getvalue(), self._place.offset + self.offset)
        return True
