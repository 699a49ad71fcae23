"""Compressed disks and OVA archives, unpacked into a private file that has no name.

Whoever made the archive chose how much comes out of it: both size and time are bounded.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from guestkit.errors import Error

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

#: What `probe` calls the content of a file that can be unpacked.
PACKED = ("gzip", "xz", "zstd", "bzip2", "tar")

_CHUNK = 1 << 20
_MEMORY = 256 << 20  # for a decompressor's dictionary; xz -9 needs 65 MiB
_SPARE = 1 << 30  # bytes that the file system of temporary files keeps
_DISKS = (".vmdk", ".vhd", ".vhdx", ".vdi", ".qcow2", ".img", ".raw")
_ZEROS = bytes(_CHUNK)


@dataclass(frozen=True, slots=True)
class UnpackLimits:
    """How much a compressed disk may become, in bytes, and how long that may take, in seconds."""

    size: int = 256 << 30
    seconds: float = 3600.0


UNPACK = UnpackLimits()


@contextmanager
def unpacked(
    path: StrOrBytesPath,
    content: str,
    folder: str,
    limits: UnpackLimits,
    beat: Callable[[], object] = lambda: None,
) -> Iterator[BinaryIO]:
    """Unpack the file; yield an open file without a name, which holds a disk or the next layer.

    content: what `probe` said of the path
    folder: where temporary files go
    beat: called after every chunk; what it raises ends the work
    """
    with ExitStack() as stack:
        packed: IO[bytes] = stack.enter_context(open(_opener(path), "rb"))
        if content == "tar":
            packed = stack.enter_context(_disk_in(packed, os.fsdecode(path)))
        else:
            packed = stack.enter_context(_decompressor(packed, content))
        target = cast(BinaryIO, stack.enter_context(tempfile.TemporaryFile(dir=folder)))
        try:
            _copy(packed, target, limits, beat)
        except (OSError, EOFError, ValueError, lzma.LZMAError, _zstd_error()) as error:
            if isinstance(error, Error):
                raise
            number = error.errno if isinstance(error, OSError) else None
            raise Error(
                "open_disk", f"{os.fsdecode(path)}: cannot be unpacked: {error}", number or errno.EIO
            ) from error
        yield target


def _opener(path: StrOrBytesPath) -> int:
    """Open the file without waiting: it may have become a FIFO since it was probed."""
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)


def _copy(source: IO[bytes], target: BinaryIO, limits: UnpackLimits, beat: Callable[[], object]) -> None:
    """Copy all; zeros become holes."""
    end = time.monotonic() + limits.seconds
    size = 0
    while chunk := source.read(_CHUNK):
        size += len(chunk)
        if size > limits.size:
            raise Error(
                "open_disk", f"becomes larger than {limits.size} bytes when it is unpacked", errno.EFBIG
            )
        if time.monotonic() > end:
            raise Error("open_disk", f"takes longer than {limits.seconds:g} s to unpack", errno.ETIMEDOUT)
        if chunk == _ZEROS[: len(chunk)]:
            target.seek(len(chunk), os.SEEK_CUR)
        else:
            space = os.fstatvfs(target.fileno())
            if space.f_bavail * space.f_frsize < _SPARE:
                raise Error(
                    "open_disk", "would fill the file system of temporary files (TMPDIR)", errno.ENOSPC
                )
            target.write(chunk)
        beat()
    target.truncate(size)
    target.flush()


def _decompressor(packed: IO[bytes], content: str) -> IO[bytes]:
    if content == "gzip":
        return cast(IO[bytes], gzip.GzipFile(fileobj=packed))
    if content == "bzip2":
        return bz2.open(packed)
    if content == "xz":
        return io.BufferedReader(_Xz(packed))
    try:
        import zstandard
    except ImportError:
        raise Error(
            "open_disk", "for .zst disks install zstandard: pip install zstandard", errno.ENOSYS
        ) from None
    reader = zstandard.ZstdDecompressor(max_window_size=_MEMORY // 2)
    return cast(IO[bytes], reader.stream_reader(packed, read_across_frames=True))


def _zstd_error() -> type[Exception]:
    try:
        import zstandard
    except ImportError:
        return ValueError
    return cast(type[Exception], zstandard.ZstdError)


class _Xz(io.RawIOBase):
    """lzma.LZMAFile has no limit for memory: a header may ask for 4 GiB."""

    def __init__(self, packed: IO[bytes]) -> None:
        self._packed = packed
        self._stream = self._begin()

    @staticmethod
    def _begin() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            given = b""
            if self._stream.eof:  # streams may follow one another, with zeros between
                given = self._stream.unused_data.lstrip(b"\0")
                given = given or self._packed.read(_CHUNK).lstrip(b"\0")
                if not given:
                    return 0
                self._stream = self._begin()
            elif self._stream.needs_input:
                given = self._packed.read(_CHUNK)
                if not given:
                    raise EOFError("the file ends before its end-of-stream marker")
            if chunk := self._stream.decompress(given, len(buffer)):
                buffer[: len(chunk)] = chunk
                return len(chunk)


class _Bounded(io.RawIOBase):
    """A file of which nobody reads much at once: a tar header may ask for any amount."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= 16 * _CHUNK:
            raise ValueError("a header of the archive is too long")
        return self._file.read(size)


def _disk_in(packed: IO[bytes], name: str) -> IO[bytes]:
    """Return the one disk of an OVA."""
    try:
        archive = tarfile.open(fileobj=cast(IO[bytes], _Bounded(packed)), mode="r:")  # noqa: SIM115
        disks = []
        for number, member in enumerate(archive):
            if number == 1000:
                raise ValueError("it has more than 1000 members")
            plain = member.name.lower().removesuffix(".gz")
            if member.isreg() and plain.endswith(_DISKS):
                disks.append(member)
    except (tarfile.TarError, ValueError, OSError) as error:
        raise Error("open_disk", f"{name}: is no archive that can be read: {error}", errno.EINVAL) from error
    if len(disks) != 1:
        found = ", ".join(repr(disk.name[:200]) for disk in disks[:10]) or "none"
        raise Error(
            "open_disk",
            f"{name}: an archive is opened if it holds one disk; this one holds {found}",
            errno.EINVAL,
        )
    file = archive.extractfile(disks[0])
    assert file is not None
    return file
