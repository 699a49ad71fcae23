"""Unpack compressed disks and archives of disks (OVA) into private, nameless files.

The file's author decides how much comes out of it and how long that takes, so both are limited.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

from guestkit._archive import Damaged
from guestkit._decompress import CHUNK, Meter, Source, decompressed, errors_of
from guestkit._ovf import disks_in, several, shown
from guestkit.errors import Error
from guestkit.images import packed_by
from guestkit.unpack import UNPACK, UnpackLimits

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

_LAYERS = 3  # a compressed archive of compressed disks
_SPARE = 1 << 30  # bytes to leave free on the file system of temporary files
_UNPACKED = "unpacked"  # the name of the content of a file that is not an archive
_ZEROS = bytes(CHUNK)


@dataclass(frozen=True, slots=True)
class Unpacked:
    """An unpacked disk.

    Attributes:
        path: of the private file, valid in this process
        inside: which part of the packed file it is, for messages
    """

    path: str
    inside: str


@contextmanager
def unpacked(
    path: StrOrBytesPath,
    folder: StrOrBytesPath,
    limits: UnpackLimits,
    beat: Callable[[], object],
    *,
    op: str,
    one: bool,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Sequence[Unpacked]]:
    """Unpack the file; yield its disks, in the guest's order, as open files.

    folder: where the private files go
    beat: called at every step, many times a second; an exception from it ends the work
    one: refuse a guest of several disks, before anything is unpacked
    """
    with ExitStack() as stack:
        meter = Meter(op, limits.size, limits.seconds, beat, clock)
        work = _Work(op, folder, limits, meter, one, stack)
        with _packed(op, path) as file:
            if not (kind := packed_by(f"/proc/self/fd/{file.fileno()}")):
                raise Error(op, "was packed, and is not any more", errno.EINVAL)
            found = work.disks(file, kind, _UNPACKED, 0)
        yield found


def listed(path: StrOrBytesPath) -> Sequence[tuple[str, int]]:
    """Return the disks of the guest in an archive: their names, and their sizes there, in bytes.

    Nothing is unpacked. Raises Error if there is no disk, or if it is unclear which files are disks.
    """
    with _packed("probe", path) as file, _said_of("probe", "tar"):
        meter = Meter("probe", UNPACK.size, UNPACK.seconds, lambda: None, time.monotonic)
        disks = disks_in("probe", Source(file.fileno(), meter, 0), None)
        return [(os.fsdecode(disk.name), disk.size) for disk in disks]


@contextmanager
def _packed(op: str, path: StrOrBytesPath) -> Iterator[BinaryIO]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # it may have become a FIFO
    with open(descriptor, "rb", buffering=0) as file:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISBLK(mode):
            raise Error(op, "is no file any more", errno.EINVAL)
        yield cast(BinaryIO, file)


@dataclass(frozen=True, slots=True)
class _Work:
    op: str
    folder: StrOrBytesPath
    limits: UnpackLimits
    meter: Meter
    one: bool
    kept: ExitStack  # holds the files that are disks open

    def disks(self, file: BinaryIO, content: str, inside: str, layer: int) -> Sequence[Unpacked]:
        """Return the disks in the packed file; whatever inside is not packed any further is a disk."""
        if layer == _LAYERS:
            raise Error(self.op, "is packed more than three times", errno.EINVAL)
        source = Source(file.fileno(), self.meter, layer)
        with _said_of(self.op, content):
            if content == "tar":
                wanted = self.limits.member
                disks = disks_in(self.op, source, None if wanted is None else os.fsencode(wanted))
                if self.one and len(disks) > 1:
                    raise several(self.op, disks)
                contents = [(shown(disk.name), disk.content(source)) for disk in disks]
            else:
                contents = [(inside, decompressed(self.op, source, content))]
        return [disk for name, each in contents for disk in self._inner_disks(content, each, name, layer)]

    def _inner_disks(
        self, kind: str, content: Iterable[bytes | int], inside: str, layer: int
    ) -> Sequence[Unpacked]:
        with ExitStack() as stack:
            file = cast(BinaryIO, stack.enter_context(tempfile.TemporaryFile(dir=self.folder, buffering=0)))
            with _said_of(self.op, kind):
                self._fill(file, content, layer)
            path = f"/proc/self/fd/{file.fileno()}"
            if inner := packed_by(path):
                return self.disks(file, inner, inside, layer + 1)
            if self.limits.member is not None and inside == _UNPACKED:
                raise Error(self.op, "is no archive: there is no member to choose", errno.EINVAL)
            self.kept.enter_context(stack.pop_all())
            return [Unpacked(path, inside)]

    def _fill(self, file: BinaryIO, content: Iterable[bytes | int], layer: int) -> None:
        """Write the content; zeros become holes."""
        size = 0
        for piece in content:
            length = piece if isinstance(piece, int) else len(piece)
            size += length
            self.meter.made(layer, length)
            if isinstance(piece, int) or piece == _ZEROS[:length]:
                file.seek(length, os.SEEK_CUR)
                continue
            space = os.fstatvfs(file.fileno())
            if space.f_bavail * space.f_frsize < _SPARE:
                raise Error(
                    self.op,
                    "would fill the file system of temporary files (TMPDIR)",
                    errno.ENOSPC,
                    "no_space",
                )
            view = memoryview(piece)
            while view:
                view = view[file.write(view) :]
        file.truncate(size)


@contextmanager
def _said_of(op: str, content: str) -> Iterator[None]:
    """Turn the readers' exceptions for a damaged file into Error."""
    try:
        yield
    except Error:
        raise
    except Damaged as error:
        raise Error(op, f"is no archive that can be read: {error}", errno.EINVAL) from error
    except errors_of(content) as error:
        number = error.errno if isinstance(error, OSError) else None
        raise Error(op, f"cannot be unpacked: {error}", number or errno.EIO) from error
