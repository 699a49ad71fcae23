"""Compressed files, read in steps so small that a limit or a cancel is never far away.

The standard library's readers return when they have something to return: a file of empty streams, or a header
without an end, keeps them busy for as long as whoever made it likes. Here each step reads little, yields
little, and looks at the limits.
"""

from __future__ import annotations

import bz2
import errno
import lzma
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from guestkit.errors import Error

CHUNK = 1 << 20  # bytes that a step yields at most
_PIECE = 1 << 16  # bytes that a step reads at most
_MEMORY = 256 << 20  # for a decompressor's dictionary; xz -9 needs 65 MiB


class Meter:
    """What may still be read, made and waited for.

    Threads: one.
    """

    def __init__(
        self,
        op: str,
        size: int,
        seconds: float,
        beat: Callable[[], object],
        clock: Callable[[], float],
    ) -> None:
        """Start the clock.

        size: how much may come out of one layer, in bytes
        beat: what it raises ends the work
        clock: tells the time, in seconds
        """
        self._op = op
        self._size = size
        self._seconds = seconds
        self._beat = beat
        self._clock = clock
        self._end = clock() + seconds
        self._made: dict[int, int] = {}
        self._read: dict[int, int] = {}

    def look(self) -> None:
        """Raise what is to end the work, if something is."""
        self._beat()
        if self._clock() > self._end:
            raise Error(self._op, f"takes longer than {self._seconds:g} s to unpack", errno.ETIMEDOUT)

    def read(self, layer: int, size: int) -> None:
        """Count what was read of a layer: hardly more than what may come out of it."""
        self._read[layer] = self._read.get(layer, 0) + size
        if self._read[layer] > self._size + self._size // 50 + CHUNK:
            raise Error(self._op, f"holds more than {self._size} bytes that are packed", errno.EFBIG)

    def made(self, layer: int, size: int) -> None:
        """Count what has come out of a layer, holes too."""
        self._made[layer] = self._made.get(layer, 0) + size
        if self._made[layer] > self._size:
            raise Error(self._op, f"becomes larger than {self._size} bytes when it is unpacked", errno.EFBIG)


class Source:
    """A packed file. Whatever is read of it is metered."""

    def __init__(self, descriptor: int, meter: Meter, layer: int) -> None:
        self._descriptor = descriptor
        self._meter = meter
        self._layer = layer
        self._position = 0
        self.size = os.lseek(descriptor, 0, os.SEEK_END)

    def look(self) -> None:
        """As `Meter.look`."""
        self._meter.look()

    def read(self, size: int) -> bytes:
        """Return what comes next, at most that many bytes; none at the end."""
        found = self.at(self._position, size)
        self._position += len(found)
        return found

    def at(self, offset: int, size: int) -> bytes:
        """Return what is there, at most that many bytes; none at the end."""
        self.look()
        found = os.pread(self._descriptor, size, offset)
        self._meter.read(self._layer, len(found))
        return found

    def pieces(self, offset: int, size: int) -> Iterator[bytes]:
        """Yield so many bytes from there on."""
        end = offset + size
        while offset < end:
            if not (piece := self.at(offset, min(end - offset, CHUNK))):
                raise EOFError("the file ends too early")
            yield piece
            offset += len(piece)


class _Stream(Protocol):
    """A decompressor as bz2 and lzma have it."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def needs_input(self) -> bool: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Gzip:
    def __init__(self) -> None:
        self._stream = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._stream.unconsumed_tail

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._stream.decompress(self._stream.unconsumed_tail + data, max_length)


class _Zstd:
    """Has no limit for what it returns, but what it is given bounds that: four bytes become 128 KiB."""

    PIECE = 1 << 10
    needs_input = True

    def __init__(self, context: Any) -> None:
        self._stream = context.decompressobj()

    @property
    def eof(self) -> bool:
        return bool(self._stream.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._stream.unused_data)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return bytes(self._stream.decompress(data))


def _maker(op: str, kind: str) -> tuple[Callable[[], _Stream], int]:
    """Return what begins a stream, and how much to feed it at once."""
    if kind == "gzip":
        return _Gzip, _PIECE
    if kind == "bzip2":
        return bz2.BZ2Decompressor, _PIECE
    if kind == "xz":
        return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY), _PIECE
    if kind != "zstd":
        raise ValueError(kind)
    try:
        import zstandard
    except ImportError:
        raise Error(op, "for .zst disks install zstandard: pip install zstandard", errno.ENOSYS) from None
    context = zstandard.ZstdDecompressor(max_window_size=_MEMORY // 2)
    return lambda: _Zstd(context), _Zstd.PIECE


def errors_of(kind: str) -> tuple[type[Exception], ...]:
    """Return what says that a file of that kind is damaged, or cannot be read."""
    errors = (OSError, EOFError, zlib.error, lzma.LZMAError)
    zstandard = sys.modules.get("zstandard") if kind == "zstd" else None
    return errors if zstandard is None else (*errors, zstandard.ZstdError)


def decompressed(op: str, source: Source, kind: str) -> Iterator[bytes]:
    """Yield what was packed as "gzip", "bzip2", "xz" or "zstd", in one stream or in several.

    Raises what `errors_of` lists for a file that is damaged or ends too early.
    """
    make, piece = _maker(op, kind)
    stream = make()
    given = source.read(piece)
    while True:
        source.look()
        chunk = stream.decompress(given, CHUNK)
        for place in range(0, len(chunk), CHUNK):
            yield chunk[place : place + CHUNK]
        given = b""
        if stream.eof:  # others may follow, with zeros between
            given = stream.unused_data.lstrip(b"\0")
            while not given:
                if not (more := source.read(piece)):
                    return
                given = more.lstrip(b"\0")
            stream = make()
        elif stream.needs_input and not (given := source.read(piece)):
            raise EOFError("the file ends before its end-of-stream marker")
